"""Dagster in several processes: started by any process, on PostgreSQL, with steps that are processes."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts.storage import md5
from tests.browser.test_dagster_ui import answers, ask_dagster, end_group, wait_for
from tests.end_to_end.postgres import postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUDY = "data/studies/synthetic-shop"
JOB = ("dagster", "job", "execute", "-m", "assets.definitions", "-j", "study")
LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
EVENTS = """SELECT dagster_event_type, step_key FROM event_logs WHERE run_id = %s ORDER BY id"""


def activated(project: Path) -> str:
    """What `. .venv/bin/activate` of `make install` does, as a script."""
    scripts = project / ".venv/bin"
    scripts.mkdir(parents=True)
    for name in ("dagster", "dagster-webserver", "dagster-daemon"):
        (scripts / name).symlink_to(Path(sys.executable).parent / name)
    path = f"{scripts}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}$PATH"
    return f"export VIRTUAL_ENV={project}/.venv PATH={path} PYTHONPATH={project}\n" + (
        ROOT / "scripts/activation.sh"
    ).read_text("utf-8")


@pytest.mark.parametrize(
    "command",
    [
        "exec dagster dev --host 127.0.0.1 --port {port}",
        "exec dagster-webserver --host 127.0.0.1 --port {port}",
        f"exec {sys.executable} -m pipeline.cli ui --port {{port}}",
    ],
)
def test_dagster_starts_from_any_process(small_project, command):
    """Not by the shell function that activation defines."""
    shutil.copy(ROOT / "pyproject.toml", small_project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = activated(small_project) + command.format(port=port)
    inherited = {name: value for name, value in os.environ.items() if "DAGSTER" not in name}
    log = small_project / "log"
    with log.open("w") as stream:
        started = subprocess.Popen(
            ["bash", "-c", script],
            cwd=small_project,
            env=inherited,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/server_info") or started.poll())
            assert answers(f"{url}/server_info"), log.read_text("utf-8")
            found = ask_dagster(url, LOCATIONS)["workspaceOrError"]["locationEntries"]
        finally:
            end_group(started)
    assert found == [{"name": "assets.definitions", "loadStatus": "LOADED"}]


def test_the_daemon_starts_from_any_process(small_project):
    shutil.copy(ROOT / "pyproject.toml", small_project)
    script = activated(small_project) + "exec dagster-daemon run"
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=small_project,
        env={name: value for name, value in os.environ.items() if "DAGSTER" not in name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        try:
            assert any(
                "Instance is configured with the following daemons" in line
                for line in started.stdout
            )
        finally:
            end_group(started)


def test_the_study_on_postgresql_in_several_processes_is_that_of_one_process(
    small_project, tmp_path_factory
):
    psycopg2 = pytest.importorskip("psycopg2", reason="pip install 'paretoscope[postgres]'")
    pytest.importorskip("dagster_postgres", reason="pip install 'paretoscope[postgres]'")
    other = tmp_path_factory.mktemp("several") / "project"
    shutil.copytree(small_project, other)

    with postgres() as database:
        assert _ran(small_project, *JOB) == 0
        shutil.copy(ROOT / "deploy/dagster.yaml", other / ".dagster")
        several = database | {"PARETOSCOPE_PROCESSES": "2"}
        assert _ran(other, *JOB, **several) == 0
        chosen = ("--select", "sessions,regression_report")
        partial = ("dagster", "asset", "materialize", "-m", "assets.definitions", *chosen)
        assert _ran(other, *partial, **several) == 0
        connection = psycopg2.connect(
            host=database["DAGSTER_PG_HOST"],
            port=database["DAGSTER_PG_PORT"],
            user=database["DAGSTER_PG_USER"],
            password=database["DAGSTER_PG_PASSWORD"],
            dbname=database["DAGSTER_PG_DB"],
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT run_id, status FROM runs ORDER BY id")
            runs = cursor.fetchall()
            events = [_events(cursor, run) for run, _ in runs]
        connection.close()

    assert [status for _, status in runs] == ["SUCCESS", "SUCCESS"]
    assert list((other / ".dagster").rglob("*.db")) == []
    assert list((small_project / ".dagster").rglob("*.db")) != []
    of_study, of_part = events
    steps = {step for _, step in of_study if step}
    assert {step for kind, step in of_study if kind == "STEP_WORKER_STARTED"} == steps
    ended = of_part.index(("STEP_SUCCESS", "sessions"))
    assert ended < of_part.index(("STEP_WORKER_STARTING", "regression_report"))
    assert _files(other) == _files(small_project)


def _ran(project: Path, *words: str, **variables: str) -> int:
    """The exit code of a command of Dagster in a project; what it says is printed if it fails."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "DAGSTER_HOME": str(project / ".dagster"),
        **variables,
    }
    if not (project / "data/raw/synthetic-shop.jsonl").exists():
        generate = [sys.executable, "-m", "pipeline.cli", "generate"]
        subprocess.run(generate, cwd=project, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        words, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(shlex.join(words), done.stdout[-2000:], done.stderr[-4000:])  # noqa: T201
    return done.returncode


def _events(cursor, run: str) -> list[tuple[str, str]]:
    cursor.execute(EVENTS, (run,))
    return cursor.fetchall()


def _files(project: Path) -> dict[str, str]:
    """The md5 of every artifact; the bytes of DuckDB's file vary, and the manifest has their md5."""
    folder = project / STUDY
    return {
        file.relative_to(folder).as_posix(): md5(file)
        for file in folder.rglob("[!.]*")
        if file.is_file() and file.name not in {"experiment.duckdb", "manifest.json"}
    }

"""``paretoscope study``: parsing of Dagster's log, exit code, and a real run."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import yaml

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.cli.study import RunProgress, _check_engines, _show_progress, environment
from pipeline.core.asset_graph import EVERYTHING
from pipeline.core.errors import ParetoscopeError
from pipeline.study import parse_study

RUN = "2026-11-23 22:38:11 +0000 - dagster - {} - __ASSET_JOB - 20b23157-f04e-4c59-b48a-0fbc9efa38dc - "
INFO, ERROR = RUN.format("INFO"), RUN.format("ERROR")
IN_WAREHOUSE = {"warehouse": {"backend": "spark", "impressions": "shop.impressions"}}
FAILURE = "dagster._core.definitions.events.Failure: "


def parsed(*lines):
    run = RunProgress()
    for line in lines:
        run.parse_line(line)
    return run


def test_finished_assets_are_recorded_with_their_seconds():
    run = parsed(
        f"{INFO}events - reading: 33%, 20 rows/s, 10 seconds left",
        f"{INFO}events - done in 4.3 s; 2 minutes to 9 minutes left",
        f"{INFO}sessions - done in 0.6 s",
    )

    assert run.seconds == {"events": 4.3, "sessions": 0.6}
    assert (run.status, run.failures) == ("sessions: done in 0.6 s", [])
    assert parsed(f"{INFO}events - done in 4.3 s; 2 minutes left").left == "2 minutes left"


def test_the_status_is_the_last_message_of_an_asset():
    run = parsed(f"{INFO}conditioned_model - epoch 3: loss 5.1 - better")

    assert run.status == "conditioned_model: epoch 3: loss 5.1 - better"


def test_where_stderr_is_no_terminal_an_asset_is_one_line(capsys):
    takes = "the run will take 2 minutes to 4 minutes (from the rates of the last run)"
    lines = [
        f"{INFO}events - {takes}",
        f"{INFO}events - ingesting: 33%, 20 rows/s, 10 seconds left",
        f"{INFO}events - ingesting: 66%, 20 rows/s, 5 seconds left",
        f"{INFO}events - done in 4.3 s; 2 minutes left",
        f"{INFO}sessions - done in 0.6 s",
    ]

    _show_progress(lines, RunProgress(), total=2)
    _show_progress(lines[:2], RunProgress(is_announced=True), total=2)

    assert capsys.readouterr().err.splitlines() == [
        takes,
        "events: done in 4.3 s; 2 minutes left",
        "sessions: done in 0.6 s",
    ]


def test_a_long_asset_is_a_line_now_and_then(capsys, monkeypatch):
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    shares = [f"epoch 1 of 2: {share}%, 20 clicks/s, 10 seconds left" for share in (20, 40, 60, 80)]
    takes = "the run will take 2 to 4 minutes (from the rates of the last run)"
    lines = [f"{INFO}conditioned_model - {message}" for message in (takes, *shares)]

    _show_progress(lines, RunProgress(), total=2)

    said = capsys.readouterr().err.splitlines()
    assert said[0] == takes
    assert takes not in said[1:]
    assert 1 <= len(said[1:]) < len(shares)


def test_a_failure_is_its_message_without_the_stack_trace():
    run = parsed(
        f"{ERROR}12607 - RUN_FAILURE - Execution of run failed. Steps failed: ['raw_events'].",
        "",
        f"{FAILURE}the study's parameters are wrong:",
        "  - training.epochs = 0",
        "",
        "Stack Trace:",
        '  File "execute_plan.py", line 243, in dagster_event_sequence_for_step',
        "    yield from check.generator(step_events)",
    )

    assert run.failures == ["the study's parameters are wrong:\n  - training.epochs = 0"]


def test_a_warning_is_kept():
    waits = (
        "study shop is being written by paretoscope ingest (process 1 on vm); waiting for it to end"
    )

    run = parsed(
        f"{RUN.format('WARNING')}events - {waits}".replace("__ASSET_JOB", "resource:study")
    )

    assert run.warnings == [waits]


def test_a_warning_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr("pipeline.cli.study.SECONDS_BETWEEN_LINES", 0)
    lines = [f"{RUN.format('WARNING')}sessions - no worker has taken the work"]

    _show_progress(lines, RunProgress(), total=2)

    assert capsys.readouterr().err == "paretoscope study: no worker has taken the work\n"


@pytest.mark.parametrize(
    ("compute", "select", "message"),
    [
        ({"sessions": "spark"}, EVERYTHING, "PARETOSCOPE_SPARK_MASTER is not set"),
        ({"sessions": "spark"}, "sessions", "PARETOSCOPE_SPARK_MASTER is not set"),
        (IN_WAREHOUSE, "experiment_log*", "PARETOSCOPE_WAREHOUSE_URL is not set"),
        (IN_WAREHOUSE, "sessions", None),
        ({"sessions": "spark"}, "group_kpis*", None),
    ],
)
def test_an_engine_without_an_address_is_found_before_dagster_starts(
    small_params, monkeypatch, compute, select, message
):
    monkeypatch.delenv("PARETOSCOPE_SPARK_MASTER", raising=False)
    monkeypatch.delenv("PARETOSCOPE_WAREHOUSE_URL", raising=False)
    experiment = small_params["experiment"] | {"source": "files"}
    changed = {"experiment": experiment} if "warehouse" in compute else {}
    study = parse_study(small_params | changed | {"compute": compute})

    with nullcontext() if message is None else pytest.raises(ParetoscopeError, match=message):
        _check_engines(study, select)


def test_the_last_lines_are_kept_for_unexpected_errors():
    run = parsed(*(f"line {number}" for number in range(100)))

    assert run.failures == []
    assert run.lines == [f"line {number}" for number in range(60, 100)]


def test_the_environment_has_defaults_that_the_shell_overrides(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("DAGSTER_MODULE_NAME", "mine.definitions")

    found = environment(tmp_path)

    assert found["DAGSTER_HOME"] == str(tmp_path / ".dagster")
    assert (tmp_path / ".dagster").is_dir()
    assert found["DAGSTER_MODULE_NAME"] == "mine.definitions"


@pytest.fixture
def project(tmp_path, small_params):
    """A folder with a small study and no data, and the code of the repository."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params), encoding="utf-8")
    return tmp_path


def call(project, project_root, *arguments):
    """Run a process without Dagster's environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=project,
        env={"PYTHONPATH": str(project_root), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_invalid_parameter_fails_before_dagster_starts(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    monkeypatch.setattr(subprocess, "Popen", None)

    status = main(["study", "--set", "training.epochs=many"])

    assert status == 1
    assert "training.epochs = 'many'" in capsys.readouterr().err


def lines_of_any_machine(stderr):
    """Without the line that a step prints now and then, which a fast machine never does."""
    lines = stderr.splitlines()
    return [one for one in lines if ": done in " in one or not re.match(r"[a-z_]+: ", one)]


@pytest.mark.slow
def test_the_exit_code_and_message_are_those_of_dagster(project, project_root):
    done = call(project, project_root, "study", "--select", "raw_events")

    message = "raw data data/raw/synthetic-shop.jsonl is missing. Add it, or correct dataset.path"
    assert (done.returncode, done.stdout) == (1, "")
    takes, error = lines_of_any_machine(done.stderr)
    assert takes.startswith("the run will take an unknown time")
    assert error.startswith(f"paretoscope study: {message}")


@pytest.mark.slow
def test_a_selection_runs_with_overrides(project, project_root):
    call(project, project_root, "generate")

    arguments = ["study", "--select", "raw_events,events", "--set", "study.name=other", "--json"]
    done = call(project, project_root, *arguments)

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert [line.split(" in ")[0] for line in lines_of_any_machine(done.stderr)] == [
        "the run will take an unknown time: its data has not been counted yet (first run)",
        "raw_events: done",
        "events: done",
    ]
    assert (found["status"], found["study"], found["report"]) == (0, "other", None)
    assert list(found["assets"]) == ["raw_events", "events"]
    assert (project / "data/studies/other/events/events.parquet").is_file()


@pytest.mark.slow
def test_verbose_prints_dagsters_log(project, project_root):
    call(project, project_root, "generate")

    done = call(project, project_root, "study", "--select", "raw_events", "--verbose")

    assert done.returncode == 0
    assert " - raw_events - done in " in done.stderr
    assert done.stdout.startswith("raw_events: done in ")


@pytest.mark.slow
def test_killing_the_command_ends_dagster(project, project_root):
    call(project, project_root, "generate")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "study", "--verbose"],
        cwd=project,
        env={"PYTHONPATH": str(project_root), "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stderr:
            if " - raw_events - done in " in line:
                process.kill()
        # Dagster holds the same pipe: the loop ended because Dagster did
    lock = StudyPaths(root=project, name="small")
    waited = []
    with study_lock(lock, "the next run", waited.append):
        pass
    assert waited == []
    assert not (project / "data/studies/small/report").exists()


@pytest.mark.slow
def test_a_terminated_run_says_how_to_go_on(project, project_root):
    call(project, project_root, "generate")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "study"],
        cwd=project,
        env={"PYTHONPATH": str(project_root), "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("events: done in "):
                process.terminate()
    assert process.returncode == 130
    assert lines[-1].startswith("paretoscope study: interrupted in ")
    assert "Go on with: paretoscope study --select" in lines[-1]

"""The commands that the doctor prints succeed where it prints them: run, not read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts.project import choose_study
from pipeline.cli import main
from pipeline.doctor.finding import Status
from pipeline.doctor.run import run_checks
from pipeline.scaffold.init import create_project
from pipeline.scaffold.templates import NewStudy, Template

pytestmark = pytest.mark.slow

PROGRAMS = ("git ", "dvc ", "mkdir ", "export ", "(test -d .dvc")
"""What the fixes of a new project begin with; ``paretoscope study`` is run by other tests."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of a small synthetic shop, outside git."""
    folder = create_project(NewStudy(name="my-shop", template=Template.SYNTHETIC), tmp_path)
    params = folder / "params.yaml"
    text = params.read_text("utf-8").replace("items: 3000", "items: 60\n  categories: 4")
    params.write_text(text.replace("sessions: 40000", "sessions: 50"), encoding="utf-8")
    monkeypatch.chdir(folder)
    for name in ("DAGSTER_HOME", "DAGSTER_MODULE_NAME"):
        monkeypatch.delenv(name, raising=False)
    main(["generate"])
    (folder / "data/raw/own log.jsonl").write_bytes(
        (folder / "data/raw/synthetic-shop.jsonl").read_bytes()
    )
    use(folder, "data/raw/own log.jsonl")
    return folder


def use(folder: Path, data: str) -> None:
    """Make another file the study's raw data, which no stage writes."""
    params = folder / "params.yaml"
    lines = params.read_text("utf-8").splitlines()
    changed = [f'  path: "{data}"' if line.startswith("  path: ") else line for line in lines]
    params.write_text("\n".join(changed) + "\n", encoding="utf-8")


def fixes(check=None):
    found = [one for one in run_checks(choose_study()) if check in {None, one.check}]
    return [one.fix for one in found if one.fix and one.fix.startswith(PROGRAMS)]


def run(command):
    identity = {
        f"GIT_{who}_{what}": "a@x.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        env=os.environ | identity | {"PATH": path, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def pinned() -> bool:
    (raw,) = (one for one in run_checks(choose_study()) if one.check == "raw data")
    return raw.status is Status.OK


@pytest.mark.parametrize(
    "before", ["true", "git init -q", "git init -q && git add -A -f && git commit -qm all"]
)
@pytest.mark.usefixtures("project")
def test_raw_data_is_pinned_by_the_printed_command(before):
    assert run(before).returncode == 0
    (command,) = fixes("raw data")

    done = run(command)

    assert done.returncode == 0, f"{command}: {done.stderr}"
    assert pinned()


def test_a_log_that_a_stage_writes_is_pinned_by_its_stage(project):
    use(project, "data/raw/synthetic-shop.jsonl")
    (command,) = fixes("raw data")

    done = run(
        command.replace("dvc repro", "dvc commit --force")
    )  # the same outputs, without a run

    assert command == "(test -d .dvc || dvc init --no-scm) && dvc repro raw_events"
    assert done.returncode == 0, done.stderr
    assert pinned()


def test_data_outside_the_project_gets_no_command_that_fails(project, tmp_path):
    (tmp_path / "elsewhere.jsonl").write_text("{}", encoding="utf-8")
    use(project, str(tmp_path / "elsewhere.jsonl"))

    (raw,) = (one for one in run_checks(choose_study()) if one.check == "raw data")

    assert raw.status is Status.WARNING
    assert "DVC pins data inside the project only" in (raw.fix or "")
    (project / "data/raw/link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    use(project, "data/raw/link.jsonl")
    assert fixes("raw data") == []


@pytest.mark.usefixtures("project")
def test_every_command_for_the_environment_of_a_new_project_succeeds():
    for command in fixes():
        done = run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    assert fixes("git") == fixes("DAGSTER_HOME") == []
    (remote,) = (one for one in run_checks(choose_study()) if one.check == "DVC remote")
    assert "no default remote" in remote.message

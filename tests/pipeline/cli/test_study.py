"""``paretoscope study``: parsing of Dagster's log, exit code, and a real run."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.cli.study import RunProgress, environment

RUN = "2026-11-23 22:38:11 +0000 - dagster - {} - __ASSET_JOB - 20b23157-f04e-4c59-b48a-0fbc9efa38dc - "
INFO, ERROR = RUN.format("INFO"), RUN.format("ERROR")
FAILURE = "dagster._core.definitions.events.Failure: "


def parsed(*lines):
    run = RunProgress()
    for line in lines:
        run.parse_line(line)
    return run


def test_finished_assets_are_recorded_with_their_seconds():
    run = parsed(
        f"{INFO}events - reading: piece 3 of about 9",
        f"{INFO}events - done in 4.3 s",
        f"{INFO}sessions - done in 0.6 s",
    )

    assert run.seconds == {"events": 4.3, "sessions": 0.6}
    assert (run.status, run.failures) == ("sessions is done", [])


def test_the_status_is_the_last_message_of_an_asset():
    run = parsed(f"{INFO}conditioned_model - epoch 3: loss 5.1 - better")

    assert run.status == "conditioned_model: epoch 3: loss 5.1 - better"


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


@pytest.mark.slow
def test_the_exit_code_and_message_are_those_of_dagster(project, project_root):
    done = call(project, project_root, "study", "--select", "raw_events")

    message = "raw data data/raw/synthetic-shop.jsonl is missing. Add it, or correct dataset.path"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"paretoscope study: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_selection_runs_with_overrides(project, project_root):
    call(project, project_root, "generate")

    arguments = ["study", "--select", "raw_events,events", "--set", "study.name=other", "--json"]
    done = call(project, project_root, *arguments)

    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
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

"""``paretoscope rollout``: real processes, with nothing but the events."""

import json
import resource
import subprocess
import sys

import duckdb
import pytest
import yaml

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.rollout import operations
from pipeline.rollout.gates import write_gated_plan
from pipeline.rollout.served import read_served
from pipeline.rollout.store import events_file
from tests.pipeline.rollout.releases import ANNA, begun, gated


@pytest.fixture
def project(tmp_path, project_root, monkeypatch):
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    arms = {"candidate": {"preference": "p07"}, "incumbent": {"preference": "p04"}}
    values["rollout"] = {"release": "spring", **arms}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return StudyPaths(tmp_path, "synthetic-shop")


@pytest.mark.slow
def test_a_rollback_takes_a_second_with_everything_else_broken(project):
    """The database and the study are locked by others, there is no model, and Dagster does not run."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    for release in ("spring", "summer", "autumn"):
        begun(project, release=release)
        database = duckdb.connect(project.folder / "experiment.duckdb")
        with study_lock(project, "a test"), database:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pipeline.cli",
                    "rollout",
                    "rollback",
                    "--reason",
                    "complaints",
                ],
                cwd=project.root,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        assert f"release {release}: rolled_back" in done.stdout
        assert "complaints" in done.stdout
        assert read_served(project).share == 0.0
        assert not project.artifact("conditioned_model").exists()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime
    assert (
        seconds / 3 < 1.5
    )  # CPU time, as tests run beside others; torch alone would take two more


def test_from_start_to_rollback(project, capsys):
    write_gated_plan(gated(), project)

    codes = [
        main(["rollout", *words])
        for words in (
            ["start"],
            ["approve", "canary"],
            ["hold"],
            ["resume"],
            ["rollback"],
            ["status"],
        )
    ]

    assert codes == [0] * 6
    out = capsys.readouterr().out
    assert "stage canary needs approval: paretoscope rollout approve canary" in out
    assert "go on: paretoscope rollout resume" in out
    assert "release spring: rolled_back" in out

    main(["rollout", "status", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rollout"]["state"] == "rolled_back"
    assert [event["action"] for event in found["events"][-4:]] == [
        "approve",
        "hold",
        "resume",
        "roll back",
    ]
    assert "@" in found["events"][-1]["who"]


def test_a_plan_of_other_parameters_is_not_started(project, capsys):
    write_gated_plan(gated(holdback=0.1), project)

    assert main(["rollout", "start"]) == 1
    assert "rollout_plan is of another section rollout" in capsys.readouterr().err

    assert main(["rollout", "status"]) == 1
    assert "there is no release; start one" in capsys.readouterr().err


@pytest.mark.usefixtures("project")
def test_without_a_plan_the_message_names_its_command(capsys):
    assert main(["rollout", "start"]) == 1
    assert "paretoscope study --select rollout_plan" in capsys.readouterr().err


def test_verify(project, capsys):
    begun(project)
    operations.hold(project, ANNA, "holidays")
    assert main(["rollout", "verify"]) == 0

    file = events_file(project, "spring")
    file.write_bytes(file.read_bytes().replace(b"anna", b"otto", 1))
    assert main(["rollout", "verify"]) == 1
    assert "line 2 follows a line with SHA-256" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"), [(["approve"], "needs the name"), (["hold", "x"], "takes no")]
)
@pytest.mark.usefixtures("project")
def test_usage(capsys, words, problem):
    assert main(["rollout", *words]) == 1
    assert problem in capsys.readouterr().err


def test_a_reason_that_is_no_text_does_not_keep_a_candidate(project):
    begun(project)

    assert main(["rollout", "rollback", "--reason", "a\udcff"]) == 0

    assert read_served(project).share == 0.0

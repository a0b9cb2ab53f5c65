"""Two studies of one project with real processes: DVC pins both, Dagster schedules and shows both."""

import json
import os
import shutil
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.browser.test_dagster_ui import answers, ask_dagster, end_group, wait_for
from tests.end_to_end.test_wheel import ab_test

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOCATION = "shop"
REPOSITORY = f'repositoryName: "__repository__", repositoryLocationName: "{LOCATION}"'
START_SCHEDULE = f"""mutation {{ startSchedule(scheduleSelector: {{{REPOSITORY}, scheduleName: "%s"}}) {{
    __typename ... on PythonError {{ message }} }} }}"""
START_SENSOR = f"""mutation {{ startSensor(sensorSelector: {{{REPOSITORY}, sensorName: "%s"}}) {{
    __typename ... on PythonError {{ message }} }} }}"""
INSTIGATORS = f"""{{ repositoryOrError(repositorySelector: {{{REPOSITORY}}}) {{ ... on Repository {{
    schedules {{ name pipelineName scheduleState {{ status }} }}
    sensors {{ name sensorState {{ status }} }} }} }} }}"""
DRY_RUN = f"""mutation {{ scheduleDryRun(selectorData: {{{REPOSITORY}, scheduleName: "%s"}}, timestamp: %f) {{
    ... on DryRunInstigationTick {{ evaluationResult {{ runRequests {{ tags {{ key value }} jobName }} }} }}
    ... on PythonError {{ message }} }} }}"""
RUNS = """{ runsOrError { ... on Runs { results { jobName status tags { key value }
    assetSelection { path } } } } }"""
MONDAY = 1_772_420_400.0
"""2026-03-02 03:00 UTC."""


class Project:
    """A project of two A/B tests, and the commands that are typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bin_folder = folder.parent / "bin"
        bin_folder.mkdir()
        (bin_folder / "paretoscope").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m pipeline.cli "$@"\n', encoding="utf-8"
        )
        (bin_folder / "paretoscope").chmod(0o755)
        hidden = ("DAGSTER_", "PARETOSCOPE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment = kept | {
            "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
            "DVC_NO_ANALYTICS": "1",
            **{
                f"GIT_{who}_{what}": "a@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }

    def run(self, words: str, within: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", words],
            cwd=within or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, words: str, within: Path | None = None) -> str:
        done = self.run(words, within)
        assert done.returncode == 0, f"{words}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        return done.stdout

    def clicks(self, study: str) -> dict[str, int]:
        """Users with a click by variant, as the study's report says."""
        report = self.folder / "data/studies" / study / "report/report.json"
        rows = json.loads(report.read_text("utf-8"))["group_kpis"]
        return {row["group"]: row["successes"] for row in rows if row["kpi"] == "ctr"}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Project, dict[str, dict[str, int]]]:
    """Both studies computed by `dvc repro` and committed, and the clicks of their logs."""
    parent = tmp_path_factory.mktemp("two")
    project = Project(parent / "shop")
    project.succeed("paretoscope init shop --template ab-test", parent)
    project.succeed("paretoscope init spring --template ab-test --add")
    counts = {
        "shop": ab_test(project.folder / "data/log", seed=1, lift=0.06),
        "spring": ab_test(project.folder / "data/spring", seed=2, lift=-0.05),
    }
    project.succeed(
        "git init -q && dvc init -q && dvc repro && git add -A && git commit -qm studies"
    )
    return project, counts


def test_both_reports_are_of_their_own_data(project):
    studies, counts = project

    assert {name: studies.clicks(name) for name in counts} == counts
    lock = yaml.safe_load((studies.folder / "dvc.lock").read_text("utf-8"))
    assert set(lock["stages"]) == {"study", "spring"}


def test_the_pins_of_each_are_verified(project):
    studies, _ = project

    by_default = studies.succeed("paretoscope verify")
    by_name = studies.succeed("PARETOSCOPE_STUDY=spring paretoscope verify")
    by_file = studies.succeed("paretoscope verify --params studies/spring.yaml")

    for text, own, other in ((by_default, "shop", "spring"), (by_name, "spring", "shop")):
        assert "verified: everything bit for bit" in text
        assert f"data/studies/{own}/group_kpis" in text
        assert f"studies/{other}" not in text
    assert by_file == by_name
    log = studies.folder / "data/spring/clicks.csv"
    before = log.read_bytes()
    log.write_bytes(before[: len(before) // 2])
    assert studies.run("paretoscope verify --study spring").returncode == 1
    assert studies.run("paretoscope verify").returncode == 0
    log.write_bytes(before)


@pytest.fixture
def dagster(project) -> Any:
    """Dagster as `paretoscope ui` starts it; yields a function that asks its API."""
    studies, _ = project
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (studies.folder.parent / "ui.log").open("w") as log:
        started = subprocess.Popen(
            ["paretoscope", "ui", "--port", str(port)],
            executable=str(studies.folder.parent / "bin/paretoscope"),
            cwd=studies.folder,
            env=studies.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: answers(f"{url}/server_info"))
            yield partial(ask_dagster, url)
        finally:
            end_group(started)


def test_both_are_scheduled_and_their_runs_never_mix(project, dagster):
    studies, _ = project
    names = {"retrain_weekly": "study", "spring__retrain_weekly": "spring__study"}
    for name in names:
        assert (
            dagster(START_SCHEDULE % name)["startSchedule"]["__typename"] == "ScheduleStateResult"
        )
    sensors = {"new_log_files", "spring__new_log_files"}
    for name in sensors:
        dagster(START_SENSOR % name)

    found = dagster(INSTIGATORS)["repositoryOrError"]
    assert {one["name"]: one["pipelineName"] for one in found["schedules"]} == names
    assert {one["scheduleState"]["status"] for one in found["schedules"]} == {"RUNNING"}
    running = {one["name"] for one in found["sensors"] if one["sensorState"]["status"] == "RUNNING"}
    assert running == sensors
    for name in names:
        tick = dagster(DRY_RUN % (name, MONDAY))["scheduleDryRun"]
        assert len(tick["evaluationResult"]["runRequests"]) == 1

    ended = wait_for(lambda: _both_ended(dagster))  # the sensors see the logs of both
    before = {name: studies.clicks(name) for name in ("shop", "spring")}
    assert {(run["jobName"], run["study"]) for run in ended} == {
        ("ingest_and_report", "shop"),
        ("spring__ingest_and_report", "spring"),
    }
    for run in ended:
        paths = [one["path"] for one in run["assetSelection"] or []]
        assert all((len(path) == 2) == (run["study"] == "spring") for path in paths)

    (studies.folder / "data/more").mkdir()
    more = ab_test(studies.folder / "data/more", users=400, seed=9)
    for name in ("assignments", "clicks", "orders"):
        text = (studies.folder / f"data/more/{name}.csv").read_text("utf-8")
        text = text.replace("\nu", "\nnew")
        target = studies.folder / f"data/spring/{name}-2.csv"
        target.with_suffix(".part").write_text(text, encoding="utf-8")
        target.with_suffix(".part").rename(target)
    shutil.rmtree(studies.folder / "data/more")
    wanted = {variant: before["spring"][variant] + more[variant] for variant in more}
    wait_for(lambda: True if studies.clicks("spring") == wanted else None)
    assert studies.clicks("shop") == before["shop"]


def _both_ended(ask) -> list[dict[str, Any]] | None:
    """The runs, if one of each study has ended."""
    runs = ask(RUNS)["runsOrError"]["results"]
    for run in runs:
        run["study"] = {tag["key"]: tag["value"] for tag in run["tags"]}.get("study")
        assert run["status"] != "FAILURE", run
    ended = [run for run in runs if run["status"] == "SUCCESS" and "ingest" in run["jobName"]]
    return ended if {run["study"] for run in ended} == {"shop", "spring"} else None

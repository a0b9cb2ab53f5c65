"""The sensor that watches the files of an external log."""

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from pipeline.study import PARAMS_FILE

LOG = "external"
new_log_files = next(one for one in defs.sensors or () if one.name == "new_log_files")


@pytest.fixture
def log(project) -> Path:
    """The folder of an external log, in a study that has a plan."""
    params = yaml.safe_load((project / PARAMS_FILE).read_text("utf-8"))
    params["experiment"] |= {"source": "files", "log_path": LOG}
    (project / PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")
    (project / "data/studies/synthetic-shop/traffic_plan").mkdir(parents=True)
    (project / LOG).mkdir()
    return project / LOG


def write(file: Path, text: str = "impression\n", *, seconds: int = 0) -> None:
    file.write_text(text, encoding="utf-8")
    os.utime(file, (1_700_000_000 + seconds,) * 2)


UNCHANGED = "the log's files have not changed since the last ingestion"


class Watching:
    """Ticks of the sensor, each with the cursor of the previous one."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def tick(self) -> list[str] | str:
        """The keys of the requested runs, or the reason to skip."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = new_log_files(context)
        if isinstance(result, dg.SkipReason):
            return result.skip_message or ""
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return [request.run_key or "" for request in result.run_requests or []]


def test_new_files_are_ingested_once(log):
    watching = Watching()
    write(log / "impressions-1.csv")

    first, again = watching.tick(), watching.tick()
    write(log / "impressions-2.csv")
    second = watching.tick()

    assert len(first) == len(second) == 1
    assert first != second
    assert again == UNCHANGED


@pytest.mark.parametrize(
    "change",
    [
        lambda file: write(file, "another text\n"),
        lambda file: write(file, seconds=1),
        lambda file: file.rename(file.with_name("impressions-3.csv")),
    ],
    ids=["another size", "another time", "another name"],
)
def test_changed_files_are_ingested(log, change):
    watching = Watching()
    write(log / "impressions-1.csv")
    watching.tick()

    change(log / "impressions-1.csv")

    assert len(watching.tick()) == 1


def test_a_file_that_comes_goes_and_comes_again_is_a_run_each_time(log):
    watching = Watching()
    write(log / "impressions-1.csv")
    keys = [watching.tick()]

    write(log / "impressions-2.csv")
    keys.append(watching.tick())
    (log / "impressions-2.csv").unlink()
    keys.append(watching.tick())
    write(log / "impressions-2.csv")
    keys.append(watching.tick())

    assert len({key for (key,) in keys}) == 4


def test_an_incomplete_file_is_not_ingested(log):
    watching = Watching()
    write(log / "impressions-1.csv")
    watching.tick()

    write(log / "impressions-2.csv.part")
    waiting = watching.tick()
    (log / "impressions-2.csv.part").rename(log / "impressions-2.csv")

    assert waiting == UNCHANGED
    assert len(watching.tick()) == 1


def test_new_files_wait_until_no_run_is_active(log):
    watching = Watching()
    write(log / "impressions-1.csv")
    job = defs.resolve_job_def("study")
    run = watching.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)

    waiting = watching.tick()
    watching.instance.report_run_canceled(run)

    assert f"run {run.run_id} (study) is active" in waiting
    assert len(watching.tick()) == 1


@pytest.mark.parametrize("job", ["watch_rollout", "roll_back"])
def test_new_files_do_not_wait_for_a_rollout(log, job):
    watching = Watching()
    write(log / "impressions-1.csv")
    found = defs.resolve_job_def(job)
    watching.instance.create_run_for_job(
        found, status=dg.DagsterRunStatus.STARTED, tags=found.run_tags
    )

    assert len(watching.tick()) == 1


@pytest.mark.usefixtures("log")
def test_it_gives_the_reason_to_skip(project):
    empty = Watching().tick()
    (project / "data/studies/synthetic-shop/traffic_plan").rmdir()
    unplanned = Watching().tick()
    params = yaml.safe_load((project / PARAMS_FILE).read_text("utf-8"))
    params["experiment"] |= {"source": "simulated-shop", "log_path": None}
    (project / PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")

    assert "no log file in" in empty
    assert "traffic_plan is missing. Create it with: paretoscope study" in unplanned
    assert Watching().tick() == (
        "experiment.source is simulated-shop; the sensor watches files only"
    )


def test_it_is_off_by_default():
    assert new_log_files.default_status is dg.DefaultSensorStatus.STOPPED
    assert new_log_files.job_name == "ingest_and_report"

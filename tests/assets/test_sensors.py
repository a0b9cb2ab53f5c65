"""The sensor that waits for the files of a brought log."""

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from assets.sensors import new_log_files
from pipeline.study import PARAMS_FILE

LOG = "brought"


@pytest.fixture
def brought(project) -> Path:
    """The log's folder of a study that brings its log and has a plan."""
    params = yaml.safe_load((project / PARAMS_FILE).read_text("utf-8"))
    params["experiment"] |= {"source": "files", "log_path": LOG}
    (project / PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")
    (project / "data/studies/synthetic-shop/traffic_plan").mkdir(parents=True)
    (project / LOG).mkdir()
    return project / LOG


def write(file: Path, text: str = "impression\n", *, seconds: int = 0) -> None:
    file.write_text(text, encoding="utf-8")
    os.utime(file, (1_700_000_000 + seconds,) * 2)


class Watching:
    """Ticks of the sensor, each with the cursor the one before it left."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def tick(self) -> list[str] | str:
        """The keys of the runs that are asked for, or why there are none."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        said = new_log_files(context)
        if isinstance(said, dg.SkipReason):
            return said.skip_message or ""
        assert isinstance(said, dg.SensorResult)
        self.cursor = said.cursor
        return [request.run_key or "" for request in said.run_requests or []]


def test_new_files_are_taken_in_once(brought):
    watching = Watching()
    write(brought / "impressions-1.csv")

    first, again = watching.tick(), watching.tick()
    write(brought / "impressions-2.csv")
    second = watching.tick()

    assert len(first) == len(second) == 1
    assert first != second
    assert again == "the log has no other files than when it was last taken in"


@pytest.mark.parametrize(
    "change",
    [
        lambda file: write(file, "another text\n"),
        lambda file: write(file, seconds=1),
        lambda file: file.rename(file.with_name("impressions-3.csv")),
    ],
    ids=["another size", "another time", "another name"],
)
def test_changed_files_are_taken_in(brought, change):
    watching = Watching()
    write(brought / "impressions-1.csv")
    watching.tick()

    change(brought / "impressions-1.csv")

    assert len(watching.tick()) == 1


def test_a_file_that_comes_goes_and_comes_again_is_a_run_each_time(brought):
    watching = Watching()
    write(brought / "impressions-1.csv")
    keys = [watching.tick()]

    write(brought / "impressions-2.csv")
    keys.append(watching.tick())
    (brought / "impressions-2.csv").unlink()
    keys.append(watching.tick())
    write(brought / "impressions-2.csv")
    keys.append(watching.tick())

    assert len({key for (key,) in keys}) == 4


def test_a_file_that_is_still_written_is_waited_for(brought):
    watching = Watching()
    write(brought / "impressions-1.csv")
    watching.tick()

    write(brought / "impressions-2.csv.part")
    waiting = watching.tick()
    (brought / "impressions-2.csv.part").rename(brought / "impressions-2.csv")

    assert waiting == "the log has no other files than when it was last taken in"
    assert len(watching.tick()) == 1


def test_new_files_wait_until_no_run_is_under_way(brought):
    watching = Watching()
    write(brought / "impressions-1.csv")
    job = defs.resolve_job_def("study")
    run = watching.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)

    waiting = watching.tick()
    watching.instance.report_run_canceled(run)

    assert f"run {run.run_id} (study) is under way" in waiting
    assert len(watching.tick()) == 1


@pytest.mark.usefixtures("brought")
def test_it_says_why_there_is_nothing_to_take_in(project):
    empty = Watching().tick()
    (project / "data/studies/synthetic-shop/traffic_plan").rmdir()
    unplanned = Watching().tick()
    params = yaml.safe_load((project / PARAMS_FILE).read_text("utf-8"))
    params["experiment"] |= {"source": "simulated-shop", "log_path": None}
    (project / PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")

    assert "no file in" in empty
    assert "traffic_plan is missing. Create it with: dagster asset materialize" in unplanned
    assert Watching().tick() == (
        "experiment.source is simulated-shop; only the files of a log are waited for"
    )


def test_it_is_off_until_it_is_switched_on():
    assert new_log_files.default_status is dg.DefaultSensorStatus.STOPPED
    assert new_log_files.job_name == "ingest_and_report"

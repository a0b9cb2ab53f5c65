"""What ends a preparation on Spark, and what does not: no session left, unseen parts, a killed worker or command."""

import os
import shutil
import signal
import subprocess
import sys
import time
from threading import Thread

import pytest
import yaml

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import ClusterError, DataError
from pipeline.sessions.on_spark import prepare
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.prepare import write_sessions
from pipeline.steps.data import ingest_events, prepare_sessions
from pipeline.study import parse_study
from pipeline.synthetic.generate_log import generate_log
from tests.pipeline.core.spark.java import executors, needs_spark
from tests.pipeline.sessions.on_spark.comparison import FILES, asked, assert_equal
from tests.pipeline.sessions.on_spark.hostile_sessions import as_events, hostile

pytestmark = [pytest.mark.slow, needs_spark]


def test_nothing_left_is_the_same_error(cluster, tmp_path):
    events = as_events(hostile(1), tmp_path / "events")
    rules = asked(test_days=1.0, validation_days=1.0, min_item_support=1_000_000)
    said = []
    for write in (write_sessions, write_sessions_on_spark):
        (folder := tmp_path / write.__name__).mkdir()
        options = {} if write is write_sessions else {"master": cluster}
        with pytest.raises(DataError, match="nothing is left in items, train_sessions") as refused:
            write(events, folder, rules, **options)
        said.append(str(refused.value))

    assert said[0] == said[1]


def test_parts_that_this_machine_does_not_see_are_an_error(shop, cluster, tmp_path, monkeypatch):
    def without_the_first(folder):
        min(folder.glob("part-*.parquet")).unlink()
        return read(folder)

    read = prepare.read_selections
    monkeypatch.setattr(prepare, "read_selections", without_the_first)

    with pytest.raises(
        ClusterError, match=r"this machine sees .* need the project on a shared file"
    ):
        write_sessions_on_spark(shop, tmp_path, asked(), master=cluster)


def test_a_killed_worker_changes_no_byte(shop, cluster, tmp_path, monkeypatch):
    """It has half of the rows that are kept in memory, and a task of the last query."""

    def write_without_a_worker(work, catalogue, folder):
        kill = Thread(target=kill_a_worker_with_a_task, args=(work.spark.sparkContext,))
        kill.start()
        found = write(work, catalogue, folder)
        kill.join()
        return found

    write, before = prepare._Preparation.write_sessions, set(executors())
    monkeypatch.setattr(prepare._Preparation, "write_sessions", write_without_a_worker)

    assert_equal(shop, tmp_path, asked(), cluster)

    assert len(before) == 2
    assert not before <= set(executors())


def kill_a_worker_with_a_task(context):
    tracker = context.statusTracker()
    while not any(tracker.getStageInfo(one).numActiveTasks for one in tracker.getActiveStageIds()):
        time.sleep(0.01)
    os.kill(executors()[0], signal.SIGKILL)


KILLED = """
import sys
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.steps.data import prepare_sessions
from pipeline.study import load_study

study = load_study(Path(sys.argv[1], "params.yaml"))
prepare_sessions(study, StudyPaths.of(study, Path(sys.argv[1])))
"""


def test_killed_while_writing_and_run_again(cluster, tmp_path, small_params, monkeypatch):
    values = small_params | {"compute": {"sessions": "spark"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    here, there = (parse_study(one) for one in (small_params, values))
    paths = StudyPaths.of(here, tmp_path)
    log = tmp_path / here.dataset.path
    log.parent.mkdir(parents=True)
    generate_log(here.synthetic, log)
    ingest_events(here, paths)
    prepare_sessions(here, paths)
    expected = {file.name: file.read_bytes() for file in paths.artifact("sessions").iterdir()}
    shutil.rmtree(paths.artifact("sessions"))
    monkeypatch.setenv(MASTER_VARIABLE, "local[2]")
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        while not any(paths.folder.glob(".sessions.*/sessions/stage/*")):
            assert killed.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not paths.artifact("sessions").exists()

    monkeypatch.setenv(MASTER_VARIABLE, cluster)
    prepare_sessions(there, paths)

    found = {file.name: file.read_bytes() for file in paths.artifact("sessions").iterdir()}
    assert found == expected
    assert {"profile.json", "data_card.md"} | FILES == set(found)
    assert not list(paths.folder.glob(".sessions.*"))

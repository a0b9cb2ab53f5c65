"""What Spark does not say, or says in another way: no worker, a Java process that has ended, folders, its log."""

import logging
import re
import subprocess
import time
from contextlib import contextmanager
from itertools import count as count_from_0
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from pipeline.core.errors import ClusterError
from pipeline.core.spark import waiting
from pipeline.core.spark.session import spark_session
from tests.pipeline.core.spark.java import end_java, needs_spark

pytestmark = [pytest.mark.slow, needs_spark]

LOCAL = "local[1]"


@pytest.fixture(autouse=True)
def java(monkeypatch):
    """A process of its own for each test."""
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv(
        "JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1"
    )  # compiled once: the data is small
    end_java()
    yield
    end_java()


def count(master):
    with spark_session("tests", master, "MASTER") as spark:
        return spark.range(5).count()


@contextmanager
def standalone(role, log, *arguments):
    """A master or a worker of a standalone cluster."""
    import pyspark  # noqa: PLC0415 - an extra

    started = Path(pyspark.__file__).parent / "bin/spark-class"
    name = f"org.apache.spark.deploy.{role.lower()}.{role}"
    options = ["--host", "127.0.0.1", "--webui-port", "0", *arguments]
    with (
        log.open("w") as output,
        subprocess.Popen([started, name, *options], stdout=output, stderr=output) as process,
    ):
        try:
            yield log
        finally:
            process.terminate()


def found_in(log, pattern):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_work_that_no_worker_takes_is_a_warning_until_one_does(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "_FIRST_SECONDS", 2.0)
    clock = SimpleNamespace(monotonic=count_from_0().__next__)  # a second a poll
    monkeypatch.setattr(waiting, "time", clock)
    counts = []
    with standalone("Master", tmp_path / "master", "--port", "0") as log:
        master = found_in(log, r"Starting Spark master at (\S+)")
        with caplog.at_level(logging.WARNING, "pipeline"):
            query = Thread(target=lambda: counts.append(count(master)))
            query.start()
            while not caplog.records:
                query.join(0.1)
                assert query.is_alive()
        work = ("-c", "1", "-m", "1g", "-d", str(tmp_path / "work"), master)
        with standalone("Worker", tmp_path / "worker", *work):
            query.join(60)

    assert counts == [5]
    assert re.fullmatch(
        rf"no worker of Spark at {master} has taken the work for [23] s; waiting. Start a worker, .*",
        caplog.messages[0],
    )
    assert len(caplog.messages) == 1


def count_without_java():
    from pyspark import SparkContext  # noqa: PLC0415 - an extra

    with spark_session("tests", LOCAL, "MASTER") as spark:
        SparkContext._gateway.proc.kill()
        spark.range(5).count()


def test_a_java_process_that_is_killed_is_named_and_the_next_run_starts_one():
    with pytest.raises(ClusterError, match=r"Java .* \(exit code -9: killed, .*type the command"):
        count_without_java()

    assert count(LOCAL) == 5


def test_a_folder_that_spark_cannot_write_is_named(monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/proc/nowhere")
    with pytest.raises(ClusterError, match="temporary files in SPARK_LOCAL_DIRS = /proc/nowhere;"):
        count(LOCAL)


def test_a_session_of_the_user_logs_its_own_errors_only(capfd):
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    def fail(session):
        with pytest.raises(Exception, match="DIVIDE_BY_ZERO"):
            session.sql("SELECT 1 / id FROM range(1)").collect()
        return "Lost task" in capfd.readouterr().err

    own = SparkSession.builder.master(LOCAL).config("spark.ui.enabled", "false").getOrCreate()
    try:
        with spark_session("tests", LOCAL, "MASTER") as ours:
            of_ours = fail(ours)
        of_own = fail(own)
    finally:
        own.stop()

    assert (of_ours, of_own) == (False, True)

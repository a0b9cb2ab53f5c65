"""The cluster and the log of the tests of sessions on Spark."""

import pytest

from pipeline.core.spark.session import spark_session
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE
from pipeline.study import SyntheticConfig
from pipeline.synthetic.generate_log import generate_log
from tests.pipeline.core.spark.java import end_java
from tests.pipeline.sessions.on_spark.comparison import CLUSTER, OTTO, ingested

SETTINGS = """
spark.driver.extraJavaOptions    -XX:TieredStopAtLevel=1
spark.executor.extraJavaOptions  -XX:TieredStopAtLevel=1
spark.sql.files.maxPartitionBytes  65536
"""
"""Compiled once, since the data is small; and files are read in several pieces."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of two workers, which all tests of a module use."""
    folder = tmp_path_factory.mktemp("spark-conf")
    (folder / "spark-defaults.conf").write_text(SETTINGS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        with spark_session("tests", CLUSTER, MASTER_VARIABLE):
            yield CLUSTER
        end_java()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    log = folder / "log.jsonl"
    generate_log(SyntheticConfig(items=300, users=300, sessions=3000, days=12), log)
    return ingested(OTTO, log, folder / "events")

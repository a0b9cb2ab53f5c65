"""What a cluster of Spark needs is named if it is missing, with a command."""

import socket

import pytest

from pipeline.artifacts.storage import write_json
from pipeline.core.errors import ClusterError
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE, spark_master
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.rules import rules_of
from pipeline.study import DatasetConfig, DatasetFormat, SessionsConfig
from tests.pipeline.core.spark.java import needs_spark


def test_what_is_missing_is_named_with_a_command(monkeypatch, tmp_path):
    monkeypatch.delenv(MASTER_VARIABLE, raising=False)
    with pytest.raises(ClusterError, match=r"is not set, .*: export PARETOSCOPE_SPARK_MASTER="):
        spark_master()

    monkeypatch.setenv(MASTER_VARIABLE, "spark://shop:7077")
    monkeypatch.setattr("pipeline.core.spark.master.find_spec", lambda _: None)
    with pytest.raises(ClusterError, match=r"pip install 'paretoscope\[spark\]'"):
        spark_master()

    monkeypatch.setattr("pipeline.core.spark.master.find_spec", lambda _: "installed")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ClusterError, match=r"none in JAVA_HOME = .*: apt-get install openjdk-17"):
        spark_master()

    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="none on the PATH"):
        spark_master()


@needs_spark
def test_a_master_that_does_not_answer_is_an_error(tmp_path):
    write_json(tmp_path / "summary.json", {})
    rules = rules_of(SessionsConfig(), DatasetConfig(format=DatasetFormat.OTTO, path="log"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    master = f"spark://127.0.0.1:{port}"

    with pytest.raises(
        ClusterError, match=rf"Spark at {master} fails: .*refused.*{MASTER_VARIABLE}"
    ):
        write_sessions_on_spark(tmp_path, tmp_path, rules, master=master)

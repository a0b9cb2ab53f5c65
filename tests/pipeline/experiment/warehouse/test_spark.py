"""A log in Spark's catalog, on a cluster of real processes: a master and two workers on this machine."""

import os
import signal
from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.core.spark.session import spark_session
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.connection import URL_VARIABLE, open_warehouse
from pipeline.experiment.warehouse.ingest import ingest_warehouse
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.study import WarehouseBackend
from tests.pipeline.core.spark.java import end_java, executors, needs_spark
from tests.pipeline.experiment.logs import PLAN, contents, impression, users_in
from tests.pipeline.experiment.warehouse.messy_log import RULES, messy_log
from tests.pipeline.experiment.warehouse.tables import create_in_duckdb, create_in_spark
from tests.pipeline.experiment.warehouse.test_ingest_warehouse import (
    WAREHOUSE,
    assert_equal_fates,
    assert_equal_tables,
    ingested,
)

MASTER = "local-cluster[2,1,1024]"
SETTINGS = """
spark.driver.extraJavaOptions    -XX:TieredStopAtLevel=1
spark.executor.extraJavaOptions  -XX:TieredStopAtLevel=1
spark.sql.shuffle.partitions     2
spark.sql.ansi.enabled           false
"""
"""For small data: compiled once, and in two parts. Overflow would be null by default."""
UNKNOWN = ("shop.shown", "mall.impressions", "main.mall.impressions", "shop.im-pressions")
ON_SPARK = replace(WAREHOUSE, backend=WarehouseBackend.SPARK)

pytestmark = [pytest.mark.slow, needs_spark]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A session on the cluster, whose catalog the product's sessions share."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPARK_CONF_DIR", str(folder))
        patched.setenv(URL_VARIABLE, MASTER)
        with spark_session("tests", MASTER, URL_VARIABLE) as session:
            assert session.sparkContext.master == MASTER
            yield session
        end_java()


def test_spark_gives_every_table_that_duckdb_gives(tmp_path, monkeypatch, spark):
    """Batches included; benchmarks/scale_out.py compares a million rows."""
    impressions, users = messy_log(600)
    monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(tmp_path, impressions, users))
    expected = ingested(tmp_path / "duckdb.duckdb", **RULES)

    create_in_spark(spark, tmp_path, impressions, users)
    monkeypatch.setenv(URL_VARIABLE, MASTER)
    found = ingested(tmp_path / "spark.duckdb", config=ON_SPARK, **RULES)

    assert found[0] == expected[0]
    assert_equal_fates(found[1], expected[1])
    assert_equal_tables(found[2], expected[2])
    assert contents(tmp_path / "spark.duckdb") == contents(tmp_path / "duckdb.duckdb")


def test_spark_refuses_what_it_cannot_sum_or_find(tmp_path, monkeypatch, spark):
    (ann,) = users_in("g1", 1)
    rows = pl.DataFrame([impression(f"x{n}", user=ann) for n in range(2)])
    create_in_spark(spark, tmp_path, rows.with_columns(revenue=pl.lit(2**63 - 1)))
    monkeypatch.setenv(URL_VARIABLE, MASTER)
    messages = []
    for names in ({}, *({"impressions": name} for name in UNKNOWN)):
        config = replace(ON_SPARK, users=None, **names)
        with pytest.raises(LogError) as error:
            ingest_warehouse(config, PLAN, tmp_path / "sums.duckdb", rules=LogRules())
        messages.append(str(error.value))
    too_large, *unknown = messages

    assert too_large == (
        "a sum exceeds 64 bits: check the largest revenue and units of the log. The warehouse (spark) refuses: "
        "[ARITHMETIC_OVERFLOW] overflow"
    )
    for name, message in zip(UNKNOWN, unknown, strict=True):
        assert f"the warehouse has no table {name}, or this user may not read it" in message
    assert not (tmp_path / "sums.duckdb").exists()


@pytest.mark.usefixtures("spark")
def test_a_lost_worker_ends_the_run_instead_of_reading_the_log_again():
    with pytest.raises(LogError, match="Checkpoint block"):
        sum_without_a_worker()


def sum_without_a_worker():
    with open_warehouse(ON_SPARK) as connection:
        copied = materialise(connection.sql("SELECT id FROM range(0, 1000, 1, 4)"))
        assert copied.count().to_pyarrow().as_py() == 1000
        os.kill(executors()[0], signal.SIGKILL)
        copied.id.sum().to_pyarrow()

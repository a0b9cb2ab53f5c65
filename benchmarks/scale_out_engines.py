"""The engines of ``scale_out.py``, each with a log in its tables."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import polars as pl
from machine import CORES

from pipeline.core.spark.session import spark_session
from pipeline.experiment.design.assignment import buckets_of
from pipeline.experiment.warehouse.assign_users import add_buckets
from pipeline.experiment.warehouse.connection import URL_VARIABLE, open_warehouse
from pipeline.study import WarehouseBackend, WarehouseConfig
from tests.end_to_end.postgres import postgres
from tests.pipeline.experiment.warehouse.messy_log import PLAN
from tests.pipeline.experiment.warehouse.tables import (
    create_in_duckdb,
    create_in_postgres,
    create_in_spark,
)

MASTER = "local-cluster[2,1,1024]"
DUCKDB = WarehouseConfig(
    backend=WarehouseBackend.DUCKDB, impressions="shop.impressions", users="users"
)


@contextmanager
def on_duckdb(folder: Path, impressions: pl.DataFrame, users: pl.DataFrame) -> Iterator[Any]:
    """DuckDB with as many threads as there are cores."""
    os.environ[URL_VARIABLE] = create_in_duckdb(folder, impressions, users)
    with open_warehouse(DUCKDB) as connection:
        connection.raw_sql(f"SET threads = {CORES}")
        yield connection


@contextmanager
def on_postgres(folder: Path, impressions: pl.DataFrame, users: pl.DataFrame) -> Iterator[Any]:
    """A server of Debian's PostgreSQL."""
    del folder
    with postgres() as server:
        os.environ[URL_VARIABLE] = create_in_postgres(server, impressions, users)
        with open_warehouse(replace(DUCKDB, backend=WarehouseBackend.POSTGRES)) as connection:
            yield connection


@contextmanager
def on_spark(folder: Path, impressions: pl.DataFrame, users: pl.DataFrame) -> Iterator[Any]:
    """A cluster of a master and two workers with one core each."""
    os.environ["SPARK_CONF_DIR"] = str(folder)
    (folder / "spark-defaults.conf").write_text("spark.sql.shuffle.partitions 8\n", "utf-8")
    os.environ[URL_VARIABLE] = MASTER
    with ExitStack() as stack:
        session = stack.enter_context(spark_session("benchmark", MASTER, URL_VARIABLE))
        create_in_spark(session, folder, impressions, users)
        config = replace(DUCKDB, backend=WarehouseBackend.SPARK)
        yield stack.enter_context(open_warehouse(config))


@contextmanager
def on_clickhouse(folder: Path, impressions: pl.DataFrame, users: pl.DataFrame) -> Iterator[Any]:
    """ClickHouse in this process, by Ibis's backend for its servers."""
    import clickhouse_connect  # noqa: PLC0415 - of this engine only

    settings = {"join_use_nulls": 1}  # as Ibis sets it where it connects by itself
    client = clickhouse_connect.get_client(dsn="chdb://memory", settings=settings)
    client.command("CREATE DATABASE shop")
    client.command(f"SET max_threads = {CORES}")
    for name, rows in (("shop.impressions", impressions), ("users", users)):
        file = folder / f"{name}.parquet"
        rows.write_parquet(file)
        client.command(
            f"CREATE TABLE {name} ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM file('{file}')"  # noqa: S608
        )
    yield ibis.clickhouse.from_connection(client)


ENGINES: dict[str, Callable[[Path, pl.DataFrame, pl.DataFrame], Any]] = {
    "DuckDB": on_duckdb,
    "PostgreSQL": on_postgres,
    "ClickHouse": on_clickhouse,
    "Spark": on_spark,
}


def clickhouse_faults(connection: Any) -> str:
    """What the checks of ``compute.warehouse`` would find; chdb lacks the tables of literals that they use."""
    connection.con.command(
        "CREATE TABLE large ENGINE = Memory AS SELECT toInt64(exp2(61)) AS y FROM numbers(4)"
    )
    total = connection.table("large").y.sum().to_pyarrow().as_py()
    users = connection.table("users").select("user").distinct()
    longest = users.user.length().max().to_pyarrow().as_py()
    found = add_buckets(users.filter(users.user != ""), {"bucket": PLAN.salt}, longest).to_polars()
    wrong = found.filter(found["bucket"] != buckets_of(found["user"], PLAN.salt))
    letters = wrong["user"].str.contains(r"[^\x00-\x7f]").sum()
    return (
        f"4 · 2^61 is summed to {total:,}, and {wrong.height:,} of {found.height:,} users get another bucket "
        f"({letters:,} of them with a letter beyond ASCII), by which all tables differ"
    )

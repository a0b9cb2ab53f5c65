"""The sums of a log in a warehouse, against those of the same log in files."""

import duckdb
import ibis
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import buckets_of
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.reasons import RowKind
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.connection import URL_VARIABLE
from pipeline.experiment.warehouse.engine_checks import check_engine
from pipeline.experiment.warehouse.ingest import ingest_warehouse
from pipeline.study import WarehouseBackend, WarehouseConfig
from tests.pipeline.experiment.logs import TS, impression, ingest_folder, plan_of
from tests.pipeline.experiment.warehouse.messy_log import BUSY, messy_log

PLAN = plan_of(3, traffic_share=0.9, holdout=0.05, forced_assignment={"user-0000007": "g2"})
RULES = {"first_ts": TS - 86_400_000, "impressions_per_hour": BUSY, "time_zone": "Europe/Berlin"}
WAREHOUSE = WarehouseConfig(backend=WarehouseBackend.DUCKDB, impressions="shop.impressions", users="users")
BY_BATCH = ("daily_totals", "returning_user_totals")


def create_tables(database, impressions, users=None):
    """The tables of WAREHOUSE in a DuckDB file."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.register("rows", impressions.to_arrow())
        connection.execute("CREATE TABLE shop.impressions AS FROM rows")
        if users is not None:
            connection.register("more_rows", users.to_arrow())
            connection.execute("CREATE TABLE users AS FROM more_rows")


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    """Writes a log to a warehouse and ingests it; returns the database."""
    monkeypatch.setenv(URL_VARIABLE, f"duckdb://{tmp_path}/warehouse.duckdb")

    def ingest(impressions, users=None, *, plan=PLAN, config=WAREHOUSE, **rules):
        create_tables(tmp_path / "warehouse.duckdb", impressions, users)
        if users is None:
            config = WarehouseConfig(backend=config.backend, impressions=config.impressions)
        target = tmp_path / "sums.duckdb"
        result = ingest_warehouse(config, plan, target, rules=LogRules(**rules))
        return result, target

    return ingest


@pytest.mark.parametrize("plan", [PLAN])
def test_a_warehouse_gives_the_sums_of_files(warehouse, tmp_path, plan):
    impressions, users = messy_log(plan, 1500)
    files = tmp_path / "files"
    files.mkdir()
    impressions.write_parquet(files / "impressions.parquet")
    users.write_parquet(files / "users.parquet")

    expected = ingest_folder(files, plan, **RULES)
    found, sums = warehouse(impressions, users, plan=plan, **RULES)

    assert len(expected.rejected) > 15
    assert found.rejected == expected.rejected
    assert found.impressions == expected.impressions
    of_files, of_sums = read_row_fates(files / "log.duckdb"), read_row_fates(sums)
    assert_frame_equal(of_sums.fates, of_files.fates)
    assert_frame_equal(of_sums.sums, of_files.sums)
    assert_frame_equal(of_sums.outcomes, of_files.outcomes)
    tables, expected_tables = aggregate(sums, plan).as_dict(), aggregate(files / "log.duckdb", plan).as_dict()
    assert tables.keys() == expected_tables.keys()
    assert len(tables) == 5
    for name, table in expected_tables.items():
        if name in BY_BATCH:  # files have batches by DuckDB's hash
            table, tables[name] = without_batch(table), without_batch(tables[name])
        assert_frame_equal(tables[name], table)


def without_batch(table):
    keys = [name for name in ("group", "day", "kpi") if name in table.columns]
    return table.drop("batch").group_by(keys).sum().sort(keys)

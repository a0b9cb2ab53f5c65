"""The sums of a log in a warehouse, against those of the same log in files."""

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.experiment.design.assignment import batches_of
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.connection import URL_VARIABLE
from pipeline.experiment.warehouse.ingest import ingest_warehouse
from pipeline.study import WarehouseBackend, WarehouseConfig
from tests.end_to_end.postgres import postgres
from tests.pipeline.experiment.logs import contents, impression, ingest_folder
from tests.pipeline.experiment.warehouse.messy_log import PLAN, RULES, messy_log
from tests.pipeline.experiment.warehouse.tables import create_in_duckdb, create_in_postgres

VARIANTS = VariantPlan(
    experiment="spring", groups=tuple(Variant(name=f"g{n}", share=1 / 3) for n in (1, 2, 3))
)
WAREHOUSE = WarehouseConfig(
    backend=WarehouseBackend.DUCKDB, impressions="shop.impressions", users="users"
)


def ingested(target, plan=PLAN, config=WAREHOUSE, **rules):
    """The result of an ingestion, and the tables that later steps read."""
    result = ingest_warehouse(config, plan, target, rules=LogRules(**rules))
    return result, read_row_fates(target), aggregate(target, plan).as_dict()


def assert_equal_tables(found, expected, *, exact=True):
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        assert_frame_equal(found[name], table, check_exact=exact)


def assert_equal_fates(found, expected):
    for name in ("fates", "sums", "outcomes"):
        assert_frame_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("plan", [PLAN, VARIANTS], ids=["own groups", "external variants"])
def test_a_warehouse_gives_the_sums_of_files(tmp_path, monkeypatch, plan):
    impressions, users = messy_log(600)
    files = tmp_path / "files"
    files.mkdir()
    impressions.write_parquet(files / "impressions.parquet")
    users.write_parquet(files / "users.parquet")
    monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(tmp_path, impressions, users))

    expected = ingest_folder(files, plan, **RULES)
    found, fates, tables = ingested(tmp_path / "sums.duckdb", plan, **RULES)

    assert len(expected.rejected) > 14  # every rule that the log can break
    assert found.rejected == expected.rejected
    assert found.impressions == expected.impressions
    assert_equal_fates(fates, read_row_fates(files / "log.duckdb"))
    of_files = aggregate(files / "log.duckdb", plan).as_dict()
    assert len(tables) == 5
    assert_equal_tables(tables, of_files)


def test_batches_are_those_of_a_hash_that_python_has(tmp_path, monkeypatch):
    users = pl.Series([f"zoë-{n}" for n in range(500)])
    groups = PLAN.groups_of(users)
    rows = pl.DataFrame(
        impression(user, user=user, group=group)
        for user, group in zip(users, groups, strict=True)
        if group
    )
    monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(tmp_path, rows))

    config = WarehouseConfig(backend=WarehouseBackend.DUCKDB, impressions="shop.impressions")
    _, _, tables = ingested(tmp_path / "sums.duckdb", config=config)

    batches = pl.Series("batch", batches_of(rows["user"]))
    expected = rows.with_columns(batches).group_by("group", "batch").len()
    found = tables["daily_totals"].select("group", "batch", "new_users")
    assert sorted(found.rows()) == sorted(expected.rows())


@pytest.mark.slow
def test_postgresql_gives_every_table_that_duckdb_gives(tmp_path, monkeypatch):
    """A million rows, batches included; see :func:`messy_log` for their faults."""
    pytest.importorskip("psycopg", reason="pip install 'paretoscope[postgres]'")
    impressions, users = messy_log(50_000, per_user=20)
    assert impressions.height > 1_000_000
    monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(tmp_path, impressions, users))
    expected = ingested(tmp_path / "duckdb.duckdb", **RULES)

    with postgres() as server:
        url = create_in_postgres(server, impressions, users)
        monkeypatch.setenv(URL_VARIABLE, url)
        config = replace(WAREHOUSE, backend=WarehouseBackend.POSTGRES)
        found = ingested(tmp_path / "postgres.duckdb", config=config, **RULES)

    assert found[0] == expected[0]
    assert_equal_fates(found[1], expected[1])
    assert_equal_tables(found[2], expected[2])
    assert contents(tmp_path / "postgres.duckdb") == contents(tmp_path / "duckdb.duckdb")

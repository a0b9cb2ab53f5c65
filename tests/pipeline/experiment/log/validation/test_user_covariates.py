"""Covariates of users: ingested with the log, and aggregated."""

import json

import ibis
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.kpis.pre_experiment import pre_period_sums, segment_kpis
from pipeline.experiment.kpis.user_totals import per_user_totals
from tests.pipeline.experiment.logs import PLAN, impression, ingest, users_in, write_impressions

ANN, BOB = users_in("g1", 2)
(CID,) = users_in("g2", 1)
IMPRESSION_ROWS = [
    impression("x1", user=ANN, clicked=True, ordered=True, units=2),
    impression("x2", user=ANN, clicked=True, ordered=False, units=0),
    impression("x3", user=BOB, clicked=False, ordered=False, units=0),
    impression("x4", user=CID, group="g2", clicked=True, ordered=False, units=0),
]
COVARIATES = [
    {"user": ANN, "segment": "new", "impressions": 5, "clicks": 3},
    {"user": CID, "segment": "old", "impressions": 7, "clicks": 0},
    {"user": "not in the log", "segment": "old", "impressions": 9, "clicks": 9},
]


def ingested(folder, covariates, name="users.csv"):
    """The ingestion of four impressions and covariates, and the database."""
    log = write_impressions(folder / "impressions.parquet", IMPRESSION_ROWS)
    frame = pl.DataFrame(covariates)
    if name.endswith("csv"):
        frame.write_csv(folder / name)
    elif name.endswith("jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in covariates))
    else:
        frame.write_parquet(folder / name)
    database = folder / "log.duckdb"
    return ingest([log, folder / name], PLAN, database), database


@pytest.mark.slow
@pytest.mark.parametrize("name", ["users.csv", "users-2025.parquet", "users.jsonl"])
def test_pre_period_sums(tmp_path, name):
    """Ann has 2 impressions and 2 clicks after 5 and 3; Bob, without covariates, has 1 and 0."""
    log, database = ingested(tmp_path, COVARIATES, name)
    sums = aggregate(database, PLAN).pre_period_sums

    assert (log.impressions, log.rejected) == (4, {})
    assert set(sums["kpi"]) == {"ctr", "clicks_per_user"}  # no orders, units or revenue before
    g1, g2 = sums.filter(kpi="ctr").to_dicts()
    assert g1 == {"group": "g1", "kpi": "ctr", "users": 2} | {
        "sum_m": 2 + 1, "sum_y": 2, "sum_a": 5, "sum_b": 3, "sum_mm": 2 * 2 + 1, "sum_my": 2 * 2,
        "sum_ma": 2 * 5, "sum_mb": 2 * 3, "sum_yy": 2 * 2, "sum_ya": 2 * 5, "sum_yb": 2 * 3,
        "sum_aa": 5 * 5, "sum_ab": 5 * 3, "sum_bb": 3 * 3,
    }  # fmt: skip
    assert (g2["users"], g2["sum_a"], g2["sum_b"], g2["sum_ma"]) == (1, 7, 0, 7)
    per_user = sums.filter(kpi="clicks_per_user", group="g1").row(0, named=True)
    assert (per_user["sum_m"], per_user["sum_a"], per_user["sum_b"]) == (2, 1, 3)


@pytest.mark.slow
def test_segment_kpis(tmp_path):
    _, database = ingested(tmp_path, COVARIATES)
    sums = aggregate(database, PLAN)
    table = sums.segment_kpis.filter(kpi="ctr").select("segment", "group", "trials", "successes")

    assert sorted(table.rows()) == [
        ("new", "g1", 2, 2),
        ("new", "g2", 0, 0),
        ("old", "g1", 0, 0),
        ("old", "g2", 1, 1),
        ("unknown", "g1", 1, 0),
        ("unknown", "g2", 0, 0),
    ]
    summed = sums.segment_kpis.group_by("kpi", "group").agg(pl.col("trials", "sum_yy").sum())
    total = sums.group_kpis.select("kpi", "group", "trials", "sum_yy")
    assert_frame_equal(summed, total, check_row_order=False)


@pytest.mark.slow
def test_without_covariates_there_is_no_table(tmp_path):
    _, database = ingested(tmp_path, [{"user": ANN, "segment": "new"}])
    assert aggregate(database, PLAN).pre_period_sums is None

    _, database = ingested(tmp_path, [{"user": ANN, "impressions": 5, "clicks": 3}])
    sums = aggregate(database, PLAN)
    assert sums.segment_kpis is None
    assert set(sums.as_dict()) == {
        "group_kpis",
        "daily_totals",
        "returning_user_totals",
        "pre_period_sums",
    }


def test_rejected_rows_are_counted_and_the_first_row_of_a_user_is_kept(tmp_path):
    rows = [
        *COVARIATES,
        COVARIATES[0] | {"segment": "older"},
        {"user": BOB, "segment": "new", "impressions": -1, "clicks": 0},
        {"user": "", "segment": "new", "impressions": 1, "clicks": 0},
    ]
    log, database = ingested(tmp_path, rows)

    assert log.rejected == {"duplicate user": 1, "negative count": 1, "a field is missing": 1}
    assert log.impressions == 4
    assert "older" not in aggregate(database, PLAN).segment_kpis["segment"].to_list()


def test_too_many_segments_are_refused(tmp_path):
    many = [{"user": f"u{n}", "segment": f"s{n}"} for n in range(51)]

    with pytest.raises(LogError, match="51 segments, expected at most 50"):
        ingested(tmp_path, many)
    assert not (tmp_path / "log.duckdb").exists()


def test_covariates_without_a_user_column_are_refused(tmp_path):
    with pytest.raises(LogError, match=r"users.csv: user is missing"):
        ingested(tmp_path, [{"visitor": ANN, "segment": "new"}])


@pytest.mark.slow
def test_another_engine_gives_equal_sums(tmp_path):
    _, database = ingested(tmp_path, COVARIATES)
    expected = aggregate(database, PLAN)
    engine = ibis.sqlite.connect()
    rows = pl.DataFrame(IMPRESSION_ROWS, schema=IMPRESSIONS.columns).with_columns(
        revenue=pl.lit(None, pl.Int64), batch=pl.lit(0, pl.Int64)
    )
    users = per_user_totals(engine.create_table("impressions", rows.to_arrow()))
    unknown = {name: pl.lit(None, pl.Int64) for name in ("orders", "units", "revenue")}
    frame = pl.DataFrame(COVARIATES).with_columns(**unknown)
    covariates = engine.create_table("covariates", frame.to_arrow())
    preferences = {group.name: group.preference_id for group in PLAN.groups}

    assert_frame_equal(pre_period_sums(users, covariates), expected.pre_period_sums)
    assert_frame_equal(segment_kpis(users, covariates, preferences), expected.segment_kpis)

"""Group KPIs of a few impressions, and their errors against a row-level computation."""

from math import sqrt

import ibis
import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from polars.testing import assert_frame_equal

from pipeline.core.contracts import DAY_MS, IMPRESSIONS, Kpi
from pipeline.experiment.design.assignment import BATCHES
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.kpis.daily_kpis import daily_totals, returning_user_totals
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.experiment.kpis.user_totals import group_counts, per_user_totals
from tests.pipeline.experiment.logs import (
    TS,
    impression,
    ingest_folder,
    plan_of,
    users_in,
    write_impressions,
)

COUNTS = ["trials", "successes", "users", "sum_mm", "sum_my", "sum_yy"]
PLAN = plan_of(3)


def kpis_of(outcomes, folder):
    """KPIs of (user, clicked, units) outcomes, from a log file through the database."""
    rows = [
        ("spring", f"x{n}", user, PLAN.group_of(user).name, TS + n, c, u > 0, u)
        for n, (user, c, u) in enumerate(outcomes)
    ]
    frame = pl.DataFrame(rows, schema=IMPRESSIONS.columns, orient="row")
    frame.write_parquet(folder / "log.parquet")
    assert ingest_folder(folder, PLAN).rejected == {}
    return aggregate(folder / "log.duckdb", PLAN).group_kpis, frame


def cell(kpis, kpi, group):
    return kpis.row(by_predicate=(pl.col("kpi") == kpi) & (pl.col("group") == group), named=True)


@pytest.fixture(scope="module")
def kpis(tmp_path_factory):
    """The KPIs of six impressions: four in g1, two in g2, none in g3."""
    ann, bob = users_in("g1", 2, plan=PLAN)
    (cid,) = users_in("g2", 1, plan=PLAN)
    outcomes = [
        (ann, True, 0),
        (ann, True, 2),
        (ann, False, 0),
        (bob, False, 0),
        (cid, True, 1),
        (cid, True, 0),
    ]
    table, _ = kpis_of(outcomes, tmp_path_factory.mktemp("six"))
    return table


@pytest.mark.parametrize(
    ("kpi", "group", "sums"),
    [
        # Ann has 3 impressions, 2 clicks, 1 order of 2 units; Bob has 1 impression
        ("ctr", "g1", [3 + 1, 2 + 0, 2, 3**2 + 1**2, 3 * 2 + 1 * 0, 2**2 + 0**2]),
        ("cvr", "g1", [2, 1, 1, 2**2, 2 * 1, 1**2]),  # only Ann clicked
        ("orders_per_impression", "g1", [3 + 1, 1 + 0, 2, 3**2 + 1**2, 3 * 1 + 1 * 0, 1**2 + 0**2]),
        ("units_per_impression", "g1", [3 + 1, 2 + 0, 2, 3**2 + 1**2, 3 * 2 + 1 * 0, 2**2 + 0**2]),
        ("clicks_per_user", "g1", [1 + 1, 2 + 0, 2, 1 + 1, 2 + 0, 2**2 + 0**2]),
        ("orders_per_user", "g1", [1 + 1, 1 + 0, 2, 1 + 1, 1 + 0, 1**2 + 0**2]),
        ("units_per_user", "g1", [1 + 1, 2 + 0, 2, 1 + 1, 2 + 0, 2**2 + 0**2]),
        # Cid has 2 impressions, 2 clicks, 1 order of 1 unit
        ("ctr", "g2", [2, 2, 1, 2**2, 2 * 2, 2**2]),
        ("cvr", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
        ("orders_per_impression", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
        ("units_per_impression", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
    ],
)
def test_the_six_sums(kpis, kpi, group, sums):
    found = cell(kpis, kpi, group)

    assert [found[name] for name in COUNTS] == sums
    assert found["rate"] == found["successes"] / found["trials"]
    assert found["preference_id"] == {"g1": "p0", "g2": "p1"}[group]


def test_standard_error_by_hand(kpis):
    # CTR of g1 is 2/4: Ann has 2 - 3/2 = 1/2 clicks more than expected, Bob 0 - 1/2 = -1/2
    residuals = (2 - 3 * 2 / 4) ** 2 + (0 - 1 * 2 / 4) ** 2
    assert cell(kpis, "ctr", "g1")["standard_error"] == pytest.approx(sqrt(2 / 1 * residuals) / 4)
    # its orders per impression are 1/4: Ann has 1 - 3/4, Bob 0 - 1/4
    residuals = (1 - 3 * 1 / 4) ** 2 + (0 - 1 * 1 / 4) ** 2
    error = cell(kpis, "orders_per_impression", "g1")["standard_error"]
    assert error == pytest.approx(sqrt(2 / 1 * residuals) / 4)


def test_a_single_user_has_a_rate_and_no_standard_error(kpis):
    assert cell(kpis, "ctr", "g2")["rate"] == 1
    assert cell(kpis, "ctr", "g2")["standard_error"] is None
    assert cell(kpis, "cvr", "g1")["standard_error"] is None  # Bob never clicked


def test_a_group_without_impressions_has_no_trials_and_no_rate(kpis):
    unseen = kpis.filter(pl.col("group") == "g3")

    assert sorted(unseen["kpi"]) == sorted(kpi for kpi in Kpi if not kpi.needs_revenue)
    assert unseen.select(COUNTS).rows() == [(0,) * 6] * 7
    assert unseen["rate"].to_list() == [None] * 7
    assert unseen["standard_error"].to_list() == [None] * 7


@pytest.mark.parametrize(
    ("kpi", "trial", "success"),
    [
        ("ctr", pl.lit(value=True), pl.col("clicked")),
        ("cvr", pl.col("clicked"), pl.col("ordered")),
        ("orders_per_impression", pl.lit(value=True), pl.col("ordered")),
        ("units_per_impression", pl.lit(value=True), pl.col("units")),
    ],
)
def test_rate_and_error_equal_a_row_level_regression_on_a_constant(tmp_path, kpi, trial, success):
    rng = np.random.default_rng(11)
    outcomes = []
    for user in (user for group in ("g1", "g2", "g3") for user in users_in(group, 40, plan=PLAN)):
        readiness = rng.beta(2, 2)  # shared, so that a user's impressions are correlated
        for _ in range(rng.integers(1, 9)):
            clicked = bool(rng.random() < readiness)
            sold = int(rng.integers(1, 4)) if clicked and rng.random() < readiness else 0
            outcomes.append((user, clicked, sold))
    kpis, impressions = kpis_of(outcomes, tmp_path)

    for group in ("g1", "g2", "g3"):
        rows = impressions.filter(pl.col("group") == group).filter(trial)
        y = rows.select(success.cast(pl.Float64)).to_series().to_numpy()
        clusters = rows["user"].rank("dense").to_numpy()
        fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": clusters})
        found = cell(kpis, kpi, group)
        assert found["rate"] == pytest.approx(fit.params[0], rel=1e-12)
        assert found["standard_error"] == pytest.approx(fit.bse[0], rel=1e-9)


def test_revenue_kpis_need_revenue_in_the_log(tmp_path):
    (ann,) = users_in("g1", 1, plan=PLAN)
    (bob,) = users_in("g2", 1, plan=PLAN)
    bought = {"clicked": True, "ordered": True, "units": 1}
    rows = [
        impression("x1", user=ann, revenue=700, **bought),
        impression("x2", user=ann, revenue=50, **bought),
        impression("x3", user=bob, group="g2", clicked=False, ordered=False, units=0),
    ]
    write_impressions(tmp_path / "log.parquet", rows, revenue=pl.Int64)
    ingest_folder(tmp_path, PLAN)
    sums = aggregate(tmp_path / "log.duckdb", PLAN)
    kpis, daily = sums.group_kpis, sums.daily_totals

    per_impression, per_user = (
        cell(kpis, f"revenue_per_{of}", "g1") for of in ("impression", "user")
    )
    assert [per_impression[name] for name in COUNTS] == [2, 750, 1, 4, 2 * 750, 750**2]
    assert [per_user[name] for name in COUNTS] == [1, 750, 1, 1, 750, 750**2]
    assert [cell(kpis, "revenue_per_user", "g2")[name] for name in COUNTS] == [1, 0, 1, 1, 0, 0]
    assert daily["revenue"].sum() == 750


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory):
    """A database of 300 users who come back on some of 14 days."""
    folder = tmp_path_factory.mktemp("fortnight")
    rng = np.random.default_rng(3)
    rows = []
    for user in (user for group in ("g1", "g2", "g3") for user in users_in(group, 100, plan=PLAN)):
        for day in np.flatnonzero(rng.random(14) < 0.3):
            clicked = bool(rng.random() < 0.4)
            ts = TS // DAY_MS * DAY_MS + int(day) * DAY_MS + int(rng.integers(DAY_MS))
            group = PLAN.group_of(user).name
            name = f"x{len(rows)}"
            rows.append(("spring", name, user, group, ts, clicked, clicked, 2 * clicked))
    frame = pl.DataFrame(rows, schema=IMPRESSIONS.columns, orient="row")
    frame.write_parquet(folder / "log.parquet")
    ingest_folder(folder, PLAN)
    return folder / "log.duckdb", frame


def test_daily_totals_sum_to_the_rows(fortnight):
    database, frame = fortnight
    sums = aggregate(database, PLAN)
    kpis, daily = sums.group_kpis, sums.daily_totals
    day = pl.from_epoch(pl.col("ts"), time_unit="ms").dt.date()
    first = frame.group_by("group", "user").agg(day.min().alias("day"))

    by_day = daily.group_by("group", "day").agg(pl.col("impressions", "clicks", "units").sum())
    expected = frame.group_by("group", day.alias("day")).agg(
        impressions=pl.len().cast(pl.Int64),
        clicks=pl.col("clicked").cast(pl.Int64).sum(),
        units=pl.col("units").cast(pl.Int64).sum(),
    )
    assert_frame_equal(by_day, expected, check_row_order=False)
    new = daily.group_by("group", "day").agg(pl.col("new_users").sum())
    arrivals = first.group_by("group", "day").agg(new_users=pl.len().cast(pl.Int64))
    assert_frame_equal(new.filter(pl.col("new_users") > 0), arrivals, check_row_order=False)
    assert daily["new_users"].sum() == kpis.filter(kpi="ctr")["users"].sum()


def test_a_user_is_in_one_batch_on_all_days(fortnight):
    daily = aggregate(fortnight[0], PLAN).daily_totals

    assert set(daily["batch"]) <= set(range(BATCHES))
    # 100 users of a group are in 63 of 100 batches; with a new batch per day they would be in all
    assert 150 < daily.select("group", "batch").n_unique() < 230


def test_returning_users_have_equal_weight_on_their_first_day_and_after_it(fortnight):
    database, frame = fortnight
    found = aggregate(database, PLAN).returning_user_totals
    expected = {}
    for (user,), rows in frame.with_columns(day=pl.col("ts") // DAY_MS).group_by("user"):
        first = rows.filter(pl.col("day") == rows["day"].min())
        later = rows.filter(pl.col("day") > rows["day"].min())
        for kpi, m, m_later, y in (
            ("ctr", first.height, later.height, "clicked"),
            ("cvr", first["clicked"].sum(), later["clicked"].sum(), "ordered"),
            ("units_per_user", 1, min(later.height, 1), "units"),
        ):
            if m and m_later:
                share = m / m_later * later[y].cast(pl.Int64).sum()
                sums = np.array([1, m, first[y].cast(pl.Int64).sum(), share])
                key = PLAN.group_of(user).name, kpi
                expected[key] = expected.get(key, 0) + sums

    names = ("users", "trials", "first_day_successes", "later_successes")
    summed = found.group_by("group", "kpi").agg(pl.col(names).sum())

    assert len(expected) == 9
    for (group, kpi), sums in expected.items():
        row = cell(summed, kpi, group)
        assert [row[name] for name in names[:3]] == sums[:3].tolist()
        # each user is rounded to a millionth
        assert row["later_successes"] == pytest.approx(sums[3], abs=1e-6 * sums[0])


@pytest.mark.parametrize("engine", ["polars", "sqlite"])
def test_another_engine_gives_equal_counts(fortnight, engine):
    database, frame = fortnight
    sums = aggregate(database, PLAN)
    rows = frame.with_columns(revenue=pl.lit(None, pl.Int64), batch=pl.lit(0, pl.Int64)).to_arrow()
    impressions = getattr(ibis, engine).connect().create_table("impressions", rows)
    users = per_user_totals(impressions)
    preferences = {group.name: group.preference_id for group in PLAN.groups}

    assert_frame_equal(group_kpis(group_counts(users).to_polars(), preferences), sums.group_kpis)
    if engine == "polars":  # SQLite has no hash function for the batches
        own = daily_totals(impressions, users).drop("batch").group_by("group", "day").sum()
        expected = sums.daily_totals.drop("batch").group_by("group", "day").sum()
        assert_frame_equal(own, expected, check_row_order=False)
        own = returning_user_totals(impressions, users).drop("batch").group_by("group", "kpi").sum()
        expected = sums.returning_user_totals.drop("batch").group_by("group", "kpi").sum()
        assert_frame_equal(own, expected, check_row_order=False)

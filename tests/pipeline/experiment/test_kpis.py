"""Group KPIs of a handful of exposures by hand, and their errors against a row-level computation."""

from math import sqrt

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from pipeline.experiment.ingestion import ingest
from pipeline.experiment.kpis import group_kpis
from pipeline.experiment.plan import Group, TrafficPlan
from pipeline.schemas import EXPOSURES
from tests.pipeline.experiment.logs import TS, units_of

COUNTS = ["trials", "successes", "users", "sum_mm", "sum_my", "sum_yy"]
EDGES = [(0, 3333), (3334, 6666), (6667, 9999)]
PLAN = TrafficPlan(
    experiment="spring",
    salt="salt",
    list_length=5,
    groups=tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n}",
            preference=(n / 2, 1 - n / 2),
            first_bucket=first,
            last_bucket=last,
        )
        for n, (first, last) in enumerate(EDGES)
    ),
)


def kpis_of(outcomes, folder):
    """KPIs of (unit, clicked, units) outcomes, by way of a log file and the database."""
    rows = [
        ("spring", f"x{n}", unit, PLAN.group_of(unit).name, TS + n, c, u > 0, u)
        for n, (unit, c, u) in enumerate(outcomes)
    ]
    frame = pl.DataFrame(rows, schema=EXPOSURES.columns, orient="row")
    frame.write_parquet(folder / "log.parquet")
    assert ingest([folder / "log.parquet"], PLAN, folder / "log.duckdb").rejected == {}
    return group_kpis(folder / "log.duckdb", PLAN), frame


def cell(kpis, kpi, group):
    return kpis.row(by_predicate=(pl.col("kpi") == kpi) & (pl.col("group") == group), named=True)


@pytest.fixture(scope="module")
def kpis(tmp_path_factory):
    """The KPIs of six exposures: four in g1, two in g2, none in g3."""
    ann, bob = units_of("g1", 2, plan=PLAN)
    (cid,) = units_of("g2", 1, plan=PLAN)
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
        # Ann has 3 exposures, 2 clicks, 1 order of 2 units; Bob has 1 exposure
        ("ctr", "g1", [3 + 1, 2 + 0, 2, 3**2 + 1**2, 3 * 2 + 1 * 0, 2**2 + 0**2]),
        ("cvr", "g1", [2, 1, 1, 2**2, 2 * 1, 1**2]),  # only Ann has a click
        ("sale_rate", "g1", [3 + 1, 1 + 0, 2, 3**2 + 1**2, 3 * 1 + 1 * 0, 1**2 + 0**2]),
        ("units_per_exposure", "g1", [3 + 1, 2 + 0, 2, 3**2 + 1**2, 3 * 2 + 1 * 0, 2**2 + 0**2]),
        # Cid has 2 exposures, 2 clicks, 1 order of 1 unit
        ("ctr", "g2", [2, 2, 1, 2**2, 2 * 2, 2**2]),
        ("cvr", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
        ("sale_rate", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
        ("units_per_exposure", "g2", [2, 1, 1, 2**2, 2 * 1, 1**2]),
    ],
)
def test_the_six_sums_by_hand(kpis, kpi, group, sums):
    found = cell(kpis, kpi, group)

    assert [found[name] for name in COUNTS] == sums
    assert found["rate"] == found["successes"] / found["trials"]
    assert found["preference_id"] == {"g1": "p0", "g2": "p1"}[group]


def test_standard_error_by_hand(kpis):
    # CTR of g1 is 2/4: Ann has 2 - 3/2 = 1/2 clicks more than expected, Bob 0 - 1/2 = -1/2
    residuals = (2 - 3 * 2 / 4) ** 2 + (0 - 1 * 2 / 4) ** 2
    assert cell(kpis, "ctr", "g1")["standard_error"] == pytest.approx(sqrt(2 / 1 * residuals) / 4)
    # its sale rate is 1/4: Ann has 1 - 3/4, Bob 0 - 1/4
    residuals = (1 - 3 * 1 / 4) ** 2 + (0 - 1 * 1 / 4) ** 2
    error = cell(kpis, "sale_rate", "g1")["standard_error"]
    assert error == pytest.approx(sqrt(2 / 1 * residuals) / 4)


def test_one_user_alone_has_a_rate_and_no_standard_error(kpis):
    assert cell(kpis, "ctr", "g2")["rate"] == 1
    assert cell(kpis, "ctr", "g2")["standard_error"] is None
    assert cell(kpis, "cvr", "g1")["standard_error"] is None  # Bob never clicked


def test_a_group_nobody_was_exposed_to_has_no_trials_and_no_rate(kpis):
    unseen = kpis.filter(pl.col("group") == "g3")

    assert sorted(unseen["kpi"]) == ["ctr", "cvr", "sale_rate", "units_per_exposure"]
    assert unseen.select(COUNTS).rows() == [(0,) * 6] * 4
    assert unseen["rate"].to_list() == [None] * 4
    assert unseen["standard_error"].to_list() == [None] * 4


@pytest.mark.parametrize(
    ("kpi", "trial", "success"),
    [
        ("ctr", pl.lit(value=True), pl.col("clicked")),
        ("cvr", pl.col("clicked"), pl.col("ordered")),
        ("sale_rate", pl.lit(value=True), pl.col("ordered")),
        ("units_per_exposure", pl.lit(value=True), pl.col("units")),
    ],
)
def test_rate_and_error_equal_a_row_level_regression_on_a_constant(tmp_path, kpi, trial, success):
    rng = np.random.default_rng(11)
    outcomes = []
    for unit in (unit for group in ("g1", "g2", "g3") for unit in units_of(group, 40, plan=PLAN)):
        readiness = rng.beta(2, 2)  # of one user: the user's exposures are correlated
        for _ in range(rng.integers(1, 9)):
            clicked = bool(rng.random() < readiness)
            sold = int(rng.integers(1, 4)) if clicked and rng.random() < readiness else 0
            outcomes.append((unit, clicked, sold))
    kpis, exposures = kpis_of(outcomes, tmp_path)

    for group in ("g1", "g2", "g3"):
        rows = exposures.filter(pl.col("group") == group).filter(trial)
        y = rows.select(success.cast(pl.Float64)).to_series().to_numpy()
        clusters = rows["unit"].rank("dense").to_numpy()
        fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": clusters})
        found = cell(kpis, kpi, group)
        assert found["rate"] == pytest.approx(fit.params[0], rel=1e-12)
        assert found["standard_error"] == pytest.approx(fit.bse[0], rel=1e-9)

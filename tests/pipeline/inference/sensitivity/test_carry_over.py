"""Carry-over: found where it was planted, and a slope that is the same on all days is none."""

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import RETURNING_USER_TOTALS
from pipeline.inference.sensitivity.carry_over import (
    ReturningOutcome,
    carry_over,
    returning_outcome,
)
from pipeline.results.family import Family
from tests.pipeline.inference.shops import X


def twice(seed, *, slope=5.0, change=0.0, users=2000, batches=100):
    """Clicks of users on their first day and after it; readier users come back more often."""
    rng = np.random.default_rng(seed)
    shape = (len(X), users)
    readiness, batch = rng.normal(0, 1, shape), rng.integers(batches, size=shape)
    sums = {name: np.zeros((len(X), batches)) for name in ("trials", "first", "later")}
    m = 1 + rng.poisson(1.0, shape)
    further = 1 + rng.poisson(np.exp(readiness), shape)
    line = -2.2 + readiness + slope * X[:, None]
    y = rng.binomial(m, 1 / (1 + np.exp(-line)))
    y_further = rng.binomial(further, 1 / (1 + np.exp(-line - change * X[:, None])))
    for name, values in (("trials", m), ("first", y), ("later", m * y_further / further)):
        for group in range(len(X)):
            sums[name][group] = np.bincount(batch[group], values[group], batches)
    return ReturningOutcome(
        family=Family.BINOMIAL, **{f"{name}_GB": values for name, values in sums.items()}
    )


def test_the_change_is_that_of_statsmodels_on_rows_of_batches():
    outcome = twice(2, users=300, batches=30)
    group, visit, batch = (index.ravel() for index in np.indices((5, 2, 30)))
    m = outcome.trials_GB[group, batch]
    y = np.stack([outcome.first_GB, outcome.later_GB], axis=1)[group, visit, batch]
    design = np.column_stack([visit == 0, visit == 1, X[group], X[group] * visit]).astype(float)
    rows = sm.GLM(np.column_stack([y, m - y]), design, sm.families.Binomial()).fit(
        tol=1e-14,
        cov_type="cluster",
        cov_kwds={"groups": group * 30 + batch, "use_correction": False},
    )

    found = carry_over(X, outcome, level=0.95)

    assert found.slope == pytest.approx(rows.params[-1], rel=1e-7)
    assert found.standard_error == pytest.approx(rows.bse[-1] * np.sqrt(150 / 149), rel=1e-7)


def test_what_earlier_lists_leave_behind_is_found():
    found = carry_over(X, twice(1, change=6.0), level=0.95)

    assert found.p_value < 1e-3
    assert found.slope == pytest.approx(6.0 * 0.85, abs=2.5 * found.standard_error)  # users differ


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, 20.0])
def test_without_it_p_values_are_uniform_however_users_differ_and_whoever_comes_back(slope):
    """With slope 20 the readiest users come back most, and answer the best lists least."""
    p_values = [
        carry_over(X, twice(seed, slope=slope, users=300), level=0.95).p_value
        for seed in range(200)
    ]

    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_carry_over_is_none_if_one_slope_is_infinite():
    only_the_best, never = twice(1, users=50), twice(1, users=50)
    only_the_best.later_GB[:4] = 0
    never.first_GB[:] = 0

    assert carry_over(X, only_the_best, level=0.95) is None
    assert carry_over(X, never, level=0.95) is None


def test_the_table_by_hand():
    rows = [
        ("g2", 7, "ctr", 3, 5, 2, 2.5),
        ("g1", 0, "ctr", 1, 1, 0, 0.0),
        ("g2", 7, "cvr", 1, 1, 1, 1.0),
        ("elsewhere", 0, "ctr", 1, 1, 0, 0.0),
    ]
    table = pl.DataFrame(rows, schema=RETURNING_USER_TOTALS.columns, orient="row")

    found = returning_outcome(table, ["g1", "g2"], Kpi.CTR, Family.BINOMIAL)

    assert found.trials_GB[:, [0, 7]].tolist() == [[1, 0], [0, 5]]
    assert (found.first_GB[1, 7], found.later_GB[1, 7]) == (2, 2.5)
    assert (found.trials_GB.sum(), found.first_GB.sum(), found.later_GB.sum()) == (6, 2, 2.5)

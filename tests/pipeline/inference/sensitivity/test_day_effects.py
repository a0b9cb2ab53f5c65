"""Day effects against statsmodels on single batches, and planted truths."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import DAILY_SUMS
from pipeline.inference.glm.group_regression import fit_line
from pipeline.inference.sensitivity.day_effects import daily_outcome, day_effects
from pipeline.results.family import Family
from tests.pipeline.inference.shops import X, weeks


def cells(outcome):
    """Group, day and batch of every cell with a trial, and its sums, as rows."""
    where = np.nonzero(outcome.trials_GDB)
    return where, outcome.trials_GDB[where], outcome.successes_GDB[where]


@pytest.mark.parametrize("family", list(Family))
def test_the_slope_beside_day_effects_is_that_of_statsmodels_on_rows_of_batches(family):
    outcome = replace(weeks(3, slope=1.0, users=300, days=6, batches=20), family=family)
    (group, day, batch), m, y = cells(outcome)
    design = np.column_stack([np.eye(6)[day], X[group]])
    clusters = group * 20 + batch
    if family is Family.BINOMIAL:
        model = sm.GLM(np.column_stack([y, m - y]), design, sm.families.Binomial())
    else:
        model = sm.GLM(y, design, sm.families.Poisson(), offset=np.log(m))
    rows = model.fit(
        tol=1e-14, cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    used = len(np.unique(clusters))

    found = day_effects(X, outcome, level=0.95).fixed

    assert found.slope == pytest.approx(rows.params[-1], rel=1e-7)
    # ours counts all 100 batches of 20 a group, each with a trial here
    assert used == 100
    expected = rows.bse[-1] * np.sqrt(used / (used - 1))
    assert found.standard_error == pytest.approx(expected, rel=1e-7)


def test_traffic_that_shifts_between_days_does_not_carry_the_slope():
    """The best group sees few users on the day when everybody clicks: Simpson's paradox."""
    outcome = weeks(5, slope=0.0, users=2000, days=2, spread=0.2)
    m, y = outcome.trials_GDB.copy(), outcome.successes_GDB.copy()
    m[:, 1] *= 10
    y[:, 1] *= 10  # ten times the users on the second day …
    y[:, 1] += 0.3 * m[:, 1]  # … who click more
    m[-2:, 1] /= 10
    y[-2:, 1] /= 10  # but not in the groups with the largest x
    shifted = replace(outcome, trials_GDB=m, successes_GDB=y)

    pooled = fit_line(X, shifted.until(1), level=0.95)
    fixed = day_effects(X, shifted, level=0.95).fixed

    assert pooled.cluster_robust.slope < -1
    assert abs(fixed.slope) < 3 * fixed.standard_error


def test_novelty_finds_a_slope_that_fades():
    steady = day_effects(X, weeks(7, slope=3.0, users=3000, days=14), level=0.95).novelty
    fading = weeks(7, slope=3.0, fading=2.0, users=3000, days=14)
    found = day_effects(X, fading, level=0.95).novelty

    assert steady.p_value > 0.05
    assert found.interval[0] < -2.0 < found.interval[1]
    assert found.p_value < 0.01


@pytest.mark.slow
def test_the_slope_beside_day_effects_is_covered():
    tests = [day_effects(X, weeks(seed, slope=0.8, days=7), level=0.95) for seed in range(400)]

    for one, truth in ((lambda t: t.fixed, 0.8), (lambda t: t.novelty, 0.0)):
        held = [one(t).interval[0] < truth < one(t).interval[1] for t in tests]
        assert 0.925 <= np.mean(held) <= 0.975


def test_a_day_without_a_click_says_nothing():
    outcome = weeks(11, days=4)
    y = outcome.successes_GDB.copy()
    y[:, 2] = 0
    silent = replace(outcome, successes_GDB=y)
    kept = [0, 1, 3]
    without = replace(
        outcome,
        days=tuple(outcome.days[day] for day in kept),
        trials_GDB=outcome.trials_GDB[:, kept],
        successes_GDB=y[:, kept],
    )

    assert day_effects(X, silent, level=0.95).fixed == day_effects(X, without, level=0.95).fixed


def test_one_day_has_no_day_effects():
    assert day_effects(X, weeks(1, days=1), level=0.95) is None


ROWS = [
    # group, day, batch, new users, impressions, clicks, orders, units, revenue
    ("g2", date(2025, 9, 1), 7, 2, 10, 4, 1, 3, None),
    ("g1", date(2025, 9, 1), 0, 1, 5, 2, 0, 0, None),
    ("g1", date(2025, 9, 3), 0, 0, 6, 1, 1, 1, None),
]


def test_the_table_becomes_arrays_with_the_days_between():
    daily = pl.DataFrame(ROWS, schema=DAILY_SUMS.columns, orient="row")

    clicks = daily_outcome(daily, ["g1", "g2"], Kpi.CTR, Family.BINOMIAL)
    orders = daily_outcome(daily, ["g1", "g2"], Kpi.ORDERS_PER_USER, Family.POISSON)

    assert clicks.days == (date(2025, 9, 1), date(2025, 9, 2), date(2025, 9, 3))
    assert clicks.trials_GDB[0, :, 0].tolist() == [5, 0, 6]
    assert clicks.successes_GDB[1, :, 7].tolist() == [4, 0, 0]
    # who came on the first day is still a user on the third, and orders then
    assert orders.until(2).trials.tolist() == [1, 2]
    assert orders.until(2).successes.tolist() == [1, 1]
    assert orders.until(0).successes.tolist() == [0, 1]


def test_successes_at_one_end_of_the_metric_on_all_days_have_no_slope():
    outcome = weeks(12, days=3)
    y = outcome.successes_GDB.copy()
    y[:-1] = 0

    assert day_effects(X, replace(outcome, successes_GDB=y), level=0.95) is None


def test_one_day_with_successes_in_between_is_enough():
    outcome = weeks(12, days=3)
    y = outcome.successes_GDB.copy()
    y[:-1, :2] = 0

    fixed = day_effects(X, replace(outcome, successes_GDB=y), level=0.95).fixed

    assert np.isfinite(fixed.slope)
    assert fixed.slope > 0

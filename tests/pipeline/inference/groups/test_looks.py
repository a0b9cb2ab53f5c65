"""Daily looks share the error rate: by hand, and never wrong more often than stated."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.inference.groups.comparison import KpiGroups, choose
from pipeline.inference.groups.looks import looks
from pipeline.inference.groups.pair_test import pair_test
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Family

FIRST = date(2026, 3, 1)


def daily(rng, days, *, groups=3, rates=0.1, per_day=2_000, batches=100):
    """New users with one trial each, every day, in batches."""
    m = np.full((groups, days, batches), per_day / batches)
    y = rng.binomial(per_day // batches, np.broadcast_to(np.reshape(rates, (-1, 1, 1)), m.shape))
    found = tuple(FIRST + timedelta(days=n) for n in range(days))
    return DailyOutcome(
        family=Family.BINOMIAL, days=found, trials_GDB=m, successes_GDB=y.astype(float)
    )


def until(outcome, days):
    return replace(
        outcome,
        days=outcome.days[:days],
        trials_GDB=outcome.trials_GDB[:, :days],
        successes_GDB=outcome.successes_GDB[:, :days],
    )


def today(outcome, planned_days, level=0.95):
    sums = outcome.until(len(outcome.days) - 1)
    return looks(sums, outcome, planned_days=planned_days, level=level)


def test_without_days_there_is_one_look_with_the_whole_error_rate():
    sums = daily(np.random.default_rng(0), 1).until(0)

    (look,) = looks(sums, None, planned_days=7, level=0.95)

    assert look.alpha == pytest.approx(0.05)
    pair = pair_test(sums, 0, 1)
    assert look.critical(pair, 0, 1, comparisons=3) == pytest.approx(stats.t.isf(0.05 / 6, pair.df))


@pytest.mark.parametrize(
    ("observed", "alphas", "early"),
    [(3, [0.01], [True]), (7, [0.04], [False]), (9, [0.04, 0.01], [False, False])],
)
def test_four_fifths_of_the_error_rate_are_for_the_planned_end(observed, alphas, early):
    found = today(daily(np.random.default_rng(0), observed), 7)

    assert [one.alpha for one in found] == pytest.approx(alphas)
    assert [one.early for one in found] == early


def test_the_planned_end_is_looked_at_without_the_days_after_it():
    outcome = daily(np.random.default_rng(0), 9)

    at_end, now = today(outcome, 7)

    assert at_end.sums.trials.tolist() == [14_000] * 3
    assert now.sums.trials.tolist() == [18_000] * 3


def test_the_sequential_critical_value_by_hand():
    outcome = daily(np.random.default_rng(0), 3)
    (look,) = today(outcome, 7)
    pair = pair_test(look.sums, 0, 1)

    # three comparisons; the mixture is tuned to the planned end from the variance of the first day
    alpha = 0.01 / 3
    best = -2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))
    mixture = best * pair_test(outcome.until(0), 0, 1).relative_variance / 7
    ratio = mixture / pair.relative_variance
    bound = np.sqrt((1 + 1 / ratio) * np.log((1 + ratio) / alpha**2))
    assert look.critical(pair, 0, 1, comparisons=3) == pytest.approx(bound)
    assert bound > stats.t.isf(alpha / 2, pair.df)


def test_nothing_is_significant_before_there_is_any_variance():
    outcome = daily(np.random.default_rng(0), 3, rates=0.0)
    (look,) = today(outcome, 7)

    assert look.critical(pair_test(look.sums, 0, 1), 0, 1, comparisons=3) == np.inf


def answers(outcome, planned_days, control=None):
    """The action on every day."""
    found = []
    for day in range(1, len(outcome.days) + 1):
        made = today(until(outcome, day), planned_days)
        groups = KpiGroups(
            kpi=Kpi.CTR,
            names=[f"g{n}" for n in range(len(outcome.trials_GDB))],
            looks=made,
            events_G=made[-1].sums.successes,
            posterior=None,
            control=control,
            level=0.95,
        )
        found.append(choose(groups, None).action.value)
    return found


def test_a_large_effect_ships_before_the_planned_end_and_stays_shipped():
    outcome = daily(np.random.default_rng(1), 10, rates=[0.10, 0.10, 0.16])

    found = answers(outcome, 7)

    assert "ship" in found[:6]
    assert set(found[6:]) == {"ship"}


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, 0])
def test_looking_on_28_days_of_7_planned_ones_ships_in_at_most_5_per_cent(control):
    rng, worlds = np.random.default_rng(5), 1_000

    ever = [
        "ship" in answers(daily(rng, 28, per_day=200, batches=20), 7, control)
        for _ in range(worlds)
    ]

    assert np.mean(ever) <= 0.05 + 3 * (0.05 / worlds) ** 0.5

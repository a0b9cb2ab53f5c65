"""The group to ship: in at most 5% of worlds in which nothing differs, and as good as expected."""

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.groups.comparison import KpiGroups, choose, kpi_change
from pipeline.inference.groups.looks import Look
from pipeline.inference.groups.pair_test import kish_events
from pipeline.inference.groups.shrinkage import shrink
from pipeline.results.family import Family
from tests.pipeline.inference.groups.worlds import activity, of_users


def groups_of(sums, *, control=None, kpi=Kpi.CTR, expected=False):
    """All groups at one look, with an error rate of 5%."""
    return KpiGroups(
        kpi=kpi,
        names=[f"g{n}" for n in range(len(sums.trials))],
        looks=[Look(sums=sums, alpha=0.05)],
        events_G=sums.successes if kpi is Kpi.CTR else kish_events(sums),
        posterior=shrink(sums, counted=kpi is Kpi.CTR, scale=0.05) if expected else None,
        control=control,
        level=0.95,
    )


def shipped(worlds, **named):
    """Share of the worlds in which a group ships."""
    found = [choose(groups_of(sums, **named), None).action == "ship" for sums in worlds]
    return float(np.mean(found))


def click_worlds(worlds, groups, users, kind, seed):
    """The same click-through rate in all groups of users who differ, with light or heavy tails."""
    rng = np.random.default_rng(seed)
    for _ in range(worlds):
        m = activity(rng, (groups, users), kind)
        yield of_users(m, rng.binomial(m, rng.beta(0.12 * 9, 0.88 * 9, m.shape)))


def revenue_worlds(worlds, sizes, seed):
    """The same lognormal revenue (σ = 2) of 10% buyers in all groups."""
    rng, there = np.random.default_rng(seed), np.arange(max(sizes)) < np.array(sizes)[:, None]
    for _ in range(worlds):
        y = there * (rng.random(there.shape) < 0.1) * np.exp(2 * rng.standard_normal(there.shape))
        yield of_users(there, y, Family.POISSON)


@pytest.mark.parametrize("control", [None, 0])
@pytest.mark.parametrize("kind", ["light", "pareto"])
def test_few_users_do_not_ship_where_nothing_differs(kind, control):
    assert shipped(click_worlds(300, 5, 20, kind, 1), control=control) <= 0.05


@pytest.mark.parametrize("sizes", [[200] * 5, [400] + [80] * 4])
def test_revenue_does_not_ship_where_nothing_differs(sizes):
    worlds = revenue_worlds(300, sizes, 2)

    assert shipped(worlds, kpi=Kpi.REVENUE_PER_USER) <= 0.05


WORLDS = 1_000
AT_MOST = 0.05 + 3 * (0.05 * 0.95 / WORLDS) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, 0])
@pytest.mark.parametrize("kind", ["light", "lognormal", "pareto"])
@pytest.mark.parametrize(("groups", "users"), [(3, 10), (3, 500), (5, 20), (5, 50), (10, 50)])
def test_clicks_ship_in_at_most_5_per_cent_of_null_worlds(groups, users, kind, control):
    assert shipped(click_worlds(WORLDS, groups, users, kind, 3), control=control) <= AT_MOST


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, 0])
@pytest.mark.parametrize("sizes", [[50] * 5, [2000] * 5, [2000] + [400] * 4, [400] + [2000] * 4])
def test_revenue_ships_in_at_most_5_per_cent_of_null_worlds(sizes, control):
    worlds = revenue_worlds(WORLDS, sizes, 4)

    assert shipped(worlds, control=control, kpi=Kpi.REVENUE_PER_USER) <= AT_MOST


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, 0])
@pytest.mark.parametrize("n", [[3000] * 4, [10_000] + [1000] * 5, [200] * 8])
@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05])
def test_counts_of_users_with_one_trial_ship_in_at_most_5_per_cent(n, rate, control):
    rng, trials = np.random.default_rng(5), np.array(n, dtype=np.float64)
    worlds = (counts(trials, rng.binomial(n, rate)) for _ in range(WORLDS))

    assert shipped(worlds, control=control) <= AT_MOST


def counts(n, y):
    """The sums of users with one trial each."""
    n, y = np.asarray(n, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return GroupSums(trials=n, successes=y, users=n, sum_mm=n, sum_my=y, sum_yy=y)


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, 0])
def test_the_expected_gain_is_that_of_a_held_out_half(control):
    """Four arms with click-through rates about 1.2%, as in public headline tests."""
    rng, n = np.random.default_rng(6), np.full(4, 2000.0)
    stated, realised, measured = [], [], []
    for _ in range(16_000):
        spread = 0.25 * abs(rng.standard_normal())
        log_rate = np.log(0.012) + 0.35 * rng.standard_normal() + spread * rng.standard_normal(4)
        rate = np.minimum(np.exp(log_rate), 0.9)
        groups = groups_of(counts(n, rng.binomial(2000, rate)), control=control, expected=True)
        choice = choose(groups, None)
        if choice.action != "ship":
            continue
        best, baseline = choice.best, choice.baseline
        change = kpi_change(groups, choice.look, best, baseline)
        if change is None:  # too few events to state a gain
            continue
        later = rng.binomial(2000, rate) + 0.5
        stated.append(change.change)
        realised.append(later[best] / later[baseline] - 1)
        measured.append(change.measured if change.measured is not None else np.nan)

    assert len(stated) > 500
    assert np.mean(stated) == pytest.approx(np.mean(realised), rel=0.15)
    assert np.nanmean(measured) > 1.3 * np.mean(realised)

"""Planted truths over 400 seeds: intervals cover as often as they say, and p-values are uniform.

Users answer ``trials`` times with a chance of their own, Beta-distributed around their group's
rate, so that the group's rate is exactly ``logit⁻¹(intercept + slope · x)`` and the slope the truth.
"""

from functools import cache
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.sensitivity.random_effects import random_effects_slope

SEEDS, USERS_A_GROUP = 400, 500
X = np.array([0.0, 0.02, 0.06, 0.09, 0.11])
GROUPS = pytest.mark.parametrize("groups", [5, pytest.param(10, marks=pytest.mark.slow)])
BINOMIAL_ERROR = sqrt(0.95 * 0.05 / SEEDS)  # of a coverage of 95 %: 1.1 points
ALIKE, DIFFERENT = None, 9.0


@cache
def worlds(slope, concentration, tau, groups):
    """One fit a seed, and what the groups know.

    A user's chances have design effect 1 + (m - 1) / (concentration + 1); groups lie off the line by
    a standard deviation of tau.
    """
    seeds = (np.random.default_rng([seed, groups]) for seed in range(SEEDS))
    return [fitted(slope, concentration, rng, tau, groups) for rng in seeds]


def fits(slope, concentration, tau=0.0, groups=5):
    return [fit for fit, _ in worlds(slope, concentration, tau, groups)]


def few(slope, concentration, tau=0.0, groups=5):
    return [known.hartung_knapp for _, known in worlds(slope, concentration, tau, groups)]


def fitted(slope, concentration, rng, tau, groups):
    x = X if groups == len(X) else np.linspace(0, X[-1], groups)
    rate = 1 / (1 + np.exp(-(-1.5 + slope * x + tau * rng.standard_normal(groups))))
    shape = (USERS_A_GROUP, groups)
    m = rng.integers(5, 16, shape)
    chance = rate
    if concentration is not None:
        chance = rng.beta(concentration * rate, concentration * (1 - rate), shape)
    y = rng.binomial(m, chance)
    columns = (m, y, np.ones(shape), m * m, m * y, y * y)
    names = ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy")
    sums = {name: c.sum(axis=0).astype(float) for name, c in zip(names, columns, strict=True)}
    fit = fit_line(x, GroupSums(**sums), level=0.95)
    assert isinstance(fit, LineFit)
    known = random_effects_slope(x, GroupSums(**sums), fit)
    assert known is not None
    return fit, known


def coverage(tests, slope):
    return np.mean([test.interval[0] <= slope <= test.interval[1] for test in tests])


@pytest.mark.slow
def test_where_users_are_alike_both_intervals_cover_the_planted_slope():
    found = fits(slope=1.2, concentration=ALIKE)

    for tests in ([fit.model for fit in found], [fit.cluster_robust for fit in found]):
        assert coverage(tests, 1.2) == pytest.approx(0.95, abs=3 * BINOMIAL_ERROR)
    slopes = [fit.slope for fit in found]
    assert np.mean(slopes) == pytest.approx(1.2, abs=3 * float(np.std(slopes)) / sqrt(SEEDS))


@pytest.mark.slow
def test_where_users_differ_the_clustered_interval_covers_and_the_paper_s_does_not():
    found = fits(slope=1.2, concentration=DIFFERENT)

    clustered = coverage([fit.cluster_robust for fit in found], 1.2)
    naive = coverage([fit.model for fit in found], 1.2)

    assert clustered == pytest.approx(0.95, abs=3 * BINOMIAL_ERROR)
    # design effect about 1 + (10.9 - 1) / (9 + 1) = 2: the interval is too short by sqrt(2)
    assert naive == pytest.approx(2 * stats.norm.cdf(1.96 / sqrt(2)) - 1, abs=0.05)
    assert naive < 0.92
    slopes = [fit.slope for fit in found]
    assert np.mean(slopes) == pytest.approx(1.2, abs=3 * float(np.std(slopes)) / sqrt(SEEDS))


@pytest.mark.slow
def test_standard_errors_are_the_spread_of_the_slopes():
    found = fits(slope=1.2, concentration=DIFFERENT)

    spread = np.std([fit.slope for fit in found])

    clustered = np.mean([fit.cluster_robust.standard_error for fit in found])
    naive = np.mean([fit.model.standard_error for fit in found])
    assert clustered == pytest.approx(spread, rel=3 / sqrt(2 * SEEDS))
    assert naive < 0.8 * spread


@pytest.mark.slow
def test_without_an_effect_clustered_p_values_are_uniform_and_the_paper_s_are_not():
    found = fits(slope=0.0, concentration=DIFFERENT)

    assert stats.kstest([fit.cluster_robust.p_value for fit in found], "uniform").pvalue > 0.01
    assert stats.kstest([fit.model.p_value for fit in found], "uniform").pvalue < 1e-4
    false_alarms = np.mean([fit.cluster_robust.p_value < 0.05 for fit in found])
    assert false_alarms == pytest.approx(0.05, abs=3 * BINOMIAL_ERROR)


@pytest.mark.slow
def test_without_an_effect_and_with_users_alike_all_p_values_are_uniform():
    found = fits(slope=0.0, concentration=ALIKE)

    for tests in ([fit.model for fit in found], [fit.cluster_robust for fit in found]):
        assert stats.kstest([test.p_value for test in tests], "uniform").pvalue > 0.01


def test_lack_of_fit_is_rejected_as_often_as_it_says_where_the_line_is_true():
    found = fits(slope=1.2, concentration=ALIKE)

    assert stats.kstest([fit.lack_of_fit.p_value for fit in found], "uniform").pvalue > 0.01
    assert {fit.lack_of_fit.df for fit in found} == {len(X) - 2}


@GROUPS
@pytest.mark.parametrize("concentration", [ALIKE, DIFFERENT], ids=["alike", "different"])
def test_the_small_sample_interval_covers_with_and_without_correlated_users(concentration, groups):
    found = few(1.2, concentration, groups=groups)

    assert 0.925 <= coverage(found, 1.2) <= 0.975


@pytest.mark.slow
@GROUPS
def test_where_groups_deviate_only_the_small_sample_interval_covers(groups):
    # the deviations are as large as the errors of the groups' log odds (about 0.05)
    known = few(1.2, DIFFERENT, tau=0.05, groups=groups)
    clustered = [fit.cluster_robust for fit in fits(1.2, DIFFERENT, tau=0.05, groups=groups)]

    assert 0.925 <= coverage(known, 1.2) <= 0.975
    assert coverage(clustered, 1.2) < 0.9


@pytest.mark.slow
@GROUPS
@pytest.mark.parametrize("tau", [0.0, 0.05], ids=["groups alike", "groups differ"])
def test_without_an_effect_small_sample_p_values_are_uniform(tau, groups):
    p_values = [test.p_value for test in few(0.0, DIFFERENT, tau=tau, groups=groups)]

    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    false_alarms = np.mean(np.array(p_values) < 0.05)
    assert false_alarms == pytest.approx(0.05, abs=3 * BINOMIAL_ERROR)

"""The test of two groups: by hand, at its level where nothing differs, and bounded by single users."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.groups.pair_test import kish_events, pair_test
from pipeline.results.family import Family
from tests.pipeline.inference.groups.worlds import activity, of_users


def test_two_groups_by_hand():
    # users with (trials, successes): (2, 1), (2, 0), (1, 1) against (1, 0), (4, 1)
    found = pair_test(of_users([[2, 2, 1], [1, 4, 0]], [[1, 0, 1], [0, 1, 0]]), 0, 1)

    # the common rate is 3 / 10, so deviations are 0.4, -0.6, 0.7 and -0.3, -0.2
    squares = 0.16 + 0.36 + 0.49, 0.09 + 0.04
    separate = squares[0] / 25 + squares[1] / 25
    pooled = sum(squares) / (9 + 17) * (9 / 25 + 17 / 25)
    independent = 0.3 * 0.7 * (1 / 5 + 1 / 5)
    assert independent > max(separate, pooled)
    assert found.z == pytest.approx((2 / 5 - 1 / 5) / independent**0.5)
    assert found.df == pytest.approx(25 / 9 + 25 / 17 - 2)
    assert found.log_ratio == pytest.approx(np.log(2))


def test_the_wider_of_separate_and_pooled_variance_by_hand():
    # amounts of users: 0, 0, 0, 8 against 1, 3
    sums = of_users([[1, 1, 1, 1], [1, 1, 0, 0]], [[0, 0, 0, 8], [1, 3, 0, 0]], Family.POISSON)

    # the common mean is 2
    first, second = 3 * 4 + 36, 1 + 1
    separate = first / 16 + second / 4
    pooled = (first + second) / 6 * (1 / 4 + 1 / 2)
    assert pooled > separate
    assert pair_test(sums, 0, 1).z == pytest.approx(0)
    assert pair_test(sums, 0, 1).relative_variance == pytest.approx(pooled / 4)


def test_the_interval_excludes_0_if_and_only_if_the_test_is_significant():
    found = pair_test(of_users(np.ones((2, 500)), np.arange(500) < [[60], [90]]), 1, 0)

    low, high = found.log_interval(found.z)
    assert (low, high) == pytest.approx((0, 2 * np.log(1.5)))
    assert found.log_interval(found.z * 1.01)[0] < 0 < found.log_interval(found.z * 0.99)[0]


def test_no_single_user_makes_a_difference():
    # one of 11 users has 1000 trials and 1000 successes, the others one trial and no success
    m = np.array([[1000] + [1] * 10] * 2)
    y = np.array([[1000] + [0] * 10, [0] * 11])
    found = pair_test(of_users(m, y), 0, 1)

    assert abs(found.z) < 2
    assert found.df == 1


@pytest.mark.parametrize("family", list(Family))
def test_groups_without_any_success_or_with_successes_only_do_not_differ(family):
    none = pair_test(of_users(np.ones((2, 9)), np.zeros((2, 9)), family), 0, 1)
    assert (none.z, none.log_ratio, none.log_interval(2.0)) == (0, None, None)

    everything = pair_test(of_users(np.ones((2, 9)), np.ones((2, 9)), family), 0, 1)
    assert (everything.z, everything.log_ratio) == (0, 0)


def test_effective_events_are_at_most_the_users_with_a_success():
    assert kish_events(of_users([[1] * 4], [[0, 5, 5, 5]], Family.POISSON)) == [3]
    assert kish_events(of_users([[1] * 4], [[0, 1, 1, 100]], Family.POISSON))[0] < 1.1
    assert kish_events(of_users([[1] * 4], [[0] * 4], Family.POISSON)) == [0]


def significant(m_WGU, y_WGU, family, alpha):
    """Share of the worlds in which the first group exceeds the second."""
    tests = [pair_test(of_users(m, y, family), 0, 1) for m, y in zip(m_WGU, y_WGU, strict=True)]
    return float(np.mean([one.z > one.quantile(2 * alpha) for one in tests]))


WORLDS = 4_000
ABOVE = 3 * (0.025 / WORLDS) ** 0.5
"""Three standard errors of a share of 2.5%."""


@pytest.mark.slow
@pytest.mark.parametrize("users", [10, 50, 500])
@pytest.mark.parametrize("kind", ["light", "lognormal", "pareto"])
def test_clicks_of_heavy_users_keep_the_level(users, kind):
    rng = np.random.default_rng(users)
    m = activity(rng, (WORLDS // 4 if users == 500 else WORLDS, 2, users), kind)
    y = rng.binomial(m, rng.beta(0.12 * 9, 0.88 * 9, m.shape))

    assert significant(m, y, Family.BINOMIAL, 0.025) <= 0.025 + 2 * ABOVE


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(200, 200), (400, 80), (80, 400)])
def test_lognormal_revenue_of_unequal_groups_keeps_the_level(first, second):
    rng, most = np.random.default_rng(first), max(first, second)
    there = np.arange(most) < np.array([[first], [second]])
    m = np.broadcast_to(there, (WORLDS, 2, most)).astype(float)
    y = m * (rng.random(m.shape) < 0.1) * np.exp(2 * rng.standard_normal(m.shape))

    assert significant(m, y, Family.POISSON, 0.025) <= 0.025 + ABOVE


@pytest.mark.slow
def test_the_test_is_exact_for_equal_users():
    rng = np.random.default_rng(7)
    y = rng.standard_normal((WORLDS, 2, 8)) + 20
    p_values = []
    for one in y:
        found = pair_test(of_users(np.ones((2, 8)), one, Family.POISSON), 0, 1)
        p_values.append(stats.t.sf(found.z, found.df))

    # the null's rate bounds z: about t, a little lighter in the tails
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.045, abs=0.01)

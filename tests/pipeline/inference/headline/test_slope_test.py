"""The test of one slope: against least squares, its own equations, and drawn experiments."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.headline.deviations import between_groups_variance
from pipeline.inference.headline.slope_test import score_slope
from pipeline.inference.headline.working_response import WorkingResponse, working_response
from tests.pipeline.inference.headline.sums import counts

X = np.linspace(0, 0.11, 5)


def response(values, variance, users_df=1e6):
    return WorkingResponse(
        values_G=np.asarray(values, dtype=np.float64),
        variance_G=np.broadcast_to(np.asarray(variance, dtype=np.float64), np.shape(values)),
        users_df=np.asarray(users_df, dtype=np.float64),
    )


def test_of_equal_groups_it_is_the_t_test_of_least_squares():
    y = np.random.default_rng(2).standard_normal(6)
    x = np.linspace(0, 1, 6)
    expected = stats.linregress(x, y)

    found = score_slope(0.0, x, response(y, 1e-6))

    assert found.delta == pytest.approx(expected.slope)
    assert found.small_sample == pytest.approx(expected.stderr)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_the_users_error_is_a_floor_with_the_quantile_of_a_one_sided_test():
    """Three groups almost on a line, variance 1 each: the slope's variance is 1 / Σ(x - x̄)²."""
    found = score_slope(0.0, np.array([0.0, 1.0, 2.0]), response([0.0, 1.001, 2.0], 1.0))

    assert found.users == pytest.approx(0.5**0.5)
    assert found.small_sample < 1e-3
    assert found.half_width(0.95) == pytest.approx(1.644854 * 0.5**0.5, rel=1e-5)
    assert found.p_value == pytest.approx(stats.norm.sf(1 / 0.5**0.5), rel=1e-5)


def test_between_groups_variance_solves_its_equation():
    y, v = np.array([0.0, 0.5, 0.1, 0.9]), np.array([0.01, 0.02, 0.01, 0.04])

    tau2 = between_groups_variance(y, v, [np.ones(4)])

    w = 1 / (v + tau2)
    assert (w * (y - np.average(y, weights=w)) ** 2).sum() == pytest.approx(4 - 1)
    assert between_groups_variance(y / 10, v, [np.ones(4)]) == 0


def test_groups_that_are_all_the_same_have_a_p_value_of_1():
    assert score_slope(0.0, X, response(np.zeros(5), 1.0)).p_value == 1


@pytest.mark.parametrize("b", [0.0, 0.5, -2.0])
def test_a_p_value_below_the_error_rate_is_a_rejection(b):
    rng = np.random.default_rng(3)
    y = rng.normal(0, 0.1, (200, 5)) + 0.9 * X

    found = score_slope(np.full(200, b), X, response(y, 0.004))

    rejected = np.abs(found.delta) > found.half_width(0.9)
    assert (rejected == (found.p_value < 0.1)).all()
    assert 0 < rejected.sum() < 200


def test_a_common_error_of_all_metrics_changes_nothing():
    y = np.array([0.0, 0.05, 0.04, 0.1, 0.08])
    own = np.eye(5) * 1e-4

    one, other = (score_slope(0.7, X, response(y, 0.001), w) for w in (own, own + 0.01))

    for name in ("delta", "small_sample", "users", "tau2"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)


@pytest.mark.parametrize("groups", [5, 10])
@pytest.mark.parametrize("reliability", [1.0, 0.7])
@pytest.mark.parametrize("tau", [0.0, 0.03])
def test_the_true_slope_is_accepted_as_often_as_stated(groups, reliability, tau):
    """A naive regression on a metric of reliability 0.7 finds 0.7 of the slope."""
    rng, worlds = np.random.default_rng(4), 1500
    true = np.linspace(0, 0.11, groups)
    error = true.var(ddof=1) * (1 / reliability - 1)
    x = true + np.sqrt(error) * rng.standard_normal((worlds, groups))
    line = -2 + 0.9 * true + tau * rng.standard_normal((worlds, groups))
    y = rng.binomial(40_000, 1 / (1 + np.exp(-line))).astype(float)
    found = working_response(x, counts(np.full_like(y, 40_000), y))

    score = score_slope(np.full(worlds, 0.9), x, found, np.eye(groups) * error if error else None)

    covered = (np.abs(score.delta) <= score.half_width(0.95)).mean()
    assert 0.93 <= covered <= 0.985


def test_a_slope_that_is_0_is_rejected_as_seldom_as_stated_with_few_successes():
    rng, worlds = np.random.default_rng(5), 3000
    y = rng.binomial(500, 0.006, (worlds, 5)).astype(float)  # 3 successes per group
    y = y[y.sum(axis=1) >= 5]
    found = working_response(X, counts(np.full_like(y, 500), y))

    p_value = score_slope(0.0, X, found).p_value

    assert np.nanmean(p_value < 0.05) < 0.05

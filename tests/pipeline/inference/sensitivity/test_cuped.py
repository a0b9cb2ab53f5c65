"""CUPED against users one by one, and what it is for: planted slopes, covered by shorter intervals."""

import numpy as np
import pytest
import statsmodels.api as sm

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.sensitivity.cuped import adjusted_sums, cuped, past_sums
from pipeline.results.family import Family
from tests.pipeline.inference.shops import X, pre_period_sums_of


def users(seed, *, slope=5.0, n=400, spread=1.0):
    """Impressions and clicks of users in the experiment (m, y) and before it (a, b); G × U each."""
    rng = np.random.default_rng(seed)
    shape = (len(X), n)
    readiness = rng.normal(0, spread, shape)
    m, a = 1 + rng.poisson(9, shape), rng.poisson(20, shape) * rng.integers(0, 2, shape)
    y = rng.binomial(m, 1 / (1 + np.exp(2.2 - readiness - slope * X[:, None])))
    b = rng.binomial(a, 1 / (1 + np.exp(2.2 - readiness)))
    return {"m": m, "y": y, "a": a, "b": b}


def unadjusted(of):
    sums = GroupSums.over_users(Family.BINOMIAL, of["m"].astype(float), of["y"].astype(float))
    return fit_line(X, sums, level=0.95).cluster_robust


def test_the_adjusted_sums_are_those_of_users_one_by_one():
    """θ by statsmodels: y - p m on the past, with an intercept a group."""
    of = users(1)
    rate = of["y"].sum(axis=1) / of["m"].sum(axis=1)
    residual = (of["y"] - rate[:, None] * of["m"]).ravel()
    group = np.repeat(np.eye(len(X)), of["m"].shape[1], axis=0)
    past = np.column_stack([of["a"].ravel(), of["b"].ravel()])
    theta = sm.OLS(residual, np.column_stack([past, group])).fit().params[:2]
    less = (past - past.mean(axis=0)) @ theta
    y = of["y"] - less.reshape(of["y"].shape)
    expected = GroupSums.over_users(Family.BINOMIAL, of["m"].astype(float), y)

    found = adjusted_sums(pre_period_sums_of(of), Family.BINOMIAL)

    for name in ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9), name


def test_it_adjusts_nothing_without_a_past():
    of = users(1)
    of["a"] = of["b"] = np.zeros_like(of["m"])

    found = cuped(X, pre_period_sums_of(of), Family.BINOMIAL, unadjusted(of), level=0.95)

    assert found.variance_share == pytest.approx(1)
    assert found.cluster_robust.slope == pytest.approx(unadjusted(of).slope)


@pytest.mark.slow
def test_slopes_are_held_by_shorter_intervals():
    """A null world: the marginal slope is 0, however users differ; and half of them have a past."""
    held, shares = [], []
    for seed in range(100):
        of = users(seed, slope=0.0)
        found = cuped(X, pre_period_sums_of(of), Family.BINOMIAL, unadjusted(of), level=0.95)
        held.append(found.cluster_robust.interval[0] < 0 < found.cluster_robust.interval[1])
        shares.append(found.variance_share)

    assert 0.89 <= np.mean(held) <= 1
    assert np.mean(shares) < 0.85


@pytest.mark.slow
def test_a_planted_slope_comes_out_the_same_on_average():
    slopes = [
        (
            cuped(X, pre_period_sums_of(of), Family.BINOMIAL, unadjusted(of), level=0.95),
            unadjusted(of),
        )
        for of in (users(seed) for seed in range(60))
    ]
    difference = np.array([one.cluster_robust.slope - other.slope for one, other in slopes])

    assert abs(difference.mean()) < 3 * difference.std() / 60**0.5
    assert np.mean([one.cluster_robust.slope for one, _ in slopes]) > 3


def test_a_group_whose_few_successes_the_past_explains_away_has_no_answer():
    of = users(1, n=3)
    of["y"] = (of["b"] > 4).astype(int)
    of["y"][0] = 0

    assert (
        cuped(X, pre_period_sums_of(of), Family.BINOMIAL, unadjusted(users(1)), level=0.95) is None
    )


def test_amounts_have_no_ceiling():
    of = users(2)
    of["y"], of["b"] = 30 * of["y"], 30 * of["b"]
    sums = GroupSums.over_users(Family.POISSON, of["m"].astype(float), of["y"].astype(float))
    plain = fit_line(X, sums, level=0.95).cluster_robust

    found = cuped(X, pre_period_sums_of(of), Family.POISSON, plain, level=0.95)

    assert found.variance_share < 0.9


def test_the_past_alone_by_hand():
    of = users(3)
    found = past_sums(pre_period_sums_of(of), Family.BINOMIAL)

    assert found.trials.tolist() == of["a"].sum(axis=1).tolist()
    assert found.sum_my.tolist() == (of["a"] * of["b"]).sum(axis=1).tolist()

"""Permutations, curvature and one group left out: against enumeration and single rows."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from pipeline.inference.glm.batched_newton import fit_batch
from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.sensitivity.robustness import curvature, leave_one_out, permutation_test
from pipeline.results.family import Family

X = np.array([0.0, 0.03, 0.05, 0.12])


def independent(trials, successes):
    m, y = np.array(trials, dtype=float), np.array(successes, dtype=float)
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


SUMS = independent([1000, 1500, 900, 1100], [100, 180, 101, 170])


@pytest.mark.parametrize("sums", [SUMS, replace(SUMS, family=Family.POISSON)])
def test_many_fits_are_those_of_the_regression(sums):
    rows = np.array([X, X[::-1], X**2, X - 1])

    intercepts, slopes = fit_batch(rows, sums)

    for x, intercept, slope in zip(rows, intercepts, slopes, strict=True):
        fit = fit_line(x, sums, level=0.95)
        assert (intercept, slope) == pytest.approx((fit.intercept, fit.slope), rel=1e-8)


def test_a_line_without_a_maximum_is_nan():
    separated = np.array([0.0, 1.0, 2.0, 3.0])

    rows = np.array([separated, [0.0, 1.0, 1.0, 0.0]])

    _, slopes = fit_batch(rows, independent([9, 9, 9, 9], [0, 0, 9, 9]))

    assert np.isnan(slopes[0])
    assert np.isfinite(slopes[1])


def test_the_permutation_test_counts_every_order_that_fits_as_well():
    deviances = [
        sm.GLM(
            np.c_[SUMS.successes, SUMS.trials - SUMS.successes],
            sm.add_constant(X[list(order)]),
            family=sm.families.Binomial(),
        ).fit().deviance
        for order in permutations(range(4))
    ]  # fmt: skip

    found = permutation_test(X, SUMS, seed=0)

    assert found.p_value == np.mean(np.array(deviances) <= deviances[0] + 1e-9)
    assert (found.permutations, found.exact) == (24, True)


def test_no_p_value_is_below_one_over_the_permutations():
    straight = independent([100_000] * 4, [10_000, 10_400, 10_700, 11_600])

    assert permutation_test(X, straight, seed=0).p_value == pytest.approx(1 / 24)


def test_of_more_than_seven_groups_permutations_are_drawn():
    x = np.linspace(0, 0.1, 9)
    sums = independent([10_000] * 9, [1000 + 50 * n for n in range(9)])

    found = permutation_test(x, sums, seed=0)

    assert (found.permutations, found.exact) == (10_000, False)
    assert found.p_value == pytest.approx(1 / 10_000)
    assert found == permutation_test(x, sums, seed=0)


def test_permutation_p_values_are_uniform_where_x_says_nothing():
    rng = np.random.default_rng(5)
    x = np.array([0.0, 0.02, 0.05, 0.08, 0.11, 0.13])

    p_values = [
        permutation_test(x, independent([5000] * 6, rng.binomial(5000, rate)), seed=0).p_value
        for rate in 1 / (1 + np.exp(2 + 0.1 * rng.standard_normal((200, 6))))
    ]

    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_curvature_equals_the_clustered_fit_of_single_rows():
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(400), rng.integers(1, 9, 400))
    group = (np.arange(400) % 4)[user]
    mood = rng.normal(0, 1, 400)[user]
    y = rng.random(len(user)) < 1 / (1 + np.exp(1 - 30 * X[group] + 200 * X[group] ** 2 - mood))
    m_u, y_u = np.bincount(user), np.bincount(user, y)

    def total(values):
        return np.bincount(np.arange(400) % 4, values)

    sums = GroupSums(
        trials=total(m_u), successes=total(y_u), users=total(np.ones(400)),
        sum_mm=total(m_u**2), sum_my=total(m_u * y_u), sum_yy=total(y_u**2),
    )  # fmt: skip

    found = curvature(X, sums, level=0.95)

    scaled = X[group] / 0.12
    design = np.c_[np.ones(len(user)), scaled, scaled**2]
    rows = sm.GLM(y.astype(float), design, family=sm.families.Binomial()).fit(
        tol=1e-14, cov_type="cluster", cov_kwds={"groups": user}
    )
    assert found.slope * 0.12**2 == pytest.approx(rows.params[2], rel=1e-6)
    assert found.standard_error * 0.12**2 == pytest.approx(rows.bse[2], rel=1e-6)
    assert found.p_value == pytest.approx(rows.pvalues[2], rel=1e-5)


def test_two_different_x_have_no_curvature():
    assert curvature(np.array([0.0, 0.1, 0.1]), independent([9] * 3, [3, 4, 5]), level=0.95) is None


def test_the_slope_without_a_group_is_that_of_the_rest():
    intercepts, slopes = leave_one_out(X, SUMS)

    for left_out in range(4):
        kept = [n for n in range(4) if n != left_out]
        rest = independent(SUMS.trials[kept], SUMS.successes[kept])
        fit = fit_line(X[kept], rest, level=0.95)
        assert (intercepts[left_out], slopes[left_out]) == pytest.approx((fit.intercept, fit.slope))


def test_without_the_only_other_x_there_is_no_slope():
    sums = independent([100] * 3, [10, 12, 30])

    _, slopes = leave_one_out(np.array([0.0, 0.0, 0.1]), sums)

    assert np.isnan(slopes).tolist() == [False, False, True]


def test_curvature_is_undefined_where_its_covariance_is_singular():
    assert curvature(X, independent([1000.0] * 4, [0, 0, 4, 9]), level=0.95) is None

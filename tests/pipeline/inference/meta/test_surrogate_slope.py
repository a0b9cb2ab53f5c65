"""The slope over all contrasts: by hand, against regression, and against planted noise."""

from math import sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from pipeline.inference.meta.surrogate_slope import (
    MeasuredGroups,
    TotalCovariance,
    total_covariance,
)

X = np.array([0.0, 0.03, 0.06, 0.08, 0.10])
G = len(X)


def groups(proxy, kpi, noise=None):
    g = len(proxy)
    noise = np.zeros((2 * g, 2 * g)) if noise is None else np.array(noise, dtype=float)
    return MeasuredGroups(proxy=np.array(proxy), kpi=np.array(kpi), noise=noise)


def fit(*experiments, level=0.95) -> TotalCovariance:
    found = total_covariance(experiments, level=level)
    assert isinstance(found, TotalCovariance), found
    return found


def test_two_pairs_of_groups_by_hand():
    # centred, a pair's sum of squares is half its squared difference, and so of products; noise
    # adds half the variance of the difference: (1 + 3 - 2 · 1) / 2 = 1, and for the product
    # (0.5 + 0.5 - 0 - 0) / 2 = 0.5
    noise = [[1, 1, 0.5, 0], [1, 3, 0, 0.5], [0.5, 0, 9, 0], [0, 0.5, 0, 9]]
    first = groups([0.0, 4.0], [1.0, 3.0], noise)  # Λ: 8 - 1 = 7 and 4 - 0.5 = 3.5
    second = groups([0.0, 2.0], [5.0, 9.0], noise)  # Λ: 2 - 1 = 1 and 4 - 0.5 = 3.5

    found = fit(first, second)

    assert found.slope.slope == pytest.approx((3.5 + 3.5) / (7 + 1))
    assert found.naive_slope == pytest.approx((4 + 4) / (8 + 2))
    assert found.reliability == pytest.approx((7 + 1) / (8 + 2))
    assert found.contrasts == 2
    # without the first 3.5 / 1, without the second 3.5 / 7: a jackknife error of
    # sqrt((2 - 1) / 2 · Σ (b - 2)²) with b = 3.5 and 0.5
    assert found.slope.standard_error == pytest.approx(sqrt((1.5**2 + 1.5**2) / 2))
    width = stats.t.ppf(0.975, 1) * found.slope.standard_error
    assert found.slope.interval[1] == pytest.approx(7 / 8 + width)
    # Λ_YY = (2 + 8) - 2 · 9 is below 0
    assert found.correlation is None


def noisy_experiments(rng, n, *, slope=0.8, noise=None, spread=1.0):
    noise = np.zeros((2 * G, 2 * G)) if noise is None else noise
    values, vectors = np.linalg.eigh(noise)
    root = vectors * np.sqrt(np.maximum(values, 0))
    for _ in range(n):
        x = X * rng.uniform(1 - spread / 2, 1 + spread / 2)
        true = np.concatenate([x, slope * x + rng.normal()])
        measured = true + root @ rng.standard_normal(2 * G)
        yield groups(measured[:G], measured[G:], noise)


def test_without_noise_it_is_regression_with_an_intercept_for_each_experiment():
    rng = np.random.default_rng(0)
    experiments = [groups(rng.normal(size=g), rng.normal(size=g)) for g in (2, 3, 5)]
    labels = np.repeat(np.eye(3), (2, 3, 5), axis=0)
    x, y = (np.concatenate([getattr(e, n) for e in experiments]) for n in ("proxy", "kpi"))

    found = fit(*experiments)

    assert found.slope.slope == pytest.approx(
        sm.OLS(y, np.column_stack([labels, x])).fit().params[3]
    )
    assert found.slope.slope == found.naive_slope
    assert (found.reliability, found.contrasts) == (1, 1 + 2 + 4)


def test_the_kpi_s_own_noise_leaves_the_slope_and_lifts_the_correlation():
    rng = np.random.default_rng(1)
    noise = np.diag([0.0] * G + [0.02**2] * G)
    experiments = list(noisy_experiments(rng, 200, noise=noise))

    found = fit(*experiments)

    silent = fit(*(groups(e.proxy, e.kpi) for e in experiments))
    assert found.slope == silent.slope
    # Var(0.8 x) = 0.8² · 0.0012 on average against 0.02² of noise
    assert silent.correlation < 0.9
    assert found.correlation == pytest.approx(1, abs=0.02)


def test_noise_that_all_groups_share_is_none_of_a_contrast():
    rng = np.random.default_rng(2)
    shared = np.kron([[1.0, 0.5], [0.5, 1.0]], np.ones((G, G)))
    experiments = list(noisy_experiments(rng, 3, noise=shared))

    found = fit(*experiments)

    assert found.slope.slope == pytest.approx(0.8)
    assert found.naive_slope == pytest.approx(0.8)
    assert found.reliability == pytest.approx(1)


def test_order_of_groups_level_of_experiments_and_units_do_not_matter():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(2 * G, 2 * G)) * 0.004
    experiments = list(noisy_experiments(rng, 4, noise=a @ a.T))
    order = rng.permutation(G)
    both = np.concatenate([order, G + order])
    found = fit(*experiments)

    moved = fit(
        *(
            groups(
                2 * e.proxy[order] + n, e.kpi[order] - n, other_units(e.noise[np.ix_(both, both)])
            )
            for n, e in enumerate(experiments)
        )
    )

    assert moved.slope.slope == pytest.approx(found.slope.slope / 2)
    assert moved.slope.standard_error == pytest.approx(found.slope.standard_error / 2)
    assert moved.correlation == pytest.approx(found.correlation)


def other_units(noise):
    """Proxies in units half as large."""
    factor = np.repeat([2.0, 1.0], G)
    return noise * np.outer(factor, factor)


@pytest.mark.parametrize("correlation", [0.0, 0.7, -0.7])
def test_the_planted_slope_is_found_where_the_naive_one_is_drawn_to_the_noise(correlation):
    noise = np.kron([[0.03**2, correlation * 0.03**2], [correlation * 0.03**2, 0.03**2]], np.eye(G))
    rng = np.random.default_rng(4)

    found = fit(*noisy_experiments(rng, 4000, noise=noise))

    # the slope of the noise is its correlation: the naive one is the mean of the two, weighted by
    # the variances
    expected = found.reliability * 0.8 + (1 - found.reliability) * correlation
    assert found.slope.slope == pytest.approx(0.8, abs=3 * found.slope.standard_error)
    assert found.slope.standard_error < 0.03
    assert found.naive_slope == pytest.approx(expected, abs=0.03)
    assert abs(found.naive_slope - 0.8) > 2 * abs(found.slope.slope - 0.8)


def covered(experiments, worlds, *, sigma, hetero, spread):
    noise = np.kron([[sigma**2, 0.5 * sigma * 0.02], [0.5 * sigma * 0.02, 0.02**2]], np.eye(G))
    hits, refused = [], 0
    for seed in range(worlds):
        rng = np.random.default_rng([seed, experiments])
        slopes = 0.8 + hetero * rng.standard_normal(experiments)
        made = [
            one
            for slope in slopes
            for one in noisy_experiments(rng, 1, slope=slope, noise=noise, spread=spread)
        ]
        found = total_covariance(made, level=0.95)
        if isinstance(found, str):
            refused += 1
        else:
            hits.append(found.slope.interval[0] <= 0.8 <= found.slope.interval[1])
    return np.mean(hits), refused / worlds


@pytest.mark.slow
def test_the_jackknife_covers_the_planted_slope():
    share, refused = covered(10, 300, sigma=0.03, hetero=0.0, spread=1.0)

    assert share == pytest.approx(0.95, abs=3 * sqrt(0.95 * 0.05 / 300))
    assert refused == 0


@pytest.mark.parametrize("reliability", [0.42, 0.7])
def test_many_small_tests_of_a_noisy_metric_have_the_slope_of_the_true_one(reliability):
    """150 tests of four groups; the spread of the true log metric is 0.2, its slope 1."""
    rng = np.random.default_rng(5)
    error = 0.2 * sqrt((1 - reliability) / reliability)
    noise = np.diag([error**2] * 4 + [0.15**2] * 4)
    experiments = []
    for _ in range(150):
        true = 0.2 * rng.standard_normal(4)
        kpi = true + 0.1 * rng.standard_normal(4) + 0.15 * rng.standard_normal(4)
        experiments.append(groups(true + error * rng.standard_normal(4), kpi, noise))

    found = fit(*experiments)

    assert found.slope.interval[0] < 1 < found.slope.interval[1]
    assert found.slope.standard_error < 0.15
    assert found.reliability == pytest.approx(reliability, abs=0.07)
    assert found.naive_slope == pytest.approx(reliability, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("experiments", [5, 20])
@pytest.mark.parametrize("sigma", [0.01, 0.03])
@pytest.mark.parametrize("hetero", [0.0, 0.3])
@pytest.mark.parametrize("spread", [1.0, 1.9])
def test_coverage_over_many_simulations(experiments, sigma, hetero, spread):
    share, refused = covered(experiments, 400, sigma=sigma, hetero=hetero, spread=spread)

    assert share >= 0.9
    assert refused < 0.1


@pytest.mark.parametrize(
    ("experiments", "reason"),
    [
        ([groups([0.0, 1.0], [0.0, 1.0])], "one_study"),
        ([groups([0.0, 1.0], [0.0, 1.0], np.eye(4))] * 2, "metric_within_noise"),
        (
            [groups([0.0, 9.0], [0.0, 1.0], np.eye(4)), groups([0.0, 1.0], [0.0, 1.0], np.eye(4))],
            "metric_varies_in_one_study",
        ),
        ([groups([0.0, 1.0], [0.0, 2.0])] * 2, "identical_slopes"),
    ],
    ids=["one", "noise", "one that varies", "no error"],
)
def test_where_the_slope_is_undefined_the_reason_is_returned(experiments, reason):
    found = total_covariance(experiments, level=0.95)

    assert found == reason

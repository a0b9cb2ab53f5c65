"""What g groups know: against hand arithmetic, weighted least squares, and planted deviations."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.sensitivity.random_effects import (
    link_variance,
    random_effects_slope,
    weighted_line,
)

X = np.array([0.0, 0.02, 0.05, 0.09, 0.11])


def independent(trials, successes):
    m, y = np.array(trials, dtype=float), np.array(successes, dtype=float)
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def estimate(x, sums, level=0.95):
    fit = fit_line(x, sums, level=level)
    assert isinstance(fit, LineFit)
    return random_effects_slope(x, sums, fit)


def groups_about_a_line(rng, tau, n=200_000):
    rate = 1 / (1 + np.exp(-(-2 + 1.5 * X + tau * rng.standard_normal(len(X)))))
    return independent([n] * len(X), rng.binomial(n, rate))


def test_variance_of_the_log_odds_of_independent_trials_is_the_textbooks():
    sums = independent([100, 400], [20, 100])

    expected = np.array([1 / 20 + 1 / 80, 1 / 100 + 1 / 300])
    assert link_variance(sums) == pytest.approx(expected * np.array([100 / 99, 400 / 399]))


def test_weighted_line_equals_statsmodels():
    rng = np.random.default_rng(1)
    y, weights = rng.normal(size=5), rng.uniform(1, 9, 5)

    line = weighted_line(X, y, weights)

    twin = sm.WLS(y, sm.add_constant(X), weights=weights).fit()
    assert line.slope == pytest.approx(twin.params[1])
    assert line.deviations == pytest.approx(twin.ssr)
    assert line.slope_variance == pytest.approx(twin.normalized_cov_params[1, 1])


@pytest.mark.parametrize("seed", range(4))
def test_without_deviations_hartung_knapp_is_the_weighted_regression(seed):
    sums = groups_about_a_line(np.random.default_rng(seed), tau=0)
    rate = sums.successes / sums.trials
    fixed = sm.WLS(
        np.log(rate / (1 - rate)), sm.add_constant(X), weights=1 / link_variance(sums)
    ).fit()

    found = estimate(X, sums)

    if fixed.ssr <= 3:  # no more than chance
        assert (found.tau, found.heterogeneity) == (0, 0)
        # statsmodels' error is scaled by the residuals, too, and its t has 5 - 2 degrees
        assert found.hartung_knapp.standard_error == pytest.approx(fixed.bse[1])
        assert found.hartung_knapp.p_value == pytest.approx(fixed.pvalues[1])
        assert found.hartung_knapp.interval == pytest.approx(fixed.conf_int()[1])
    else:
        assert found.tau > 0
        assert found.heterogeneity == pytest.approx(1 - 3 / fixed.ssr)


@pytest.mark.parametrize("seed", range(3))
def test_paule_mandels_tau_makes_the_deviations_as_large_as_chance_has_them(seed):
    sums = groups_about_a_line(np.random.default_rng(seed), tau=0.05)
    rate = sums.successes / sums.trials

    found = estimate(X, sums)

    line = weighted_line(X, np.log(rate / (1 - rate)), 1 / (link_variance(sums) + found.tau**2))
    assert found.tau > 0
    assert line.deviations == pytest.approx(len(X) - 2)
    assert found.hartung_knapp.slope == pytest.approx(line.slope)
    assert found.hartung_knapp.standard_error == pytest.approx(line.slope_variance**0.5)


@pytest.mark.slow
def test_planted_deviations_are_found():
    found = [
        estimate(X, groups_about_a_line(np.random.default_rng(seed), tau=0.04)).tau ** 2
        for seed in range(200)
    ]

    # Paule-Mandel's τ² is unbiased but for its truncation at 0, which such a τ hardly meets
    assert np.mean(found) == pytest.approx(0.04**2, rel=0.15)


def test_quasi_binomial_widens_by_the_dispersion_and_never_narrows():
    wide = independent([1000] * 4, [100, 180, 90, 200])
    narrow = independent([1000] * 4, [100, 110, 121, 133])
    x = np.array([0.0, 0.1, 0.2, 0.3])

    for sums, scaled in ((wide, True), (narrow, False)):
        fit = fit_line(x, sums, level=0.9)
        found = estimate(x, sums, level=0.9).quasi_binomial
        factor = (fit.lack_of_fit.pearson_chi2 / 2) ** 0.5 if scaled else 1
        assert (fit.lack_of_fit.pearson_chi2 / 2 > 1) is scaled
        assert found.standard_error == pytest.approx(fit.model.standard_error * factor)
        width = stats.t.ppf(0.95, 2) * found.standard_error
        assert found.interval == pytest.approx((fit.slope - width, fit.slope + width))


@pytest.mark.parametrize(
    ("x", "successes"),
    [([0.0, 0.1], [20, 30]), ([0.0, 0.1, 0.2], [0, 30, 20]), ([0.0, 0.1, 0.2], [20, 100, 30])],
    ids=["two groups", "nothing", "everything"],
)
def test_where_groups_say_nothing_of_their_deviations_it_is_none(x, successes):
    assert estimate(np.array(x), independent([100] * len(x), successes)) is None


@pytest.mark.parametrize(
    ("x", "successes"),
    # odds of 1/4, 1/2 and 1 rise by equal factors
    [([0.0, 0.1, 0.2], [300, 300, 300]), ([0.0, 0.1, 0.2], [180, 300, 450])],
    ids=["level", "rising"],
)
def test_groups_that_lie_on_the_line_say_nothing_of_its_error(x, successes):
    assert estimate(np.array(x), independent([900] * 3, successes)) is None

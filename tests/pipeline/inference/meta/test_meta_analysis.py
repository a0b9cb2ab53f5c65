"""Slopes of many experiments: published numbers, formulas redone by hand, and planted truths."""

from math import exp, sqrt

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.inference.meta.meta_analysis import PooledSlope, forecast, pool_slopes

# Colditz et al. (1994), 13 trials of the BCG vaccine: vaccinated with and without tuberculosis, and
# the same of those not vaccinated; the example of Viechtbauer's metafor
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=float,
)


def log_risk_ratios():
    a, b, c, d = BCG.T
    return np.log(a / (a + b)) - np.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def pool(slopes, errors, level=0.95) -> PooledSlope:
    found = pool_slopes(np.array(slopes), np.array(errors), level=level)
    assert isinstance(found, PooledSlope)
    return found


def test_the_bcg_trials_have_the_numbers_metafor_prints():
    effects, variances = log_risk_ratios()

    found = pool(effects, np.sqrt(variances))

    # rma(yi, vi, method="PM", test="knha"): Q(df = 12) = 152.2330, p < .0001, tau^2 = 0.3181
    assert found.cochran_q == pytest.approx(152.2330, abs=5e-5)
    assert found.q_p_value == pytest.approx(stats.chi2.sf(152.2330, 12), rel=1e-3)
    assert found.tau**2 == pytest.approx(0.3181, abs=5e-5)
    assert found.i_squared == pytest.approx(1 - 12 / 152.2330, abs=1e-6)


def test_the_bcg_trials_by_hand():
    effects, variances = log_risk_ratios()

    found = pool(effects, np.sqrt(variances), level=0.9)

    w = 1 / (variances + found.tau**2)
    mean = (w * effects).sum() / w.sum()
    # Paule and Mandel: the deviations are as large as they should be
    assert (w * (effects - mean) ** 2).sum() == pytest.approx(13 - 1, abs=1e-4)
    assert found.mean.slope == pytest.approx(mean)
    assert found.mean.standard_error == pytest.approx(w.sum() ** -0.5, rel=1e-5)
    assert (found.mean.df, found.mean.covariance) == (12, "random_effects")


def one_by_one(effects, variances):
    """The slow twin: of 400 quantiles of χ², τ² by brentq, the mean, its error, and that of the next slope."""
    found = []
    for target in stats.chi2.ppf((np.arange(400) + 0.5) / 400, len(effects) - 1):

        def excess(tau2, target=target):
            w = 1 / (variances + tau2)
            mean = (w * effects).sum() / w.sum()
            return (w * (effects - mean) ** 2).sum() - target

        tau2 = optimize.brentq(excess, 0, 1e6, xtol=1e-14) if excess(0) > 0 else 0.0
        w = 1 / (variances + tau2)
        found.append(((w * effects).sum() / w.sum(), sqrt(1 / w.sum()), sqrt(1 / w.sum() + tau2)))
    return np.array(found).T


def test_both_intervals_are_those_of_the_mixture_redone_one_by_one():
    effects, variances = log_risk_ratios()

    found = pool(effects, np.sqrt(variances))

    means, errors, deviations = one_by_one(effects, variances)
    share = max(0.8, 1.2 * (3 / 13) ** 0.2)
    for ends, sd, tail in (
        (found.mean.interval, errors, 0.025),
        (found.prediction_interval, deviations, share * 0.025),
    ):
        below = [stats.norm.cdf(end, means, sd).mean() for end in ends]
        assert below == pytest.approx([tail, 1 - tail], abs=1e-5)
    at_0 = stats.norm.cdf(0, means, errors).mean()
    assert found.mean.p_value == pytest.approx(2 * (1 - at_0), rel=1e-4)


def test_without_errors_of_the_slopes_the_mean_is_that_of_a_t_test():
    slopes = np.array([0.8, 1.5, 0.2, 1.1, 0.9])

    found = pool(slopes, [1e-9] * 5)

    expected = stats.ttest_1samp(slopes, 0)
    assert found.mean.interval == pytest.approx(tuple(expected.confidence_interval()), rel=5e-3)
    assert found.mean.p_value == pytest.approx(expected.pvalue, rel=0.02)


def test_a_precise_study_is_not_the_mean():
    """One study ten times as precise: the others cannot exclude that it deviates from the mean."""
    slopes, errors = np.array([0.0, 0.7, -0.5, 0.8]), np.array([0.1, 1.0, 1.0, 1.0])

    found = pool(slopes, errors)

    known = combine_effects(slopes, errors**2, method_re="pm", use_t=True)
    low, high = found.mean.interval
    assert found.tau == 0
    # Hartung and Knapp's error, at least that of equal slopes
    assert high - low > 2 * 2 * stats.t.ppf(0.975, 3) * known.sd_eff_w_re


def test_it_is_statsmodels():
    effects, variances = log_risk_ratios()
    twin = combine_effects(effects, variances, method_re="iterated", use_t=True)

    found = pool(effects, np.sqrt(variances))

    assert found.tau**2 == pytest.approx(twin.tau2)
    assert found.mean.slope == pytest.approx(twin.mean_effect_re)
    assert found.mean.standard_error == pytest.approx(twin.sd_eff_w_re)
    # BCG: 13 trials of not too different precision, where Hartung and Knapp's interval is right
    assert found.mean.interval == pytest.approx(twin.conf_int()[3], abs=0.02)
    assert found.i_squared == pytest.approx(twin.i2)
    assert found.q_p_value == pytest.approx(twin.test_homogeneity().pvalue)


def test_slopes_closer_than_their_errors_are_known_as_well_as_equal_ones_at_most():
    found = pool([0.9, 1.0, 1.1], [0.5, 0.5, 0.5])

    # Q = (0.1² + 0 + 0.1²) / 0.5² = 0.08 < 2
    assert (found.tau, found.i_squared) == (0, 0)
    assert found.cochran_q == pytest.approx(0.08)
    assert found.mean.standard_error == pytest.approx(sqrt(0.25 / 3))
    assert found.mean.interval[1] - 1 >= 1.959 * sqrt(0.25 / 3)


@pytest.mark.slow
def test_the_next_slope_is_never_known_better_than_the_mean():
    rng = np.random.default_rng(0)
    for _ in range(60):
        e = int(rng.integers(3, 12))
        found = pool(rng.normal(size=e), np.exp(rng.normal(0, 1, e)))

        assert found.prediction_interval[0] <= found.mean.interval[0]
        assert found.mean.interval[1] <= found.prediction_interval[1]


def test_two_experiments_give_a_mean_but_no_prediction():
    found = pool([1.0, 2.0], [0.1, 0.1])

    # (1 - 1.5)² + (2 - 1.5)² = 0.5 = τ² + 0.1²
    assert found.tau**2 == pytest.approx(0.49, rel=1e-4)
    assert found.mean.standard_error == pytest.approx(sqrt(0.5 / 2))
    assert found.mean.interval[1] == pytest.approx(1.5 + stats.t.ppf(0.975, 1) * 0.5, rel=0.05)
    assert (found.prediction_interval, found.prediction_undefined_reason) == (None, "two_studies")


@pytest.mark.parametrize("slopes", [[], [1.0]])
def test_fewer_than_two_experiments_are_not_pooled(slopes):
    found = pool_slopes(np.array(slopes), np.array(slopes), level=0.95)

    assert found == "one_study"


def test_equal_slopes_have_no_variance_between_experiments():
    found = pool([0.7] * 4, [0.1, 0.2, 0.3, 0.4])

    assert (found.tau, found.i_squared, found.q_p_value) == (0, 0, 1)
    assert found.cochran_q == pytest.approx(0, abs=1e-20)
    assert found.mean.slope == pytest.approx(0.7)


def numbers(found):
    ends = (*found.mean.interval, *found.prediction_interval)
    return np.array([found.mean.slope, *ends])


@pytest.mark.parametrize("scale", [1e-6, 100.0])
def test_units_order_and_origin_of_the_slopes_do_not_matter(scale):
    slopes, errors = np.array([0.8, 1.5, 0.2, 1.1]), np.array([0.1, 0.3, 0.2, 0.1])
    found = pool(slopes, errors)

    scaled = pool(scale * slopes, scale * errors)
    moved = pool(slopes[::-1] + 3, errors[::-1])

    assert numbers(scaled) == pytest.approx(scale * numbers(found), rel=1e-6)
    assert scaled.tau == pytest.approx(scale * found.tau)
    assert numbers(moved) == pytest.approx(numbers(found) + 3, rel=1e-6)
    assert scaled.mean.p_value == pytest.approx(found.mean.p_value)


def test_errors_of_very_different_size_leave_the_equation_solved():
    slopes, errors = np.array([0.0, 10.0, 25.0, 7.0]), np.array([1e-9, 1e-3, 1.0, 3.0])

    found = pool(slopes, errors)

    w = 1 / (errors**2 + found.tau**2)
    assert (w * (slopes - found.mean.slope) ** 2).sum() == pytest.approx(3, abs=1e-4)


def test_where_slopes_have_no_error_the_next_is_predicted_as_from_a_normal_sample():
    slopes = np.array([0.8, 1.5, 0.2, 1.1, 0.9])

    found = pool(slopes, [1e-9] * 5)

    # Cochran's Q is then Σ (b - mean)² / τ², and the mixture Student's t with 5 - 1
    tail = 1.2 * (3 / 5) ** 0.2 * 0.025
    width = stats.t.isf(tail, 4) * slopes.std(ddof=1) * sqrt(1 + 1 / 5)
    expected = (slopes.mean() - width, slopes.mean() + width)
    assert found.prediction_interval == pytest.approx(expected, rel=5e-3)


def test_three_experiments_predict_no_wider_than_they_must():
    found = pool([0.8, 1.0, 1.3], [1e-9] * 3)

    # with three studies the quantiles are those of 94%: t with 2 degrees of freedom
    low, high = found.prediction_interval
    error = np.std([0.8, 1.0, 1.3], ddof=1) * sqrt(1 + 1 / 3)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.97, 2) * error, rel=5e-3)
    # t with one degree of freedom (Higgins, Thompson & Spiegelhalter 2009) reaches three times as far
    assert (high - low) / 2 < stats.t.ppf(0.975, 1) * error / 3


def coverage(experiments, tau, errors, seeds):
    """Shares of worlds whose mean slope 1, and whose next slope, lie in their intervals."""
    alike, unlike = np.full(experiments, 0.1), np.geomspace(0.03, 0.3, experiments)
    se = alike if errors == "alike" else unlike
    hits = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, experiments])
        true = 1 + tau * rng.standard_normal(experiments)
        following = 1 + tau * rng.standard_normal()
        found = pool(true + se * rng.standard_normal(experiments), se)
        hits.append([holds(found.mean.interval, 1), holds(found.prediction_interval, following)])
    return np.mean(hits, axis=0)


def holds(interval, truth):
    return interval[0] <= truth <= interval[1]


@pytest.mark.slow
def test_a_planted_mean_and_the_next_slope_are_covered():
    mean, following = coverage(5, 0.1, "unlike", seeds=120)

    # 95 % in 120 worlds has a binomial error of 2 points
    assert mean >= 0.95 - 3 * 0.02
    assert following >= 0.95 - 3 * 0.02


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["alike", "unlike"])
@pytest.mark.parametrize("tau", [0.1, 0.3])
@pytest.mark.parametrize("experiments", [3, 5, 10])
def test_coverage_over_many_simulations(experiments, tau, errors):
    mean, following = coverage(experiments, tau, errors, seeds=400)

    # 93% is promised; it has a binomial error of 1.3 points in 400 worlds
    assert mean >= 0.93 - 3 * 0.013
    assert following >= 0.93 - 3 * 0.013


def test_a_gain_by_hand():
    found = pool([0.9, 1.0, 1.1], [0.2, 0.2, 0.2])
    low, high = found.prediction_interval

    more, less = (forecast(found, gain=gain, rate=0.2) for gain in (0.1, -0.1))

    # odds of 1 to 4 become exp(0.1) to 4
    assert more.odds_change == pytest.approx(exp(0.1) - 1)
    assert more.rate_change == pytest.approx(exp(0.1) / (exp(0.1) + 4) / 0.2 - 1)
    assert more.odds_interval == pytest.approx((exp(0.1 * low) - 1, exp(0.1 * high) - 1))
    # less of the metric turns the ends around
    assert less.odds_interval == pytest.approx((exp(-0.1 * high) - 1, exp(-0.1 * low) - 1))
    assert less.rate_interval[0] < less.rate_change < less.rate_interval[1]


def test_of_a_rare_success_the_rate_changes_as_its_odds_and_of_a_sure_one_hardly():
    found = pool([0.9, 1.0, 1.1], [0.2, 0.2, 0.2])

    rare, sure = (forecast(found, gain=0.02, rate=rate) for rate in (1e-6, 0.999))

    assert rare.rate_change == pytest.approx(rare.odds_change, rel=1e-5)
    assert 0 < sure.rate_change < 0.001 * sure.odds_change * 1.01


def test_a_forecast_from_two_studies_has_no_interval():
    found = forecast(pool([1.0, 2.0], [0.1, 0.1]), gain=0.02, rate=0.1)

    assert found.odds_change == pytest.approx(exp(0.02 * 1.5) - 1)
    assert (found.odds_interval, found.rate_interval) == (None, None)


def test_a_forecast_from_absurd_slopes_is_finite():
    found = forecast(pool([-5e3, 1e3, 8e3], [1.0, 1.0, 1.0]), gain=1.0, rate=0.1)

    assert np.isfinite([*found.odds_interval, *found.rate_interval]).all()
    assert found.rate_interval == pytest.approx((-1, 9))

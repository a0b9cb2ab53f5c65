"""The slope over past tests: redone by statsmodels where it can, planted truths, symmetries, coverage."""

from functools import cache

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from pipeline.inference.past_tests.effects import StackedTests
from pipeline.inference.past_tests.lift_prediction import predict_lifts
from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit, fit_slope
from pipeline.results.reasons import UndefinedReason


def block(delta, lift, delta_error, lift_error):
    delta, lift, delta_error, lift_error = (
        np.broadcast_to(one, len(delta)).astype(float)
        for one in (delta, lift, delta_error, lift_error)
    )

    def cube(values):
        return values.reshape(-1, 1, 1)

    return StackedTests(
        delta_EC=delta[:, None],
        lift_EC=lift[:, None],
        delta_noise_ECC=cube(delta_error**2),
        lift_noise_ECC=cube(lift_error**2),
        cross_noise_ECC=cube(delta_error * lift_error),
    )


def model(*blocks, correlation=0.0, level=0.95):
    return ProxyModel(blocks, correlation, level)


def archive(seed, tests, *, slope=3.0, tau=1.0, reliability=0.7, correlation=0.4):
    rng = np.random.default_rng(seed)
    lift_error, delta_error = np.exp(rng.normal(0, 0.5, (2, tests)))
    delta_error *= ((1 / reliability - 1) / np.exp(0.5)) ** 0.5
    noise = rng.normal(size=(2, tests))
    noise[1] = correlation * noise[0] + (1 - correlation**2) ** 0.5 * noise[1]
    true = rng.normal(size=tests)
    lift = slope * true + rng.normal(0, tau, tests) + lift_error * noise[1]
    return block(true + delta_error * noise[0], lift, delta_error, lift_error)


def test_without_errors_of_the_metric_it_is_the_weighted_regression_of_statsmodels():
    rng = np.random.default_rng(3)
    delta, errors = rng.normal(size=30), np.exp(rng.normal(0, 0.3, 30))
    lift = 2 * delta + errors * rng.normal(size=30) * 1.5
    fitted = model(block(delta, lift, 0.0, errors))

    found = fit_slope(fitted)

    # with the deviations of Paule & Mandel, its error is that of the weighted regression: scale 1
    weights = 1 / (errors**2 + found.tau**2)
    expected = sm.WLS(lift, delta, weights=weights).fit()
    assert found.tau > 0
    assert found.slope == pytest.approx(expected.params[0])
    assert found.standard_error == pytest.approx(expected.bse[0], rel=1e-6)
    # τ² is estimated at the tested slope, so the p-value is that of the regression with other weights
    at_0 = sm.WLS(lift, delta, weights=1 / (errors**2 + fitted.tau2(0.0))).fit()
    assert found.p_value == pytest.approx(at_0.pvalues[0], rel=1e-6)


def test_with_errors_of_both_it_is_the_least_distance_line_of_scipy():
    data = archive(5, 40, tau=0.0, correlation=0.0)
    x, y, vx, vy = (
        one.ravel()
        for one in (data.delta_EC, data.lift_EC, data.delta_noise_ECC, data.lift_noise_ECC)
    )

    found = model(data).slope_at(0.0)

    expected = optimize.minimize_scalar(
        lambda b: ((y - b * x) ** 2 / (vy + b**2 * vx)).sum(), bounds=(1, 6), method="bounded"
    )
    assert found == pytest.approx(expected.x, rel=1e-4)


def test_many_noisy_tests_give_the_planted_slope_where_the_naive_one_is_attenuated():
    found = fit_slope(model(archive(1, 4_000), correlation=0.4))

    assert abs(found.slope - 3.0) < 4 * found.standard_error
    assert found.interval[0] < 3.0 < found.interval[1]
    assert found.tau == pytest.approx(1.0, abs=0.15)
    assert found.naive_slope < 0.85 * 3.0
    ignoring = fit_slope(model(archive(1, 4_000), correlation=0.0))
    assert ignoring.interval[0] > 3.0 or ignoring.interval[1] < 3.0


@pytest.mark.slow
def test_units_and_the_choice_of_the_control_do_not_matter():
    data = archive(2, 12)
    found = fit_slope(model(data, correlation=0.4))
    scaled = StackedTests(
        delta_EC=100 * data.delta_EC,
        lift_EC=7 * data.lift_EC,
        delta_noise_ECC=1e4 * data.delta_noise_ECC,
        lift_noise_ECC=49 * data.lift_noise_ECC,
        cross_noise_ECC=700 * data.cross_noise_ECC,
    )
    swapped = block(-data.delta_EC.ravel(), -data.lift_EC.ravel(), 0.1, 1.0)

    other = fit_slope(model(scaled, correlation=0.4))

    assert other.slope == pytest.approx(0.07 * found.slope, rel=1e-6)
    assert other.interval == pytest.approx([0.07 * end for end in found.interval], rel=1e-5)
    assert other.p_value == pytest.approx(found.p_value, rel=1e-6)
    same = block(data.delta_EC.ravel(), data.lift_EC.ravel(), 0.1, 1.0)
    assert fit_slope(model(swapped)).slope == pytest.approx(fit_slope(model(same)).slope)


def test_any_variant_of_a_test_may_be_the_control():
    """Three variants with independent errors: contrasts with the first, or with the last."""
    rng = np.random.default_rng(7)
    e = 10
    values, variances = rng.normal(size=(2, e, 3)), np.exp(rng.normal(0, 0.5, (2, e, 3)))
    values[1] += 2 * values[0]

    def against(control):
        others = [k for k in range(3) if k != control]
        delta, lift = (side[:, others] - side[:, [control]] for side in values)
        own, shared = variances[:, :, others], variances[:, :, [control]]
        noise = own[..., None] * np.eye(2) + shared[..., None]
        return StackedTests(
            delta_EC=delta,
            lift_EC=lift,
            delta_noise_ECC=0.1 * noise[0],
            lift_noise_ECC=noise[1],
            cross_noise_ECC=np.zeros_like(noise[0]),
        )

    first, last = (fit_slope(model(against(control))) for control in (0, 2))

    assert first.slope == pytest.approx(last.slope, rel=1e-6)
    assert first.interval == pytest.approx(last.interval, rel=1e-5)


def test_undefined_slopes_have_a_reason():
    flat, one = block([0.0, 0.0], [1.0, 2.0], 0.1, 1.0), block([1.0], [1.0], 0.1, 1.0)
    noise = block([0.1, -0.2, 0.1, -0.1], [1.0, 2.0, -1.0, 0.5], 5.0, 1.0)

    assert fit_slope(model(one)) is UndefinedReason.FEWER_THAN_2_TESTS
    assert fit_slope(model(flat)) is UndefinedReason.METRIC_CONSTANT
    assert fit_slope(model(noise)) is UndefinedReason.METRIC_WITHIN_NOISE


def test_the_prediction_contains_the_line_and_widens_with_the_deviations():
    close, apart = (model(archive(4, 15, tau=tau), correlation=0.4) for tau in (0.0, 4.0))
    found = [predict_lifts(one, fit_slope(one), [-1.0, 0.0, 2.0]) for one in (close, apart)]

    for predictions in found:
        for one in predictions:
            assert one.interval[0] <= one.mean_interval[0] <= one.lift
            assert one.lift <= one.mean_interval[1] <= one.interval[1]
    assert found[1][1].interval[1] > 2 * found[0][1].interval[1]
    two = model(archive(4, 2))
    fit = fit_slope(two)
    assert not isinstance(fit, SlopeFit) or predict_lifts(two, fit, [1.0])[0].interval is None


@cache
def rates(tests, tau, reliability, repeats):
    """Shares: slope covered, next lift covered; and the p-values without an effect."""
    rng = np.random.default_rng(11)
    covered, following, p_values = [], [], []
    for seed in range(repeats):
        tried = model(archive(seed, tests, tau=tau, reliability=reliability), correlation=0.4)
        fit = fit_slope(tried)
        if isinstance(fit, SlopeFit):
            change = float(rng.normal())
            (at,) = predict_lifts(tried, fit, [change])
            covered.append(inside(3.0, fit.interval))
            following.append(inside(3 * change + rng.normal(0, tau), at.interval))
        null = archive(seed, tests, slope=0.0, tau=tau, reliability=reliability)
        p_values.append(model(null, correlation=0.4).p_value(0.0))
    return np.mean(covered), np.mean(following), p_values


def inside(value, ends):
    low, high = ends
    return (low is None or low <= value) and (high is None or value <= high)


@pytest.mark.slow
@pytest.mark.parametrize(("tests", "tau", "reliability"), [(6, 0.5, 1.0), (20, 3.0, 0.7)])
def test_coverage_and_error_rate_over_simulated_archives(tests, tau, reliability):
    covered, following, p_values = rates(tests, tau, reliability, 150)

    # 95% in 150 archives has a binomial error of 1.8 points
    assert covered >= 0.95 - 3 * 0.018
    assert following >= 0.95 - 3 * 0.018
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 3 * 0.018


@pytest.mark.slow
def test_without_an_effect_p_values_are_uniform():
    _, _, p_values = rates(20, 3.0, 0.7, 150)

    assert stats.kstest(p_values, "uniform").pvalue > 0.001

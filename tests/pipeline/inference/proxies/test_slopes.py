"""Leave-one-out, LIML and JIVE: redone by refits, by minimisation, and over users."""

import numpy as np
import pytest
from scipy import optimize

from pipeline.inference.meta.surrogate_slope import MeasuredGroups, total_covariance
from pipeline.inference.past_tests.effects import StackedTests
from pipeline.inference.past_tests.proxy_slope import ProxyModel, fit_slope
from pipeline.inference.proxies.influence import most_influential
from pipeline.inference.proxies.liml import liml_slope


def stacked(delta, lift, delta_error, lift_error):
    def cube(values):
        return np.full((len(delta), 1, 1), values)

    return StackedTests(
        delta_EC=np.array(delta)[:, None],
        lift_EC=np.array(lift)[:, None],
        delta_noise_ECC=cube(delta_error**2),
        lift_noise_ECC=cube(lift_error**2),
        cross_noise_ECC=cube(delta_error * lift_error),
        tests=tuple(f"t{n}" for n in range(len(delta))),
    )


def test_one_faulty_lift_that_hides_the_slope_is_found_though_it_does_not_move_it():
    rng = np.random.default_rng(2)
    delta = np.append(rng.normal(size=19), 0.01)
    lift = 2 * delta + 0.1 * rng.normal(size=20)
    lift[19] = -50.0
    model = ProxyModel([stacked(delta, lift, 0.0, 0.1)], 0.0, 0.95)
    fit = fit_slope(model)

    found = most_influential(model, fit)

    assert fit.p_value > 0.05
    assert (found.test, found.decides) == ("t19", True)
    assert found.slope == pytest.approx(2, abs=0.1)
    assert found.p_value < 1e-6


@pytest.mark.slow
def test_the_least_favourable_of_many_tests_does_not_decide_because_it_is_chosen():
    """Without an effect, one of 30 tests can often be left out such that p is below 5%."""
    found, chosen = 0, 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        delta, lift = rng.normal(size=(2, 30))
        model = ProxyModel([stacked(delta, lift, 0.0, 1.0)], 0.0, 0.95)
        fit = fit_slope(model)
        if fit.p_value < 0.05:
            continue
        without = most_influential(model, fit)
        found += without.decides
        chosen += min(model_without(model, n).p_value(0.0) for n in range(30)) < 0.05
    assert found == 0
    assert chosen


def model_without(model, n):
    return ProxyModel([model.blocks[0].without(n)], 0.0, 0.95)


def test_a_slope_that_rests_on_one_test_rests_on_it_in_both_directions():
    rng = np.random.default_rng(3)
    delta, lift = 0.1 * rng.normal(size=(2, 12))
    delta[5], lift[5] = 3.0, 3.0
    model = ProxyModel([stacked(delta, lift, 0.0, 0.1)], 0.0, 0.95)
    fit = fit_slope(model)
    turned = ProxyModel([stacked(delta, -lift, 0.0, 0.1)], 0.0, 0.95)

    found, opposite = most_influential(model, fit), most_influential(turned, fit_slope(turned))

    assert fit.p_value < 0.05 < found.p_value
    assert (found.test, found.decides) == (opposite.test, opposite.decides) == ("t5", True)
    assert found.slope == pytest.approx(-opposite.slope)


@pytest.mark.slow
def test_the_test_that_moves_the_slope_most_is_found_as_by_all_refits():
    rng = np.random.default_rng(1)
    delta = rng.normal(size=9)
    lift = 2 * delta + 0.3 * rng.normal(size=9)
    delta[4], lift[4] = 3.0, -1.0
    block = stacked(delta, lift, 0.2, 0.3)
    model = ProxyModel([block], 0.0, 0.95)
    fit = fit_slope(model)

    found = most_influential(model, fit)

    slopes = [ProxyModel([block.without(n)], 0.0, 0.95).slope_at(None) for n in range(9)]
    farthest = int(np.argmax(np.abs(np.array(slopes) - fit.slope)))
    assert (found.test, farthest) == ("t4", 4)
    assert found.slope == pytest.approx(slopes[4], rel=1e-6)
    assert found.p_value < 0.05
    assert found.decides is (fit.p_value >= 0.05)
    assert (
        most_influential(ProxyModel([stacked([1.0, 2.0], [1.0, 2.0], 0.1, 0.1)], 0.0, 0.95), fit)
        is None
    )


def groups(delta, lift, noise):
    """One contrast as two groups, the control at 0 and without an error of its own."""
    full = np.zeros((4, 4))
    full[np.ix_([1, 3], [1, 3])] = noise
    return MeasuredGroups(proxy=np.array([0.0, delta]), kpi=np.array([0.0, lift]), noise=full)


def test_liml_is_total_least_squares_in_units_of_the_errors():
    rng = np.random.default_rng(2)
    noise = np.array([[0.5, 0.2], [0.2, 0.8]])
    true = 2 * rng.normal(size=40)
    seen = np.stack([true, 1.5 * true], axis=1) + rng.multivariate_normal([0, 0], noise, size=40)

    found = liml_slope([groups(*one, noise) for one in seen])

    def ratio(b):
        r = seen[:, 1] - b * seen[:, 0]
        return (r**2).sum() / (noise[1, 1] - 2 * b * noise[0, 1] + b**2 * noise[0, 0])

    expected = optimize.minimize_scalar(ratio, bounds=(0.5, 3), method="bounded")
    assert found == pytest.approx(expected.x, rel=1e-4)


def test_of_a_metric_without_errors_liml_is_the_regression_through_the_origin():
    rng = np.random.default_rng(3)
    seen = rng.normal(size=(20, 2))
    noise = np.diag([0.0, 1.0])

    found = liml_slope([groups(*one, noise) for one in seen])

    assert found == pytest.approx((seen[:, 0] @ seen[:, 1]) / (seen[:, 0] @ seen[:, 0]))
    assert liml_slope([groups(0.0, 1.0, noise), groups(0.0, 2.0, noise)]) is None


def test_total_covariance_with_each_tests_own_errors_is_jive():
    """Jackknife over users: each is multiplied with the mean of the others, so that no error meets itself."""
    rng = np.random.default_rng(4)
    tests, users = 12, 15
    true = rng.normal(size=(tests, 1, 2)) * [1.0, 0.0]
    true[..., 1] = 1.3 * true[..., 0]
    luck = rng.normal(size=(tests, users, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    values = true + 2 * luck

    jackknifed = np.zeros((2, 2))
    for test in values:
        for n in range(users):
            others = np.delete(test, n, axis=0).mean(axis=0)
            jackknifed += np.outer(test[n], others) / users
    expected = jackknifed[0, 1] / jackknifed[0, 0]

    measured = [groups(*test.mean(axis=0), np.cov(test.T, ddof=1) / users) for test in values]
    found = total_covariance(measured, level=0.95)
    assert found.slope.slope == pytest.approx(expected)

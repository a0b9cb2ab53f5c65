"""Portfolio and Pareto front: maximised numerically, by random search, and by simulation."""

import numpy as np
import pytest
from scipy import optimize

from pipeline.inference.proxies.latent_effects import Draws, noise_covariance
from pipeline.inference.proxies.portfolio import (
    correlation_with_lift,
    lift_weights,
    pareto_front,
    quality,
    sensitivity,
    usual_test,
)

TRUE = np.array(
    [[1.0, 0.3, 0.1, 0.7], [0.3, 2.0, 0.2, 0.9], [0.1, 0.2, 0.5, 0.1], [0.7, 0.9, 0.1, 1.0]]
)
ERRORS = np.array([0.4, 1.5, 0.9, 0.8])


def usual(correlation=0.0):
    return usual_test(np.tile(ERRORS, (5, 1)), correlation)


def test_no_linear_proxy_correlates_more_with_the_true_lift():
    test = usual()

    weights = lift_weights(TRUE, test.noise_DD)

    def negative(w):
        toward = w @ TRUE[:3, 3]
        return -toward / np.sqrt(w @ (TRUE[:3, :3] + np.diag(ERRORS[:3] ** 2)) @ w * TRUE[3, 3])

    best = optimize.minimize(negative, [1.0, 1.0, 1.0], tol=1e-12)
    assert weights / weights[0] == pytest.approx(best.x / best.x[0], rel=1e-3)
    found = correlation_with_lift(weights, TRUE, test.noise_DD[:3, :3])
    assert found == pytest.approx(-best.fun)


def test_weights_are_the_regression_of_true_lifts_on_measured_changes():
    rng = np.random.default_rng(0)
    true = rng.multivariate_normal(np.zeros(4), TRUE, size=200_000)
    seen = true[:, :3] + ERRORS[:3] * rng.standard_normal((len(true), 3))

    expected = np.linalg.lstsq(seen, true[:, 3], rcond=None)[0]

    assert lift_weights(TRUE, usual().noise_DD) == pytest.approx(expected, abs=0.01)


def test_the_noisier_the_test_the_less_a_noisy_metric_weighs():
    precise, noisy = (
        lift_weights(TRUE, noise_covariance(scale * ERRORS, 0.0)) for scale in (0.1, 3.0)
    )

    assert noisy[1] / noisy[0] < 0.5 * precise[1] / precise[0]


def test_no_random_proxy_exceeds_the_front_in_both():
    rng = np.random.default_rng(1)
    test = usual()
    noise = test.noise_DD[:3, :3]

    front = pareto_front(TRUE, test, level=0.95)

    tried = rng.standard_normal((4_000, 3))
    tried *= np.sign(tried @ TRUE[:3, 3])[:, None]
    direction = np.array([correlation_with_lift(w, TRUE, 0 * noise) for w in tried])
    share = np.array([sensitivity(w, TRUE[:3, :3], noise, level=0.95) for w in tried])
    for one in front:
        both = (direction > one.direction + 1e-6) & (share > one.sensitivity + 1e-6)
        assert not both.any()
    directions = [one.direction for one in front]
    assert directions == sorted(directions, reverse=True)
    shares = [one.sensitivity for one in front]
    assert shares == sorted(shares)
    # the ends: nothing tried is better in one
    assert directions[0] >= direction.max() - 1e-3
    assert shares[-1] >= share.max() - 1e-3
    # the portfolio is on it, between the ends
    weights = lift_weights(TRUE, test.noise_DD)
    own = correlation_with_lift(weights, TRUE, 0 * noise)
    assert directions[-1] < own < directions[0]


def test_sensitivity_is_the_share_of_significant_changes():
    rng = np.random.default_rng(2)
    w = np.array([1.0, -0.5, 0.0])
    noise = usual().noise_DD[:3, :3]
    seen = rng.multivariate_normal(np.zeros(3), TRUE[:3, :3] + noise, size=100_000) @ w

    share = (np.abs(seen) > 1.959964 * np.sqrt(w @ noise @ w)).mean()

    assert sensitivity(w, TRUE[:3, :3], noise, level=0.95) == pytest.approx(share, abs=0.01)


def test_a_metric_without_known_errors_has_no_sensitivity():
    errors = np.tile(ERRORS, (5, 1))
    errors[2, 1] = 0.0
    test = usual_test(errors, 0.0)
    draws = Draws(covariance_NDD=TRUE[None], kpi_NK=np.zeros((1, 5)))

    first, second = (quality(np.eye(3)[k], draws, test, level=0.95) for k in (0, 1))

    assert first.sensitivity
    assert second.sensitivity is None
    assert first.quality == pytest.approx(0.7 / np.sqrt(1 + 0.4**2))
    assert first.direction == pytest.approx(0.7)

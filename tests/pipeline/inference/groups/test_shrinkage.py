"""The posterior of the groups: against brute-force integration, and calibrated on what was planted."""

import numpy as np
import pytest
from scipy import integrate, stats

from pipeline.inference.groups.shrinkage import shrink, shrink_normal
from pipeline.results.family import Family
from tests.pipeline.inference.groups.worlds import of_users

LOGS = np.array([-2.30, -2.21, -2.28, -2.05])
VARIANCES = np.array([0.004, 0.006, 0.003, 0.008])


def brute_force(log_G, variance_G, scale, function):
    """Posterior mean of ``function(true_G)``, by integrating the density over A and a dense μ."""

    def at(spread):
        total = variance_G + spread**2
        own = spread**2 / total
        mu = np.linspace(log_G.min() - 3, log_G.max() + 3, 4001)[:, None]
        density = stats.norm.pdf(log_G, mu, np.sqrt(total)).prod(axis=1)
        density *= stats.halfcauchy.pdf(spread, scale=scale)
        mean = mu + own * (log_G - mu)
        steps = mu[1, 0] - mu[0, 0]
        return density.sum() * steps, (
            density * function(mean, spread**2 * variance_G / total)
        ).sum() * steps

    whole = integrate.quad(lambda a: at(a)[0], 0, 3, points=[0.02, 0.1, 0.5], limit=200)[0]
    return integrate.quad(lambda a: at(a)[1], 0, 3, points=[0.02, 0.1, 0.5], limit=200)[0] / whole


def test_mean_and_variance_of_a_difference_are_those_of_brute_force():
    found = shrink_normal(LOGS, VARIANCES, scale=0.05)

    difference = brute_force(LOGS, VARIANCES, 0.05, lambda mean, _: mean[:, 3] - mean[:, 0])
    square = brute_force(
        LOGS, VARIANCES, 0.05, lambda mean, v: (mean[:, 3] - mean[:, 0]) ** 2 + v[3] + v[0]
    )
    assert found.mean_G[3] - found.mean_G[0] == pytest.approx(difference, rel=2e-3)
    covariance = found.covariance_GG
    variance = covariance[3, 3] + covariance[0, 0] - 2 * covariance[0, 3]
    assert variance == pytest.approx(square - difference**2, rel=5e-3)


def test_the_change_is_the_mean_of_a_lognormal_and_its_interval():
    found = shrink_normal(LOGS, VARIANCES, scale=0.05)

    change = found.change(3, 0, level=0.9)

    middle = found.mean_G[3] - found.mean_G[0]
    block = found.covariance_GG
    error = (block[3, 3] + block[0, 0] - 2 * block[0, 3]) ** 0.5
    assert change.change == pytest.approx(np.exp(middle + error**2 / 2) - 1)
    assert change.interval == pytest.approx(
        [np.exp(middle + z * error) - 1 for z in (-1.644854, 1.644854)]
    )


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.5])
def test_groups_are_drawn_in_and_keep_their_order(scale):
    found = shrink_normal(LOGS, VARIANCES, scale=scale)

    assert np.ptp(found.mean_G) < np.ptp(LOGS)
    assert (found.mean_G.argmax(), found.mean_G.argmin()) == (3, 0)
    assert np.linalg.eigvalsh(found.covariance_GG).min() > 0


def test_precise_measurements_are_left_as_they_are():
    found = shrink_normal(LOGS, VARIANCES * 1e-6, scale=0.05)

    assert found.mean_G == pytest.approx(LOGS, abs=1e-4)
    assert np.diag(found.covariance_GG) == pytest.approx(VARIANCES * 1e-6, rel=0.01)


def test_a_group_without_success_has_half_an_event_and_an_amount_has_none():
    users = np.ones((3, 400))
    y = np.arange(400) < np.array([[0], [20], [30]])

    assert shrink(of_users(users, y), counted=True, scale=0.05) is not None
    amounts = of_users(users, 7 * y, Family.POISSON)
    assert shrink(amounts, counted=False, scale=0.05) is None
    assert shrink(of_users(users, 0 * y), counted=True, scale=0.05) is None


def test_the_unit_of_an_amount_changes_nothing():
    y = (np.random.default_rng(0).random((3, 400)) < 0.2) * np.array([[5.0], [6.0], [7.0]])
    one, hundred = (
        shrink(of_users(np.ones((3, 400)), unit * y, Family.POISSON), counted=False, scale=0.05)
        for unit in (1, 100)
    )

    assert one.change(2, 0, level=0.95).change == pytest.approx(
        hundred.change(2, 0, level=0.95).change
    )


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_on_average_the_best_group_is_as_good_as_expected(spread):
    rng, expected, true, measured = np.random.default_rng(3), [], [], []
    for _ in range(2_000):
        theta = spread * rng.standard_normal(5)
        log = theta + 0.06 * rng.standard_normal(5)
        best = log.argmax()
        found = shrink_normal(log, np.full(5, 0.06**2), scale=0.05)
        expected.append(found.change(best, 0, level=0.95).change if best else 0.0)
        true.append(np.expm1(theta[best] - theta[0]))
        measured.append(np.expm1(log[best] - log[0]))

    assert np.mean(expected) == pytest.approx(np.mean(true), abs=0.025)
    assert np.mean(measured) > np.mean(true) + 0.01

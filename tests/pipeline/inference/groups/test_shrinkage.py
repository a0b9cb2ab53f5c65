"""The posterior of the groups: against brute-force integration, and calibrated on what was planted."""

import numpy as np
import pytest
from scipy import integrate, stats

from pipeline.inference.groups.shrinkage import shrink, shrink_normal
from pipeline.results.family import Family
from tests.pipeline.inference.groups.worlds import of_users

LOGS = np.array([-2.30, -2.21, -2.28, -2.05])
VARIANCES = np.array([0.004, 0.006, 0.003, 0.008])
SCALE = 0.05


def brute_force(function):
    """Posterior mean of ``function(means of the true logarithms, their variances)``.

    The density of A and μ is integrated, on a dense grid of μ; given both, groups are independent.
    """

    def at(spread):
        total = VARIANCES + spread**2
        own = spread**2 / total
        mu = np.linspace(LOGS.min() - 3, LOGS.max() + 3, 4001)[:, None]
        density = stats.norm.pdf(LOGS, mu, np.sqrt(total)).prod(axis=1)
        density *= stats.halfcauchy.pdf(spread, scale=SCALE)
        found = function(mu + own * (LOGS - mu), spread**2 * VARIANCES / total)
        return np.array([density.sum(), (density * found).sum()])

    whole, part = (
        integrate.quad(lambda a, n=n: at(a)[n], 0, 3, points=[0.02, 0.1, 0.5], limit=200)[0]
        for n in (0, 1)
    )
    return part / whole


def test_the_expected_change_is_that_of_brute_force():
    found = shrink_normal(LOGS, VARIANCES, scale=SCALE).change(3, 0, level=0.9)

    expected = brute_force(
        lambda mean, variance: np.exp(mean[:, 3] - mean[:, 0] + (variance[3] + variance[0]) / 2) - 1
    )
    assert found.change == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_the_interval_are_quantiles_by_brute_force(end):
    found = shrink_normal(LOGS, VARIANCES, scale=SCALE).change(3, 0, level=0.9)

    log = np.log1p(found.interval[end])
    below = brute_force(
        lambda mean, variance: stats.norm.cdf(
            (log - mean[:, 3] + mean[:, 0]) / np.sqrt(variance[3] + variance[0] + 1e-18)
        )
    )
    assert below == pytest.approx((0.05, 0.95)[end], abs=2e-3)


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.5])
def test_groups_are_drawn_in_and_keep_their_order(scale):
    found = shrink_normal(LOGS, VARIANCES, scale=scale)

    changes = [found.change(group, 0, level=0.95).change for group in (1, 2, 3)]
    measured = np.expm1(LOGS - LOGS[0])[1:]
    assert (np.argsort(changes) == np.argsort(measured)).all()
    assert 0 < changes[2] < measured[2]


def test_precise_measurements_are_left_as_they_are():
    found = shrink_normal(LOGS, VARIANCES * 1e-6, scale=SCALE).change(3, 0, level=0.95)

    error = 1.96 * (VARIANCES[3] + VARIANCES[0]) ** 0.5 * 1e-3
    assert found.change == pytest.approx(np.expm1(LOGS[3] - LOGS[0]), abs=1e-4)
    assert np.log1p(found.interval) == pytest.approx(0.25 + np.array([-error, error]), abs=1e-5)


def test_groups_without_any_variance_have_a_change_too():
    found = shrink_normal(np.zeros(3), np.zeros(3), scale=SCALE).change(1, 0, level=0.95)

    assert (found.change, *found.interval) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_group_without_success_has_half_an_event_and_an_amount_has_none():
    users = np.ones((3, 400))
    y = np.arange(400) < np.array([[0], [20], [30]])

    assert shrink(of_users(users, y), counted=True, scale=SCALE) is not None
    amounts = of_users(users, 7 * y, Family.POISSON)
    assert shrink(amounts, counted=False, scale=SCALE) is None
    assert shrink(of_users(users, 0 * y), counted=True, scale=SCALE) is None


def test_the_unit_of_an_amount_changes_nothing():
    y = (np.random.default_rng(0).random((3, 400)) < 0.2) * np.array([[5.0], [6.0], [7.0]])
    one, hundred = (
        shrink(of_users(np.ones((3, 400)), unit * y, Family.POISSON), counted=False, scale=SCALE)
        for unit in (1, 100)
    )

    assert one.change(2, 0, level=0.95).change == pytest.approx(
        hundred.change(2, 0, level=0.95).change
    )


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_on_average_the_best_group_is_as_good_as_expected(spread):
    rng, expected, true, measured = np.random.default_rng(3), [], [], []
    for _ in range(2_000):
        theta = spread * rng.standard_normal(5)
        log = theta + 0.06 * rng.standard_normal(5)
        best = log.argmax()
        found = shrink_normal(log, np.full(5, 0.06**2), scale=SCALE)
        expected.append(found.change(best, 0, level=0.95).change if best else 0.0)
        true.append(np.expm1(theta[best] - theta[0]))
        measured.append(np.expm1(log[best] - log[0]))

    assert np.mean(expected) == pytest.approx(np.mean(true), abs=0.025)
    assert np.mean(measured) > np.mean(true) + 0.01

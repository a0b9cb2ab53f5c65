"""The marginal likelihood: against integration by brute force, and what it must not depend on."""

import numpy as np
import pytest
from scipy import integrate

from pipeline.inference.ranking.marginal_likelihood import SIGMA, log_marginal_likelihood

X = np.array([-1.1, -0.6, -0.1, 0.5, 1.3])
KPI = np.array([-2.31, -2.22, -2.24, -2.05, -1.98])
EQUAL = np.ones(5)
UNEQUAL = np.array([0.5, 1.5, 1.0, 0.7, 1.3])


def by_integration(x, left, y, h):
    """∫∫∫ Π N(y_i; a + b x_i, σ² h_i + b² c) da db dlogσ, in the same unit of the slope."""
    deviation = y.std(ddof=1)

    def likelihood(slope, log_sigma):
        variance = (deviation * np.exp(log_sigma)) ** 2 * h + slope**2 * left
        weight, residual = 1 / variance, y - slope * x
        mean = (weight * residual).sum() / weight.sum()
        squares = (weight * (residual - mean) ** 2).sum()
        return np.exp(-0.5 * squares) / np.sqrt(variance.prod() * weight.sum())

    middle, width = (x * y).sum() / (x**2).sum(), 40 * deviation
    total = integrate.dblquad(
        likelihood,
        np.log(SIGMA[0]),
        np.log(SIGMA[-1]),
        middle - width,
        middle + width,
        epsabs=0,
        epsrel=1e-3,
    )[0]
    return np.log(total) + 0.5 * np.log((x**2).mean() + left)


@pytest.mark.slow
@pytest.mark.parametrize(("h", "left"), [(EQUAL, 0.0), (UNEQUAL, 0.1)])
def test_ratios_of_likelihoods_are_those_of_integration_by_brute_force(h, left):
    other = X[[1, 0, 3, 2, 4]]
    c = np.array(left)

    found = [log_marginal_likelihood(x, c, KPI, h) for x in (X, other)]
    expected = [by_integration(x, left, KPI, h) for x in (X, other)]

    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], abs=0.03)


def test_it_depends_on_neither_the_unit_nor_the_sign_of_the_metric_nor_the_unit_of_the_kpi():
    other, c = X[[1, 0, 3, 2, 4]], np.array(0.0)

    def ratio(x, y):
        found = log_marginal_likelihood(x, c, y, EQUAL)
        return found - log_marginal_likelihood(other, c, y, EQUAL)

    assert ratio(-7 * X, KPI) == pytest.approx(ratio(X, KPI))
    assert ratio(X, 100 * KPI + 3) == pytest.approx(ratio(X, KPI))


def test_axes_before_the_groups_are_experiments_or_metrics():
    metrics_KG, left_K = np.stack([X, X**3]), np.array([0.0, 0.2])

    together = log_marginal_likelihood(metrics_KG, left_K, KPI[None], EQUAL[None])

    alone = [
        log_marginal_likelihood(x, c, KPI, EQUAL) for x, c in zip(metrics_KG, left_K, strict=True)
    ]
    assert together == pytest.approx(np.array(alone))

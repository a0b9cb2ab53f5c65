"""The hierarchical model of true effects: Gibbs' draws against quadrature, and planted truths."""

import numpy as np
import pytest

from pipeline.inference.proxies.latent_effects import MeasuredEffects, noise_covariance, sample


def measured(values, errors, correlation=0.0, used=None):
    used = np.ones(values.shape[:-1], dtype=bool) if used is None else used
    return MeasuredEffects(
        values_KD=values,
        errors_KD=np.broadcast_to(errors, values.shape),
        correlation=correlation,
        used_K=used,
    )


def by_quadrature(y, s):
    """The slow twin: Huang and Wand's prior times the likelihood on a grid of Λ, for two outcomes."""
    scale = np.sqrt((y**2).mean(axis=0))
    y, s = y / scale, s / scale
    sd = np.geomspace(0.05, 12, 70)
    a, b, r = np.meshgrid(sd, sd, np.linspace(-0.99, 0.99, 67), indexing="ij")
    det = a**2 * b**2 * (1 - r**2)
    # |Λ|^-(ν + 2d)/2 Π (ν (Λ⁻¹)_jj + 1 / A²)^-(ν + d)/2 with ν = d = 2, A = 1; Jacobian to (a, b, r), and
    # of the logarithmic grid
    prior = -3 * np.log(det) + np.log(a**2 * b**2)
    for one in (a, b):
        prior -= 2 * np.log(2 / (one**2 * (1 - r**2)) + 1)
    log = prior + np.log(a * b)
    for (y1, y2), (s1, s2) in zip(y, s, strict=True):
        v1, v2, c = a**2 + s1**2, b**2 + s2**2, r * a * b
        d = v1 * v2 - c**2
        log += -0.5 * np.log(d) - 0.5 * (v2 * y1**2 - 2 * c * y1 * y2 + v1 * y2**2) / d
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    return {
        "r": (weights * r).sum(),
        "metric": (weights * a).sum() * scale[0],
        "kpi": (weights * b).sum() * scale[1],
    }


def test_draws_are_those_of_quadrature():
    rng = np.random.default_rng(3)
    true = rng.multivariate_normal([0, 0], [[4, 1.5], [1.5, 1]], size=12)
    s = np.exp(rng.normal(-0.5, 0.4, (12, 2)))
    y = true + s * rng.standard_normal((12, 2))

    # 8 chains are 8 leading elements
    many = measured(np.broadcast_to(y, (8, 12, 2)), s)
    draws = sample(many, np.random.default_rng(0), draws=500, burn_in=100)

    expected = by_quadrature(y, s)
    c = draws.covariance_NDD
    sd = np.sqrt(c.diagonal(axis1=-2, axis2=-1))
    found = {
        "r": c[..., 0, 1] / sd.prod(axis=-1),
        "metric": sd[..., 0],
        "kpi": sd[..., 1],
    }
    for name, values in found.items():
        error = values.mean(axis=0).std(ddof=1) / 8**0.5
        assert abs(values.mean() - expected[name]) < 4 * error + 0.01 * abs(expected[name]), name


def test_true_effects_are_shrunk_as_by_the_known_covariance():
    """With many contrasts Λ is known, and E[z | y] = Λ (Λ + N)⁻¹ y."""
    rng = np.random.default_rng(1)
    true_DD = np.array([[1.0, 0.6], [0.6, 1.0]])
    true = rng.multivariate_normal([0, 0], true_DD, size=2_000)
    errors = np.array([0.5, 2.0])
    noise_DD = noise_covariance(errors, 0.4)
    y = true + rng.multivariate_normal([0, 0], noise_DD, size=2_000)

    draws = sample(measured(y, errors, 0.4), rng, draws=120, burn_in=60)

    assert draws.covariance_NDD.mean(axis=0) == pytest.approx(true_DD, abs=0.35)
    expected = (y @ np.linalg.solve(true_DD + noise_DD, true_DD))[:, 1]
    assert np.corrcoef(draws.kpi_NK.mean(axis=0), expected)[0, 1] > 0.97


def test_units_do_not_matter_and_unused_contrasts_teach_nothing():
    rng = np.random.default_rng(2)
    y, s = rng.normal(size=(10, 2)), np.full((10, 2), 0.5)
    used = np.arange(10) < 8
    other = np.where(used[:, None], y, 50.0)

    first, units, unused = (
        sample(one, np.random.default_rng(5), draws=20, burn_in=5).covariance_NDD
        for one in (
            measured(y, s, used=used),
            measured(y * [1e-3, 1e4], s * [1e-3, 1e4], used=used),
            measured(other, s, used=used),
        )
    )

    assert units == pytest.approx(first * np.outer([1e-3, 1e4], [1e-3, 1e4]), rel=1e-6)
    assert unused == pytest.approx(first)


def test_the_errors_of_metrics_share_those_of_the_kpi():
    found = noise_covariance(np.array([1.0, 2.0, 3.0]), 0.5)

    # correlations: 0.5 with the KPI, 0.5² of two metrics
    assert found == pytest.approx(np.array([[1, 0.5, 1.5], [0.5, 4, 3], [1.5, 3, 9]]))

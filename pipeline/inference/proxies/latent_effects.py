"""The true effects of past tests, of which the measured ones are noisy: a hierarchical model.

The true effects of one contrast on D outcomes (M metrics, then the KPI) are ``z ~ N(0, Λ)``, the measured
ones ``y = z + e`` with errors of known size: the denoising of Tripuraneni et al. (2023, arXiv 2309.07893,
section 3). Effects have the mean 0, because exchanging control and variant changes nothing. The prior of Λ
is Huang and Wand's (2013) with two degrees of freedom: correlations are uniform, standard deviations
half-t with the scale of the measured effects. It is conjugate, so Gibbs' sampler draws Λ, and z, exactly.

Leading axes of all arrays are independent data sets (folds, or simulated worlds), sampled together.

Shape suffixes: K contrasts, D outcomes, M metrics, N draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.results.family import Floats

_PRIOR_DF = 2
_ROUND_OFF = 1e-9
"""Added to the variance of errors, relative to the outcome's; a metric measured exactly has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEffects:
    """Measured effects of uncorrelated contrasts, the KPI last.

    Attributes:
        values_KD: The effects.
        errors_KD: Their standard errors; 0 where a metric's is unknown.
        correlation: Of a metric's errors with the KPI's. Given the KPI's, the errors of two metrics are
            independent.
        used_K: Whether a contrast is used; the effects of others are drawn, too, from what they measured.
    """

    values_KD: Floats
    errors_KD: Floats
    correlation: float
    used_K: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Draws from the posterior.

    Attributes:
        covariance_NDD: Of the true effects, Λ.
        kpi_NK: True effects on the KPI.
    """

    covariance_NDD: Floats
    kpi_NK: Floats


def noise_covariance(errors_KD: Floats, correlation: float) -> Floats:
    """Covariance of the errors of the D outcomes: one factor, the KPI's error."""
    d = errors_KD.shape[-1]
    loading_D = np.append(np.full(d - 1, correlation), 1.0)
    correlations_DD = np.outer(loading_D, loading_D)
    np.fill_diagonal(correlations_DD, 1.0)
    return errors_KD[..., :, None] * errors_KD[..., None, :] * correlations_DD


def sample(
    measured: MeasuredEffects, rng: np.random.Generator, *, draws: int, burn_in: int
) -> Draws:
    """Draw from the posterior of Λ and of the true effects; draws are the first axis."""
    kept = list(_chain(measured, rng, draws=draws, burn_in=burn_in))
    covariances, effects = zip(*kept, strict=True)
    return Draws(covariance_NDD=np.array(covariances), kpi_NK=np.array(effects))


def _chain(
    measured: MeasuredEffects, rng: np.random.Generator, *, draws: int, burn_in: int
) -> Iterator[tuple[Floats, Floats]]:
    used_K1 = measured.used_K[..., None]
    squares = np.where(used_K1, measured.values_KD**2, 0.0).sum(axis=-2)
    count = measured.used_K.sum(axis=-1)
    # in units of the measured spread, so that one prior fits all outcomes
    scale_1D = np.sqrt(squares / count[..., None])[..., None, :]
    scale_1D = np.where(scale_1D > 0, scale_1D, 1.0)
    scaled = replace(
        measured,
        values_KD=measured.values_KD / scale_1D,
        errors_KD=np.sqrt((measured.errors_KD / scale_1D) ** 2 + _ROUND_OFF),
    )
    noise_KDD = noise_covariance(scaled.errors_KD, measured.correlation)
    d = noise_KDD.shape[-1]
    back_DD = scale_1D.swapaxes(-1, -2) * scale_1D
    covariance_DD = np.broadcast_to(np.eye(d), (*count.shape, d, d))
    for step in range(burn_in + draws):
        z_KD = _draw_effects(covariance_DD, noise_KDD, scaled, rng)
        used_KD = np.where(used_K1, z_KD, 0.0)
        scatter_DD = used_KD.swapaxes(-1, -2) @ used_KD
        covariance_DD = _draw_covariance(covariance_DD, scatter_DD, count, rng)
        if step >= burn_in:
            yield covariance_DD * back_DD, z_KD[..., -1] * scale_1D[..., -1]


def _draw_effects(
    covariance_DD: Floats, noise_KDD: Floats, measured: MeasuredEffects, rng: np.random.Generator
) -> Floats:
    """True effects given the measured ones: a draw from the prior, moved by what it lacks.

    The draw is measured with a draw of the errors; of the difference to what was measured, the share of
    the prior in the total variance is added.
    """
    shape, correlation = measured.values_KD.shape, measured.correlation
    root_DD = np.linalg.cholesky(covariance_DD)
    prior_KD = rng.standard_normal(shape) @ root_DD.swapaxes(-1, -2)
    unit_KD = rng.standard_normal(shape)
    own = (1 - correlation**2) ** 0.5
    unit_KD[..., :-1] = correlation * unit_KD[..., -1:] + own * unit_KD[..., :-1]
    lacks_KD = measured.values_KD - prior_KD - measured.errors_KD * unit_KD
    total_KDD = covariance_DD[..., None, :, :] + noise_KDD
    weighted_KD = np.linalg.solve(total_KDD, lacks_KD[..., None])[..., 0]
    return np.asarray(prior_KD + weighted_KD @ covariance_DD, dtype=np.float64)


def _draw_covariance(
    covariance_DD: Floats, scatter_DD: Floats, count: Floats, rng: np.random.Generator
) -> Floats:
    """Λ given z: inverse Wishart, whose scale has inverse gamma distributed elements (Huang & Wand)."""
    d = covariance_DD.shape[-1]
    precision_D = np.linalg.inv(covariance_DD).diagonal(axis1=-2, axis2=-1)
    inverse_a_D = rng.gamma((_PRIOR_DF + d) / 2, 1 / (_PRIOR_DF * precision_D + 1))
    scale_DD = scatter_DD + 2 * _PRIOR_DF * inverse_a_D[..., None] * np.eye(d)
    degrees = np.asarray(count, dtype=np.float64)[..., None] + _PRIOR_DF + d - 1
    root_DD = np.linalg.cholesky(np.linalg.inv(scale_DD))
    # Bartlett (1933): the Wishart matrix is L A Aᵀ Lᵀ
    a_DD = np.tril(rng.standard_normal(covariance_DD.shape), -1)
    diagonal_D = np.sqrt(rng.chisquare(degrees - np.arange(d)))
    a_DD = a_DD + diagonal_D[..., None] * np.eye(d)
    factor_DD = np.linalg.inv(root_DD @ a_DD)
    return np.asarray(factor_DD.swapaxes(-1, -2) @ factor_DD, dtype=np.float64)

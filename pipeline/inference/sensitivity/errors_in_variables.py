"""Measurement error in the offline metrics (errors in variables).

All groups' metrics are measured on the same test sessions, so their errors are correlated, as in
``offline_metric_covariance``. An error in x attenuates a slope and adds to its variance.
"""

import numpy as np

from pipeline.inference.glm.batched_newton import fit_batch
from pipeline.inference.glm.group_regression import GroupSums, LineFit
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Floats
from pipeline.results.reasons import Covariance
from pipeline.results.slopes import MeasurementError

_IMPUTATIONS = 500
_ZETAS = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
_SIMULATIONS = 200
_LEAST_RELIABILITY = 0.5


def measurement_error(
    values: Floats, covariance_GG: Floats, sums: GroupSums, fit: LineFit, *, seed: int
) -> MeasurementError | None:
    """Fit the line to metrics drawn from their errors; None if a draw has no finite slope.

    ``fit`` is the regression on the measured ``values``, one metric per group.
    """
    rng = np.random.default_rng([seed, len(values)])
    root_GG = matrix_sqrt(covariance_GG)
    noise_KG = rng.standard_normal((_IMPUTATIONS, len(values))) @ root_GG.T
    drawn = _slopes(values + noise_KG, sums)
    if not np.isfinite(drawn).all():
        return None
    between = (1 + 1 / _IMPUTATIONS) * drawn.var(ddof=1)
    error = float(np.sqrt(fit.cluster_robust.standard_error**2 + between))
    x_covariance_GG = relative_change_covariance(values, covariance_GG)
    centring_GG = np.eye(len(values)) - 1 / len(values)
    error_variance = np.trace(centring_GG @ x_covariance_GG) / (len(values) - 1)
    x_variance = (values / values.min()).var(ddof=1)
    reliability = float(1 - error_variance / x_variance)
    return MeasurementError(
        reliability=reliability,
        propagated=wald_test(
            fit.slope,
            error,
            covariance=Covariance.MEASUREMENT_ERROR,
            level=fit.cluster_robust.level,
        ),
        extrapolated_slope=_extrapolated(values, root_GG, sums, fit, rng)
        if reliability > _LEAST_RELIABILITY
        else None,
    )


def relative_change_covariance(values: Floats, covariance_GG: Floats) -> Floats:
    """Covariance of the errors of x = M / min M - 1, from that of M (delta method)."""
    jacobian_GG = relative_change_jacobian(values, int(values.argmin()))
    return jacobian_GG @ covariance_GG @ jacobian_GG.T


def relative_change_jacobian(values: Floats, reference: int) -> Floats:
    """Derivative of x = M / M_reference - 1 by M.

    The reference is treated as known: its x is 0 without error.
    """
    jacobian_GG = np.eye(len(values)) / values[reference]
    jacobian_GG[:, reference] -= values / values[reference] ** 2
    return jacobian_GG


def _slopes(values_KG: Floats, sums: GroupSums) -> Floats:
    """The slope for every row of metrics; nan where a metric is not positive."""
    smallest_K1 = values_KG.min(axis=1, keepdims=True)
    x_KG = np.where(smallest_K1 > 0, values_KG / smallest_K1 - 1, np.nan)
    return fit_batch(x_KG, sums)[1]


def _extrapolated(
    values: Floats, root_GG: Floats, sums: GroupSums, fit: LineFit, rng: np.random.Generator
) -> float | None:
    """SIMEX: the mean slope with (1 + ζ) times the error variance, extrapolated to ζ = -1."""
    noise_KG = rng.standard_normal((_SIMULATIONS, len(values))) @ root_GG.T
    means = [_slopes(values + zeta**0.5 * noise_KG, sums).mean() for zeta in _ZETAS[1:]]
    curve = np.array([fit.slope, *means])
    if not np.isfinite(curve).all():
        return None
    return float(np.polyval(np.polyfit(_ZETAS, curve, deg=2), -1.0))


def matrix_sqrt(covariance_GG: Floats) -> Floats:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance_GG)
    return vectors * np.sqrt(np.maximum(values, 0))

"""The offline metrics are estimates themselves: what that does to a slope.

All groups' metrics are measured on the same test sessions, so their errors go together, as
``offline_metric_covariance`` says. An error in x pulls a slope towards 0 and widens what is known
of it.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.batched_newton import fit_batch
from pipeline.inference.glm.group_regression import GroupSums, LineFit
from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.results.family import Floats

_IMPUTATIONS = 500
_ZETAS = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
_SIMULATIONS = 200
_LEAST_RELIABILITY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorsInVariables:
    """What measuring the metric adds to the error of a slope.

    Attributes:
        reliability: Share of the variance of x between groups that is not error of measurement, at
            most 1; the slope shrinks by about this factor (Fuller 1987, 1.1).
        propagated: The slope with the user-clustered error and the spread of the slopes over
            metrics drawn anew, added up (multiple imputation; Rubin 1987, 3.1).
        extrapolated_slope: The slope as if x were measured without error, from what more error does
            to it (SIMEX with a quadratic; Cook & Stefanski 1994); None if reliability is below a
            half, where that says nothing.
    """

    reliability: float
    propagated: SlopeTest
    extrapolated_slope: float | None


def relative_change_se(values: Floats, covariance_GG: Floats | None) -> Floats:
    """Standard error of each group's ``M / min M - 1``, a fraction; nan where it is not known.

    By the delta method with the worst group w: ``Var(M) - 2 r Cov(M, M_w) + r² Var(M_w)`` over
    ``M_w²``, r = M / M_w. The worst group itself has no error: its change is 0 by definition.
    """
    if covariance_GG is None or np.isnan(values).any() or values.min() <= 0:
        return np.full(len(values), np.nan)
    worst = int(values.argmin())
    ratio, base = values / values[worst], covariance_GG[worst, worst]
    variance = covariance_GG.diagonal() - 2 * ratio * covariance_GG[worst] + ratio**2 * base
    return np.sqrt(np.maximum(variance, 0)) / values[worst]


def errors_in_variables(
    values: Floats, covariance_GG: Floats, sums: GroupSums, fit: LineFit, *, seed: int
) -> ErrorsInVariables | None:
    """Draw the groups' metrics anew and fit each time; None if a draw gives no slope.

    Args:
        values: The metric of each group.
        covariance_GG: Of their errors.
        sums: Of the groups.
        fit: The regression on the metrics as they were measured.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, len(values)])
    root_GG = matrix_sqrt(covariance_GG)
    noise_KG = rng.standard_normal((_IMPUTATIONS, len(values))) @ root_GG.T
    drawn = _slopes(values + noise_KG, sums)
    if not np.isfinite(drawn).all():
        return None
    between = (1 + 1 / _IMPUTATIONS) * drawn.var(ddof=1)
    error = float(np.sqrt(fit.clustered.standard_error**2 + between))
    x_covariance_GG = relative_change_covariance(values, covariance_GG)
    centring_GG = np.eye(len(values)) - 1 / len(values)
    error_variance = np.trace(centring_GG @ x_covariance_GG) / (len(values) - 1)
    x_variance = (values / values.min()).var(ddof=1)
    reliability = float(1 - error_variance / x_variance)
    return ErrorsInVariables(
        reliability=reliability,
        propagated=wald_test(
            fit.slope, error, covariance="user-clustered and error in x", level=fit.clustered.level
        ),
        extrapolated_slope=_extrapolated(values, root_GG, sums, fit, rng)
        if reliability > _LEAST_RELIABILITY
        else None,
    )


def relative_change_covariance(values: Floats, covariance_GG: Floats) -> Floats:
    """Covariance of the errors of x = M / min M - 1, from that of M (delta method).

    The worst group is taken for the worst, whatever its error: its x is 0 without error.
    """
    worst = int(values.argmin())
    jacobian_GG = np.eye(len(values)) / values[worst]
    jacobian_GG[:, worst] -= values / values[worst] ** 2
    return jacobian_GG @ covariance_GG @ jacobian_GG.T


def _slopes(values_KG: Floats, sums: GroupSums) -> Floats:
    """The slope for every row of metrics; nan where a metric is not positive."""
    smallest_K1 = values_KG.min(axis=1, keepdims=True)
    x_KG = np.where(smallest_K1 > 0, values_KG / smallest_K1 - 1, np.nan)
    return fit_batch(x_KG, sums)[1]


def _extrapolated(
    values: Floats, root_GG: Floats, sums: GroupSums, fit: LineFit, rng: np.random.Generator
) -> float | None:
    """SIMEX: the mean slope under (1 + ζ) times the error, carried on to ζ = -1."""
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

"""What chosen groups say of several metrics in one regression: whether their slopes can be told apart.

The plan asks it of candidate groups, the analysis of those that were served, so both refuse the same
designs. A partial slope is that of one metric with the others held fixed.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST_INFLATION = 10.0
"""Variance inflation above which no partial slope is stated (Kutner, Nachtsheim, Neter & Li 2005, 10.5).

Two metrics reach it where they correlate at 0.949 over the groups."""

_LEAST_EIGENVALUE = 1e-12
_INFINITE = 1e9


def fewest_groups(metrics: int) -> int:
    """Groups that a regression on several metrics needs: two more than coefficients.

    With one more, the deviations of the groups have one degree of freedom, and an interval is 13
    standard errors to each side.
    """
    return metrics + 3


def information_matrix(x_GK: Floats, weights_G: Floats, noise_KKGG: Floats | None = None) -> Floats:
    """Information on the slopes of K metrics in one regression, net of the intercept.

    ``Σ d (x - x̄)(x - x̄)ᵀ``, less what the errors of the metrics contribute. A metric's marginal slope
    has the variance ``1 / M_kk``, its partial slope ``(M⁻¹)_kk``.

    Args:
        x_GK: The metrics of the groups; axes before are designs.
        weights_G: d, the information of a group on the link of its rate: share of the users times
            the information of a user.
        noise_KKGG: Covariance of the errors of metric k in group g and metric l in group h; None to
            take the metrics as they are.

    Returns:
        One K × K matrix per design; with errors it may have negative eigenvalues.
    """
    total = weights_G.sum(axis=-1, keepdims=True)
    mean_K = (weights_G[..., None] * x_GK).sum(axis=-2) / total
    centred_GK = x_GK - mean_K[..., None, :]
    found_KK = np.swapaxes(centred_GK, -1, -2) @ (weights_G[..., None] * centred_GK)
    if noise_KKGG is None:
        return found_KK
    own_GG = weights_G[..., None] * np.eye(weights_G.shape[-1])
    centring_GG = own_GG - weights_G[..., None] * weights_G[..., None, :] / total[..., None]
    return found_KK - np.einsum("...gh,...klgh->...kl", centring_GG, noise_KKGG)


def variance_inflation(information_KK: Floats) -> Floats:
    """Variance inflation factor of each metric, ``M_kk (M⁻¹)_kk``: 1 or more, inf if not separable.

    The factor by which the variance of a slope grows because the other metrics are in the regression
    (Marquardt 1970): ``1 / (1 - R²)``, R² that of the metric on the others over the groups.

    Args:
        information_KK: From :func:`information_matrix`; axes before are designs.
    """
    correlation_KK = metric_correlations(information_KK)
    unknown_K = ~(np.einsum("...kk->...k", information_KK) > 0)
    values_K, vectors_KK = np.linalg.eigh(correlation_KK)
    inverse_K = 1 / np.maximum(values_K, _LEAST_EIGENVALUE)
    found_K = np.einsum("...kj,...j->...k", vectors_KK**2, inverse_K)
    return np.where(unknown_K | (found_K > _INFINITE), np.inf, np.maximum(found_K, 1.0))


def partial_information(information_KK: Floats) -> Floats:
    """Information on each metric's partial slope, ``1 / (M⁻¹)_kk``; 0 if it is not separable.

    The criterion of D_s-optimality (Atkinson, Donev & Tobias 2007, ch. 10).

    Args:
        information_KK: From :func:`information_matrix`; axes before are designs.
    """
    own_K = np.maximum(np.einsum("...kk->...k", information_KK), 0.0)
    return own_K / variance_inflation(information_KK)


def metric_correlations(information_KK: Floats) -> Floats:
    """Correlation of the metrics over the groups, weighted by information; 0 for a constant metric."""
    own_K = np.einsum("...kk->...k", information_KK)
    deviation_K = np.sqrt(np.where(own_K > 0, own_K, np.inf))
    found_KK = information_KK / deviation_K[..., :, None] / deviation_K[..., None, :]
    unit_KK = np.eye(information_KK.shape[-1])
    return np.where(unit_KK > 0, 1.0, found_KK)


def collinear_with(information_KK: Floats, metric: int) -> tuple[int, ...]:
    """The fewest other metrics that a metric cannot be told apart from; empty if it can be.

    Those whose variance inflation with it alone is too large; or else others are added one by one,
    each the one that inflates most, until it is.
    """
    others = [k for k in range(len(information_KK)) if k != metric]

    def inflation(chosen: list[int]) -> float:
        places = [metric, *chosen]
        return float(variance_inflation(information_KK[np.ix_(places, places)])[0])

    if inflation(others) <= LARGEST_INFLATION:
        return ()
    if alone := [k for k in others if inflation([k]) > LARGEST_INFLATION]:
        return tuple(alone)
    found: list[int] = []
    while inflation(found) <= LARGEST_INFLATION:
        found.append(
            max((k for k in others if k not in found), key=lambda k: inflation([*found, k]))
        )
    return tuple(sorted(found))

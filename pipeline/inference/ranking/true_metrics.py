"""Joint regression calibration: the true metrics of the groups, given all measured ones."""

import numpy as np

from pipeline.results.family import Floats

_LEAST_ERROR = 1e-6
"""Share of a metric's variance that is at least taken for error, so that all can be divided by it."""


def true_metrics(metrics_GK: Floats, error_variance_K: Floats) -> tuple[Floats, Floats]:
    """The expected true metrics given all measured ones, and the variance that is left.

    The noise of one metric is partly known from the others, which measure the same groups. With S
    the correlation of the metrics over the groups and E the share of each one's variance that is
    error, the true metrics have covariance Λ = S - E, its eigenvalues (relative to E) at least 0,
    and ``E[ξ | x] = x (Λ + E)⁻¹ Λ`` (Carroll, Ruppert, Stefanski & Crainiceanu 2006, 4.4.2).

    Args:
        metrics_GK: Measured metrics, none constant; axes before are experiments.
        error_variance_K: Mean error variance of each centred metric; 0 without error.

    Returns:
        Centred true metrics, and their remaining variance per metric; both in units of the measured
        standard deviation over the groups.
    """
    centred_GK = metrics_GK - metrics_GK.mean(axis=-2, keepdims=True)
    deviation_K = centred_GK.std(axis=-2, ddof=1)
    x_GK = centred_GK / deviation_K[..., None, :]
    correlation_KK = np.swapaxes(x_GK, -1, -2) @ x_GK / (x_GK.shape[-2] - 1)
    error_K = np.maximum(error_variance_K / deviation_K**2, _LEAST_ERROR)
    root_K = np.sqrt(error_K)
    values_K, vectors_KK = np.linalg.eigh(
        correlation_KK / (root_K[..., :, None] * root_K[..., None, :])
    )
    half_KK = vectors_KK * root_K[..., :, None]
    signal_KK = (half_KK * np.maximum(values_K - 1, 0)[..., None, :]) @ np.swapaxes(half_KK, -1, -2)
    total_KK = signal_KK + error_K[..., None, :] * np.eye(error_K.shape[-1])
    weights_KK = np.linalg.solve(total_KK, signal_KK)
    explained_KK = np.swapaxes(signal_KK, -1, -2) @ weights_KK
    left_K = np.einsum("...kk->...k", signal_KK - explained_KK)
    return x_GK @ weights_KK, np.maximum(left_K, 0.0)

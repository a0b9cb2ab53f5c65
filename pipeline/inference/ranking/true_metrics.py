"""Joint regression calibration: the true metrics of the groups, given all measured ones."""

import numpy as np

from pipeline.results.family import Floats

_LEAST_ERROR = 1e-6
"""Share of a metric's variance that is taken for error of its own, so that all can be inverted."""


def true_metrics(metrics_GK: Floats, error_KK: Floats) -> tuple[Floats, Floats]:
    """The expected true metrics given all measured ones, and the variance that is left.

    The noise of one metric is partly known from the others, which measure the same groups. With S
    the covariance of the metrics over the groups and E that of their errors, the true metrics have
    covariance Λ = S - E, its eigenvalues (relative to E) at least 0, and
    ``E[ξ | x] = x (Λ + E)⁻¹ Λ`` (Carroll, Ruppert, Stefanski & Crainiceanu 2006, 4.4.2).

    Args:
        metrics_GK: Measured metrics, none constant; axes before are experiments.
        error_KK: Covariance of the errors of the centred metrics, the mean over the groups; 0
            without error.

    Returns:
        Centred true metrics, and their remaining variance per metric; both in units of the measured
        standard deviation over the groups.
    """
    x_GK, error_KK = standardised(metrics_GK, error_KK)
    correlation_KK = np.swapaxes(x_GK, -1, -2) @ x_GK / (x_GK.shape[-2] - 1)
    root_KK = np.linalg.cholesky(error_KK)
    inverse_KK = np.linalg.inv(root_KK)
    values_K, vectors_KK = np.linalg.eigh(
        inverse_KK @ correlation_KK @ np.swapaxes(inverse_KK, -1, -2)
    )
    half_KK = root_KK @ vectors_KK
    signal_KK = (half_KK * np.maximum(values_K - 1, 0)[..., None, :]) @ np.swapaxes(half_KK, -1, -2)
    weights_KK = np.linalg.solve(signal_KK + error_KK, signal_KK)
    explained_KK = np.swapaxes(signal_KK, -1, -2) @ weights_KK
    left_K = np.einsum("...kk->...k", signal_KK - explained_KK)
    return x_GK @ weights_KK, np.maximum(left_K, 0.0)


def standardised(metrics_GK: Floats, error_KK: Floats) -> tuple[Floats, Floats]:
    """Centred metrics of variance 1 over the groups, and the covariance of their errors."""
    centred_GK = metrics_GK - metrics_GK.mean(axis=-2, keepdims=True)
    deviation_K = centred_GK.std(axis=-2, ddof=1)
    unit_KK = deviation_K[..., :, None] * deviation_K[..., None, :]
    own_KK = _LEAST_ERROR * np.eye(metrics_GK.shape[-1])
    return centred_GK / deviation_K[..., None, :], error_KK / unit_KK + own_KK

"""How likely the KPI of the groups is if it follows a metric, whatever line and deviation."""

import numpy as np
from scipy.special import logsumexp

from pipeline.results.family import Floats

SIGMA = np.geomspace(0.01, 3.0, 28)
"""Deviation of the groups from the line, in units of the KPI's standard deviation."""

_STEPS = np.tan(1.5 * np.linspace(-1.0, 1.0, 61))
_LOG_WIDTHS = np.log(np.gradient(_STEPS))
"""Slopes around least squares, in units of its error: dense in the middle, with heavy tails."""


def log_marginal_likelihood(
    metric_G: Floats, metric_variance: Floats, kpi_G: Floats, variance_G: Floats
) -> Floats:
    """Log marginal likelihood of the KPI given a metric, up to a constant of the KPI.

    ``y_i ~ N(a + b ξ_i, σ² h_i + b² c)`` with flat a, b flat in units of the metric's standard
    deviation, and log σ flat on the range of :data:`SIGMA`. One σ covers sampling and the groups'
    own deviations from the line, so that the likelihood does not depend on how large either is.
    The integral over a is exact, the others are sums on a grid.

    Args:
        metric_G: Expected true metric, centred; axes before are metrics or experiments.
        metric_variance: c, what is left of its variance; 0 without error.
        kpi_G: Working response, not constant.
        variance_G: h, relative variances of the groups, their mean 1.
    """
    deviation = kpi_G.std(axis=-1, ddof=1)
    slope, error = _least_squares(metric_G, kpi_G, SIGMA[0] * deviation)
    slope_B = (slope[..., None] + error[..., None] * _STEPS)[..., :, None, None]
    sigma_S = deviation[..., None, None, None] * SIGMA[:, None]
    total_BSG = (
        sigma_S**2 * variance_G[..., None, None, :]
        + slope_B**2 * metric_variance[..., None, None, None]
    )
    residual_BSG = kpi_G[..., None, None, :] - slope_B * metric_G[..., None, None, :]
    weight_BSG = 1 / total_BSG
    weight_BS = weight_BSG.sum(axis=-1)
    mean_BS = (weight_BSG * residual_BSG).sum(axis=-1) / weight_BS
    squares_BS = (weight_BSG * (residual_BSG - mean_BS[..., None]) ** 2).sum(axis=-1)
    log_BS = -0.5 * (np.log(total_BSG).sum(axis=-1) + np.log(weight_BS) + squares_BS)
    spread = np.sqrt((metric_G**2).mean(axis=-1) + metric_variance)
    unit = np.log(error) + np.log(np.maximum(spread, 1e-9))
    return logsumexp(log_BS + _LOG_WIDTHS[:, None], axis=(-1, -2)) + unit


def _least_squares(
    metric_G: Floats, kpi_G: Floats, least_deviation: Floats
) -> tuple[Floats, Floats]:
    """The slope and its standard error; deviations from the line are at least ``least_deviation``."""
    squares = np.maximum((metric_G**2).sum(axis=-1), 1e-12)
    centred_G = kpi_G - kpi_G.mean(axis=-1, keepdims=True)
    slope = (metric_G * centred_G).sum(axis=-1) / squares
    residual_G = centred_G - slope[..., None] * metric_G
    variance = (residual_G**2).sum(axis=-1) / (kpi_G.shape[-1] - 2)
    return slope, np.sqrt(np.maximum(variance, least_deviation**2) / squares)

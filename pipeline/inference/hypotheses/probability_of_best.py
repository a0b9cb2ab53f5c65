"""The probability that a metric is the best predictor of a KPI, by parametric bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.sensitivity.errors_in_variables import matrix_sqrt
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.family import Floats

_DRAWS = 2_000
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of the groups, with its sampling distribution.

    Attributes:
        values: One per group.
        replicates_RG: Bootstrap replicates, on the same test sets for all metrics; None if unknown.
        covariance_GG: Of the values' errors, for metrics without replicates; None for no error.
    """

    values: Floats
    replicates_RG: Floats | None = None
    covariance_GG: Floats | None = None


def probabilities_of_best(
    metrics: Sequence[Measured], sums: GroupSums, *, seed: int
) -> list[float] | None:
    """Share of the draws in which each metric has the least lack of fit; they sum to 1.

    A draw samples every group's KPI from its cluster-robust error, and a bootstrap replicate of the
    test sessions; both are the same for all metrics, so that correlated errors are kept. A metric
    without replicates is drawn from its covariance. Tied metrics share a draw. None where a group's
    link is infinite or its error unknown.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, variance = sums.family.link(sums.successes / sums.trials), link_variance(sums)
    if not (np.isfinite(linked) & np.isfinite(variance) & (variance > 0)).all():
        return None
    groups = len(linked)
    rng = np.random.default_rng([seed, groups])
    kpi_KG = linked + rng.standard_normal((_DRAWS, groups)) * np.sqrt(variance)
    replicate_K = rng.random(_DRAWS)
    misfit_MK = np.stack(
        [_deviations(_drawn(one, replicate_K, rng), kpi_KG, 1 / variance) for one in metrics]
    )
    closest_MK = misfit_MK <= misfit_MK.min(axis=0) * (1 + _SAME)
    return (closest_MK / closest_MK.sum(axis=0)).mean(axis=1).tolist()


def _drawn(metric: Measured, replicate_K: Floats, rng: np.random.Generator) -> Floats:
    """The metric in every draw; ``replicate_K`` in [0, 1) selects its bootstrap replicate."""
    if metric.replicates_RG is not None:
        return metric.replicates_RG[(replicate_K * len(metric.replicates_RG)).astype(np.int64)]
    if metric.covariance_GG is None:
        return np.tile(metric.values, (_DRAWS, 1))
    noise_KG = rng.standard_normal((_DRAWS, len(metric.values)))
    return metric.values + noise_KG @ matrix_sqrt(metric.covariance_GG).T


def _deviations(x_KG: Floats, y_KG: Floats, weights_G: Floats) -> Floats:
    """Σ weight · residual² about the weighted line of y on x, for every draw; flat if x is."""
    x_KG = x_KG - np.average(x_KG, axis=1, weights=weights_G)[:, None]
    y_KG = y_KG - np.average(y_KG, axis=1, weights=weights_G)[:, None]
    together_K, spread_K = (weights_G * x_KG * y_KG).sum(axis=1), (weights_G * x_KG**2).sum(axis=1)
    slope_K = np.divide(together_K, spread_K, out=np.zeros_like(spread_K), where=spread_K > 0)
    # a line through two groups leaves nothing, which rounding may turn negative
    return np.maximum((weights_G * y_KG**2).sum(axis=1) - slope_K * together_K, 0.0)

"""How sure it is that a metric is the one a KPI follows best: metrics and KPIs drawn anew together."""

from collections.abc import Sequence

import numpy as np

from pipeline.inference.error_in_x import covariance_root
from pipeline.inference.family import Floats
from pipeline.inference.few_groups import link_variance
from pipeline.inference.regression import GroupSums

_DRAWS = 2_000
_SAME = 1e-9


def chances_of_best(
    metrics: Sequence[tuple[Floats, Floats | None]], sums: GroupSums, *, seed: int
) -> list[float] | None:
    """Share of the draws in which the groups lie closest to each metric's line; they sum to 1.

    A draw gives every group another KPI, by the spread of its users, which is the same draw for all
    metrics; and every metric other values, by the covariance of its errors over the test sessions.
    Errors of different metrics are drawn independently, though they come from the same sessions: that
    makes the chances a little more alike than they are. Equally close metrics share a draw.

    Args:
        metrics: Of each, the groups' values and the covariance of their errors (None for no error).
        sums: Of the KPI.
        seed: Of the draws.

    Returns:
        A chance a metric; None where a group's link is infinite or its error unknown.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, variance = sums.family.link(sums.successes / sums.trials), link_variance(sums)
    if not (np.isfinite(linked) & np.isfinite(variance) & (variance > 0)).all():
        return None
    groups = len(linked)
    rng = np.random.default_rng([seed, groups])
    kpi_KG = linked + rng.standard_normal((_DRAWS, groups)) * np.sqrt(variance)
    misfit_MK = np.stack(
        [
            _deviations(_drawn(values, covariance_GG, rng), kpi_KG, 1 / variance)
            for values, covariance_GG in metrics
        ]
    )
    closest_MK = misfit_MK <= misfit_MK.min(axis=0) * (1 + _SAME)
    return (closest_MK / closest_MK.sum(axis=0)).mean(axis=1).tolist()


def _drawn(values: Floats, covariance_GG: Floats | None, rng: np.random.Generator) -> Floats:
    noise_KG = rng.standard_normal((_DRAWS, len(values)))
    if covariance_GG is None:
        return np.tile(values, (_DRAWS, 1))
    return values + noise_KG @ covariance_root(covariance_GG).T


def _deviations(x_KG: Floats, y_KG: Floats, weights_G: Floats) -> Floats:
    """Σ weight · residual² about the weighted line of y on x, for every draw."""
    x_KG = x_KG - np.average(x_KG, axis=1, weights=weights_G)[:, None]
    y_KG = y_KG - np.average(y_KG, axis=1, weights=weights_G)[:, None]
    explained_K = (weights_G * x_KG * y_KG).sum(axis=1) ** 2 / (weights_G * x_KG**2).sum(axis=1)
    return (weights_G * y_KG**2).sum(axis=1) - explained_K

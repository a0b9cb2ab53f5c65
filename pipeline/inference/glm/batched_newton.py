"""The regression on group sums for many x or many sums at once, by Newton's method.

The same as :func:`pipeline.inference.glm.group_regression.fit_line`, vectorised for permutations, for
offline metrics drawn from their errors, and for simulated experiments. The last axis is the groups.
"""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.results.family import Floats

_STEPS = 60
_CONVERGED = 1e-10
_LARGEST_STEP = 2.0
"""Of the linear predictor, in one step."""


def fit_batch(x_G: Floats, sums: GroupSums) -> tuple[Floats, Floats]:
    """Intercept and slope; nan where the likelihood has no finite maximum.

    ``x_G`` and the sums are broadcast against each other. Steps are damped, so that few successes
    do not throw the iteration off.
    """
    family = sums.family
    trials, successes, x = np.broadcast_arrays(sums.trials, sums.successes, x_G)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        intercept = family.link(successes.sum(axis=-1) / trials.sum(axis=-1))
        slope, step = np.zeros_like(intercept), np.full_like(intercept, np.inf)
        for _ in range(_STEPS):
            rate = family.mean(intercept[..., None] + slope[..., None] * x)
            weight, residual = trials * family.variance(rate), successes - trials * rate
            total = weight.sum(axis=-1)
            centre = (weight * x).sum(axis=-1) / total
            centred = x - centre[..., None]
            step = (centred * residual).sum(axis=-1) / (weight * centred**2).sum(axis=-1)
            level = residual.sum(axis=-1) / total
            largest = np.abs(level) + np.abs(step) * np.abs(centred).max(axis=-1)
            damping = np.minimum(1.0, _LARGEST_STEP / np.maximum(largest, _CONVERGED))
            slope = slope + damping * step
            intercept = intercept + damping * (level - step * centre)
            if not (np.abs(step) > _CONVERGED * (1 + np.abs(slope))).any():
                break
    diverged = ~(np.abs(step) <= _CONVERGED * (1 + np.abs(slope)))
    return np.where(diverged, np.nan, intercept), np.where(diverged, np.nan, slope)


def log_likelihood(x_KG: Floats, sums: GroupSums, intercept_K: Floats, slope_K: Floats) -> Floats:
    """Log likelihood of the sums for every row of x, up to the family's constant."""
    line_KG = intercept_K[:, None] + slope_K[:, None] * x_KG
    with np.errstate(invalid="ignore"):  # nan where there is no finite fit
        return (sums.successes * line_KG - sums.trials * sums.family.cumulant(line_KG)).sum(axis=1)

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

_LARGEST_CONDITION = 1e12


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


def fit_plane(x_MG: Floats, sums: GroupSums) -> Floats:
    """The linear predictor of the regression on M metrics, per group; nan without a finite maximum.

    Axes before the metrics are broadcast against the sums.
    """
    family = sums.family
    shape = np.broadcast_shapes(sums.successes.shape, x_MG[..., 0, :].shape)
    trials, successes = (np.broadcast_to(one, shape) for one in (sums.trials, sums.successes))
    x_MG = np.broadcast_to(x_MG, (*shape[:-1], *x_MG.shape[-2:]))
    columns_MG = np.concatenate([np.ones_like(x_MG[..., :1, :]), x_MG], axis=-2)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rate = successes.sum(axis=-1) / trials.sum(axis=-1)
        line_G, moved = np.tile(family.link(rate)[..., None], shape[-1]), np.zeros(shape[:-1])
        for _ in range(_STEPS):
            fitted = family.mean(line_G)
            weighted_MG = columns_MG * (trials * family.variance(fitted))[..., None, :]
            residual = successes - trials * fitted
            step_M = _solve(
                weighted_MG @ np.swapaxes(columns_MG, -1, -2), columns_MG @ residual[..., None]
            )
            step_G = (np.swapaxes(columns_MG, -1, -2) @ step_M)[..., 0]
            moved = np.abs(step_G).max(axis=-1)
            damping = np.minimum(1.0, _LARGEST_STEP / np.maximum(moved, _CONVERGED))
            line_G = line_G + damping[..., None] * step_G
            if not (moved > _CONVERGED * (1 + np.abs(line_G).max(axis=-1))).any():
                break
        converged = moved <= _CONVERGED * (1 + np.abs(line_G).max(axis=-1))
    return np.where(converged[..., None], line_G, np.nan)


def _solve(matrix_MM: Floats, values_M1: Floats) -> Floats:
    """The solution, or nan where there is none; the matrix is scaled to a unit diagonal."""
    scale_M = np.sqrt(np.einsum("...mm->...m", matrix_MM))[..., None]
    scaled_MM = matrix_MM / scale_M / np.swapaxes(scale_M, -1, -2)
    known = np.isfinite(scaled_MM).all(axis=(-1, -2)) & np.isfinite(values_M1).all(axis=(-1, -2))
    known &= np.linalg.cond(np.where(known[..., None, None], scaled_MM, 0.0)) < _LARGEST_CONDITION
    solvable_MM = np.where(known[..., None, None], scaled_MM, np.eye(matrix_MM.shape[-1]))
    found_M1 = np.linalg.solve(solvable_MM, values_M1 / scale_M) / scale_M
    return np.where(known[..., None, None], found_M1, np.nan)


def log_likelihood(x_KG: Floats, sums: GroupSums, intercept_K: Floats, slope_K: Floats) -> Floats:
    """Log likelihood of the sums for every row of x, up to the family's constant."""
    line_KG = intercept_K[:, None] + slope_K[:, None] * x_KG
    with np.errstate(invalid="ignore"):  # nan where there is no finite fit
        return (sums.successes * line_KG - sums.trials * sums.family.cumulant(line_KG)).sum(axis=1)

"""The regression on group sums for many x at once, by Newton's method.

The same as :func:`pipeline.inference.glm.group_regression.fit_line`, vectorised for permutations and
for offline metrics drawn from their errors.
"""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.results.family import Floats

_STEPS = 60
_CONVERGED = 1e-10


def fit_batch(x_KG: Floats, sums: GroupSums) -> tuple[Floats, Floats]:
    """Intercept and slope for every row of x; nan where the likelihood has no finite maximum."""
    family = sums.family
    intercept_K = np.full(len(x_KG), family.link(np.array(sums.rate)))
    slope_K, step_K = np.zeros(len(x_KG)), np.full(len(x_KG), np.inf)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(_STEPS):
            rate_KG = family.mean(intercept_K[:, None] + slope_K[:, None] * x_KG)
            weight_KG = sums.trials * family.variance(rate_KG)
            residual_KG = sums.successes - sums.trials * rate_KG
            total_K = weight_KG.sum(axis=1)
            centre_K = (weight_KG * x_KG).sum(axis=1) / total_K
            centred_KG = x_KG - centre_K[:, None]
            step_K = (centred_KG * residual_KG).sum(axis=1) / (weight_KG * centred_KG**2).sum(
                axis=1
            )
            slope_K = slope_K + step_K
            intercept_K = intercept_K + residual_KG.sum(axis=1) / total_K - step_K * centre_K
            if not (np.abs(step_K) > _CONVERGED * (1 + np.abs(slope_K))).any():
                break
    diverged_K = ~(np.abs(step_K) <= _CONVERGED * (1 + np.abs(slope_K)))
    return np.where(diverged_K, np.nan, intercept_K), np.where(diverged_K, np.nan, slope_K)


def log_likelihood(x_KG: Floats, sums: GroupSums, intercept_K: Floats, slope_K: Floats) -> Floats:
    """Log likelihood of the sums for every row of x, up to the family's constant."""
    line_KG = intercept_K[:, None] + slope_K[:, None] * x_KG
    return (sums.successes * line_KG - sums.trials * sums.family.cumulant(line_KG)).sum(axis=1)

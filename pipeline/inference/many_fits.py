"""The logistic regression on group counts for many x at once, by Newton's method.

:func:`pipeline.inference.regression.fit_logistic` is the same for one x; this is for what fits it
thousands of times: permutations, and offline metrics drawn anew.
"""

import numpy as np

from pipeline.inference.regression import Floats

_STEPS = 60
_CONVERGED = 1e-10


def fit_many(x_KG: Floats, trials_G: Floats, successes_G: Floats) -> tuple[Floats, Floats]:
    """Intercept and slope for every row of x; nan where there is no finite maximum."""
    overall = successes_G.sum() / trials_G.sum()
    intercept_K = np.full(len(x_KG), np.log(overall / (1 - overall)))
    slope_K, step_K = np.zeros(len(x_KG)), np.full(len(x_KG), np.inf)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(_STEPS):
            rate_KG = 1 / (1 + np.exp(-(intercept_K[:, None] + slope_K[:, None] * x_KG)))
            weight_KG = trials_G * rate_KG * (1 - rate_KG)
            residual_KG = successes_G - trials_G * rate_KG
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


def log_likelihood(
    x_KG: Floats, trials_G: Floats, successes_G: Floats, intercept_K: Floats, slope_K: Floats
) -> Floats:
    """Of the counts, up to the binomial constant, for every row of x."""
    line_KG = intercept_K[:, None] + slope_K[:, None] * x_KG
    return (successes_G * line_KG - trials_G * np.logaddexp(0, line_KG)).sum(axis=1)

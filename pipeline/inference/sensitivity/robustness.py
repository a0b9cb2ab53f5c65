"""Robustness of a slope: permutation test, curvature, and leave-one-out."""

from itertools import permutations

import numpy as np

from pipeline.inference.glm.batched_newton import fit_batch, log_likelihood
from pipeline.inference.glm.group_regression import (
    GroupSums,
    clustered_covariance,
    undefined_reason,
)
from pipeline.inference.glm.maximum_likelihood import fit_glm
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Floats
from pipeline.results.reasons import Covariance
from pipeline.results.slopes import Permutation, SlopeTest

_ALL_PERMUTATIONS_UP_TO = 7
_RANDOM_PERMUTATIONS = 9_999
_SAME = 1e-9


def permutation_test(x: Floats, sums: GroupSums, *, seed: int) -> Permutation:
    """Likelihood test over all permutations of x; over random ones with more than seven groups.

    With g groups the p-value is at least 1/g!, whatever the number of users.
    """
    exact = len(x) <= _ALL_PERMUTATIONS_UP_TO
    if exact:
        orders = np.array(list(permutations(range(len(x)))))
    else:
        rng = np.random.default_rng([seed, len(x)])
        drawn = rng.permuted(np.tile(np.arange(len(x)), (_RANDOM_PERMUTATIONS, 1)), axis=1)
        orders = np.concatenate([np.arange(len(x))[None], drawn])
    x_KG = x[orders]
    likelihood = log_likelihood(x_KG, sums, *fit_batch(x_KG, sums))
    # A permutation without finite fit separates successes from failures: the best possible fit.
    as_good = ~(likelihood < likelihood[0] - _SAME * abs(likelihood[0]))
    return Permutation(p_value=float(as_good.mean()), permutations=len(orders), exact=exact)


def curvature(x: Floats, sums: GroupSums, *, level: float) -> SlopeTest | None:
    """The coefficient of x² in a quadratic model, cluster-robust.

    None with fewer than three x, and where the successes are too few to determine it: the parabola
    then runs to a rate of 0 in a group, and its covariance is singular.
    """
    if len(np.unique(x)) < 3:
        return None
    scaled = x / np.ptp(x)
    design = np.column_stack([np.ones_like(x), scaled, scaled**2])
    try:
        fit = fit_glm(sums.family, design, sums.trials, sums.successes)
        rate = sums.family.mean(design @ fit.params)
        variance = float(clustered_covariance(design, rate, sums)[2, 2])
    except (np.linalg.LinAlgError, ValueError):  # singular, or it diverges
        return None
    if not variance > 0:
        return None
    error, unit = np.sqrt(variance), np.ptp(x) ** 2
    return wald_test(
        float(fit.params[2] / unit),
        float(error / unit),
        covariance=Covariance.CLUSTER_ROBUST,
        level=level,
    )


def leave_one_out(x: Floats, sums: GroupSums) -> tuple[Floats, Floats]:
    """Intercept and slope without each group; nan where they are undefined."""
    kept_GG = ~np.eye(len(x), dtype=np.bool_)
    defined_G = [not undefined_reason(x[kept], sums.of(kept)) for kept in kept_GG]
    left_GG = np.array([np.flatnonzero(kept) for kept in kept_GG])
    intercept_G, slope_G = fit_batch(x[left_GG], sums.of(left_GG))
    return np.where(defined_G, intercept_G, np.nan), np.where(defined_G, slope_G, np.nan)

"""A slope with one intercept per stratum, such as a day; batches of users are the clusters.

A user has trials in several strata, so the strata of a group are not independent. Users are divided
into random batches, the same in all strata; batches are independent, and the errors come from their
variance. Arrays have the dimensions groups G, strata S and batches B.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.glm.group_regression import GroupSums, separation
from pipeline.inference.glm.maximum_likelihood import fit_glm
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import Covariance
from pipeline.results.slopes import SlopeTest


def informative_strata(
    family: Family, trials_GSB: Floats, successes_GSB: Floats
) -> NDArray[np.int64]:
    """The strata that contribute to a slope.

    In the others a group has no trial, no trial succeeded, or all did.
    """
    m, y = trials_GSB.sum(axis=2), successes_GSB.sum(axis=2)
    some = (y.sum(axis=0) > 0) & (m > 0).all(axis=0)
    if family is Family.BINOMIAL:
        some &= (m - y).sum(axis=0) > 0
    return np.flatnonzero(some)


def separated(x: Floats, family: Family, trials_GSB: Floats, successes_GSB: Floats) -> bool:
    """Whether x separates successes from failures in the same direction in every stratum."""
    found = [
        separation(x, GroupSums.over_users(family, trials_GSB[:, s], successes_GSB[:, s]))
        for s in range(trials_GSB.shape[1])
    ]
    return all(above for above, _ in found) or all(below for _, below in found)


def stratified_slope(
    family: Family,
    trials_GSB: Floats,
    successes_GSB: Floats,
    columns_GS: Sequence[Floats],
    *,
    level: float,
) -> SlopeTest | None:
    """The last column's coefficient, with one intercept per stratum; None where undefined."""
    groups, strata, _ = trials_GSB.shape
    intercepts = np.tile(np.eye(strata), (groups, 1))
    design = np.column_stack([intercepts, *(column.reshape(-1) for column in columns_GS)])
    m = trials_GSB.reshape(groups * strata, -1)
    y = successes_GSB.reshape(groups * strata, -1)
    fit = fit_glm(family, design, m.sum(axis=1), y.sum(axis=1))
    rate = family.mean(design @ fit.params)
    weights = m.sum(axis=1) * family.variance(rate)
    try:
        bread = np.linalg.inv((design.T * weights) @ design)
    except np.linalg.LinAlgError:  # the coefficient diverges
        return None
    scores = _batch_scores(design, (y - m * rate[:, None]).reshape(groups, strata, -1))
    n = len(scores)
    variance = float((n / (n - 1) * bread @ (scores.T @ scores) @ bread)[-1, -1])
    if not (np.isfinite(variance) and variance > 0):
        return None
    slope, error = float(fit.params[-1]), variance**0.5
    return wald_test(slope, error, covariance=Covariance.CLUSTER_ROBUST_BATCHES, level=level)


def _batch_scores(design: Floats, residuals_GSB: Floats) -> Floats:
    """``Σ_s z_gs · residual_gsb`` per batch and group; batch × coefficient."""
    groups, strata, batches = residuals_GSB.shape
    design_GSC = design.reshape(groups, strata, -1)
    return np.einsum("gsc,gsb->gbc", design_GSC, residuals_GSB).reshape(groups * batches, -1)

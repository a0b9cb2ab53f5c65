"""CUPED: variance reduction by the users' behaviour before the experiment.

The part of each user's successes that pre-experiment data predicts is subtracted, which leaves the
expected rates of the groups unchanged and reduces their errors (Deng, Xu, Kohavi & Walker, WSDM
2013). The covariates are the KPI's own trials and successes before the experiment, their
coefficients those of a regression within the groups. Per-user sufficient statistics suffice.
"""

import numpy as np
import polars as pl

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Cuped, SlopeTest


def cuped(
    x: Floats, before: pl.DataFrame, family: Family, unadjusted: SlopeTest, *, level: float
) -> Cuped | None:
    """Fit the line to the adjusted sums; None where its slope is undefined.

    Args:
        x: Relative change of the metric, one entry per group.
        before: Rows of ``pre_period_sums`` for the KPI, in the order of the groups.
        family: How the KPI depends on x.
        unadjusted: The cluster-robust slope without adjustment.
        level: Coverage of the intervals.
    """
    sums = adjusted_sums(before, family)
    ceiling = sums.trials if family is Family.BINOMIAL else np.inf
    if not ((sums.successes > 0) & (sums.successes < ceiling)).all():
        return None  # the adjustment exceeds the successes
    fit = fit_line(x, sums, level=level)
    if isinstance(fit, UndefinedReason):
        return None
    few = random_effects_slope(x, sums, fit)
    return Cuped(
        cluster_robust=fit.cluster_robust,
        small_sample=few.hartung_knapp if few else None,
        variance_share=(fit.cluster_robust.standard_error / unadjusted.standard_error) ** 2,
    )


def adjusted_sums(before: pl.DataFrame, family: Family) -> GroupSums:
    """The sums of the users' adjusted successes ``y - θ'((a, b) - mean)``.

    θ is the least-squares regression, within the groups, of ``y - p_g m`` on a and b; the mean is that
    of all groups' users. A constant covariate has no effect.
    """
    users_G, sum_m_G, sum_y_G = (_column(before, name) for name in ("users", "sum_m", "sum_y"))
    past_GC = _columns(before, "a", "b")
    m_past_GC, y_past_GC = _columns(before, "ma", "mb"), _columns(before, "ya", "yb")
    past_GCC = _columns(before, "aa", "ab", "ab", "bb").reshape(-1, 2, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_G1 = np.nan_to_num(sum_y_G / sum_m_G)[:, None]
    within_CC = (past_GCC - _outer(past_GC, past_GC) / users_G[:, None, None]).sum(axis=0)
    together_C = (y_past_GC - rate_G1 * m_past_GC).sum(axis=0)  # Σ (y - p m) is 0 in every group
    theta_C = np.linalg.pinv(within_CC, hermitian=True) @ together_C
    mean_C = past_GC.sum(axis=0) / users_G.sum()
    centred_GCC = (
        past_GCC
        - _outer(past_GC, mean_C[None])
        - _outer(mean_C[None], past_GC)
        + users_G[:, None, None] * np.outer(mean_C, mean_C)
    )
    return GroupSums(
        family=family,
        trials=sum_m_G,
        successes=sum_y_G - (past_GC - users_G[:, None] * mean_C) @ theta_C,
        users=users_G,
        sum_mm=_column(before, "sum_mm"),
        sum_my=_column(before, "sum_my") - (m_past_GC - sum_m_G[:, None] * mean_C) @ theta_C,
        sum_yy=_column(before, "sum_yy")
        - 2 * (y_past_GC - sum_y_G[:, None] * mean_C) @ theta_C
        + centred_GCC @ theta_C @ theta_C,
    )


def past_sums(before: pl.DataFrame, family: Family) -> GroupSums:
    """The users' sums before the experiment, where groups should not differ."""
    return GroupSums(
        family=family,
        trials=_column(before, "sum_a"),
        successes=_column(before, "sum_b"),
        users=_column(before, "users"),
        sum_mm=_column(before, "sum_aa"),
        sum_my=_column(before, "sum_ab"),
        sum_yy=_column(before, "sum_bb"),
    )


def _outer(one_GC: Floats, other_GC: Floats) -> Floats:
    return one_GC[:, :, None] * other_GC[:, None, :]


def _columns(before: pl.DataFrame, *names: str) -> Floats:
    return np.stack([_column(before, f"sum_{name}") for name in names], axis=1)


def _column(before: pl.DataFrame, name: str) -> Floats:
    return before[name].cast(pl.Float64).to_numpy()

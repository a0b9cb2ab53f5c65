"""CUPED: what users did before the experiment takes chance differences between groups away.

Each user's successes are lessened by what the user's past foretells of them, so that the groups'
rates stay what they are on average and their errors become smaller (Deng, Xu, Kohavi & Walker, WSDM
2013). The covariates are the KPI's own trials and successes before the experiment; a regression
within the groups says how much they foretell. Everything follows from sums over users.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.glm.wald import SlopeTest
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.results.family import Family, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuped:
    """The slope, adjusted for what users did before the experiment.

    Attributes:
        clustered: The slope with user-clustered errors.
        few_groups: The slope as g groups know it (Hartung–Knapp); None for two groups.
        variance_share: Variance of the adjusted slope over that of the unadjusted, both clustered;
            below 1 where the past foretells something.
    """

    clustered: SlopeTest
    few_groups: SlopeTest | None
    variance_share: float


def cuped(
    x: Floats, before: pl.DataFrame, family: Family, unadjusted: SlopeTest, *, level: float
) -> Cuped | None:
    """Fit the line to the adjusted sums; None where they define no slope.

    Args:
        x: Relative change of the metric, one entry a group.
        before: The groups' rows of ``pre_period_sums`` for the KPI, in the same order.
        family: How the KPI depends on x.
        unadjusted: The user-clustered slope without the past.
        level: Of the intervals.
    """
    sums = adjusted_sums(before, family)
    ceiling = sums.trials if family is Family.BINOMIAL else np.inf
    if not ((sums.successes > 0) & (sums.successes < ceiling)).all():
        return None  # so few successes that their adjustment outweighs them
    fit = fit_line(x, sums, level=level)
    if isinstance(fit, str):
        return None
    few = random_effects_slope(x, sums, fit)
    return Cuped(
        clustered=fit.clustered,
        few_groups=few.hartung_knapp if few else None,
        variance_share=(fit.clustered.standard_error / unadjusted.standard_error) ** 2,
    )


def adjusted_sums(before: pl.DataFrame, family: Family) -> GroupSums:
    """The sums of the users' adjusted successes ``y - θ'((a, b) - mean)``.

    θ is the least-squares regression, within the groups, of ``y - p_g m`` on a and b; the mean is that
    of all groups' users. A covariate that does not vary is left alone.
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
    """The same users' sums before the experiment, as if that were one: there, groups are alike."""
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

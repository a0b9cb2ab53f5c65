"""Carry-over: whether lists of earlier days change how users respond to those of later days.

The same users are compared on their first day and after it, with equal weights, so that neither
selective return nor differences between users matter. If the slope differs between the two, there is
carry-over (habituation or learning), and the slope depends on the duration of the experiment.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.assignment import BATCHES
from pipeline.inference.glm.stratified import informative_strata, separated, stratified_slope
from pipeline.results.family import Family, Floats
from pipeline.results.slopes import SlopeTest

_VISITS = np.array([0.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturningOutcome:
    """One KPI of the users who returned on a later day, by group and batch of users.

    Attributes:
        family: How the KPI depends on a metric.
        trials_GB: Σ m on the users' first day.
        first_GB: Σ y on it.
        later_GB: Σ m · y' / m': successes of the later days (m' and y'), scaled to the same trials.
    """

    family: Family
    trials_GB: Floats
    first_GB: Floats
    later_GB: Floats


def returning_outcome(
    returning: pl.DataFrame, groups: list[str], kpi: Kpi, family: Family
) -> ReturningOutcome:
    """One KPI of the table ``returning_user_totals``, for these groups in this order."""
    known = returning.filter(pl.col("group").is_in(groups), pl.col("kpi") == kpi.value)
    place = (
        np.array([groups.index(name) for name in known["group"]], dtype=np.int64),
        known["batch"].to_numpy(),
    )

    def sums(column: str) -> Floats:
        found_GB = np.zeros((len(groups), BATCHES))
        found_GB[place] = known[column].to_numpy()
        return found_GB

    return ReturningOutcome(
        family=family,
        trials_GB=sums("trials"),
        first_GB=sums("first_day_successes"),
        later_GB=sums("later_successes"),
    )


def carry_over(x: Floats, outcome: ReturningOutcome, *, level: float) -> SlopeTest | None:
    """The slope after the users' first day less that on it, with an intercept for each.

    None where one of the two slopes is not finite.
    """
    family = outcome.family
    m_GVB = np.stack([outcome.trials_GB] * len(_VISITS), axis=1)
    y_GVB = np.stack([outcome.first_GB, outcome.later_GB], axis=1)
    if len(informative_strata(family, m_GVB, y_GVB)) < len(_VISITS) or any(
        separated(x, family, m_GVB[:, [v]], y_GVB[:, [v]]) for v in range(len(_VISITS))
    ):
        return None
    columns_GV = [np.repeat(x[:, None], len(_VISITS), axis=1), x[:, None] * _VISITS]
    return stratified_slope(family, m_GVB, y_GVB, columns_GV, level=level)

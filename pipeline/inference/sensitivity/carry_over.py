"""Whether what users saw on earlier days changes how they answer the lists of later ones.

The same users are looked at twice, on their first day and after it, each with the same weight both
times: then it does not matter who comes back, nor that some answer more readily than others. If the
slope differs between the two, lists leave something behind (users get used to them, or learn to
trust them), and the slope of the experiment depends on how long it runs.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import BATCHES
from pipeline.inference.glm.stratified import informative_strata, separated, stratified_slope
from pipeline.inference.glm.wald import SlopeTest
from pipeline.results.family import Family, Floats

_VISITS = np.array([0.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturningOutcome:
    """One KPI of the users who came on several days, by group and batch of users.

    Attributes:
        family: How the KPI depends on a metric.
        trials_GB: Σ m on the users' first day.
        first_GB: Σ y on it.
        later_GB: Σ m · y' / m', what the users' later days (m' and y') would bring in as many trials.
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
    """The slope after the users' first day less that on it, beside an intercept of each.

    None where one of the two has no finite slope.
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

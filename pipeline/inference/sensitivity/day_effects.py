"""The slope with day fixed effects, and its novelty effect.

Users return, so a group's days are not independent; errors come from batches of users
(``daily_totals``), see :mod:`pipeline.inference.glm.stratified`.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.assignment import BATCHES
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.glm.stratified import informative_strata, separated, stratified_slope
from pipeline.results.family import Family, Floats
from pipeline.results.slopes import DayEffects

_FEWEST_DAYS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyOutcome:
    """One KPI of every group, day and batch of users.

    Attributes:
        family: How the KPI depends on a metric.
        days: D days, from the first to the last of the log.
        trials_GDB: Σ m of each group, day and batch; for KPIs per user, users whose first day it is.
        successes_GDB: Σ y.
    """

    family: Family
    days: tuple[date, ...]
    trials_GDB: Floats
    successes_GDB: Floats

    def until(self, day: int) -> GroupSums:
        """The groups' sums up to the end of the day with this index, batches as users."""
        m = self.trials_GDB[:, : day + 1].sum(axis=1)
        y = self.successes_GDB[:, : day + 1].sum(axis=1)
        return GroupSums.over_users(self.family, m, y)


def daily_outcome(daily: pl.DataFrame, groups: list[str], kpi: Kpi, family: Family) -> DailyOutcome:
    """One KPI of the table ``daily_totals``, for these groups in this order."""
    trials, successes = ("new_users" if name == "users" else name for name in TERMS[kpi])
    seen: list[date] = daily["day"].to_list()
    first = min(seen)
    days = [first + timedelta(days=n) for n in range((max(seen) - first).days + 1)]
    shape = (len(groups), len(days), BATCHES)
    known = daily.filter(pl.col("group").is_in(groups))
    place = (
        np.array([groups.index(name) for name in known["group"]]),
        (known["day"] - first).dt.total_days().to_numpy(),
        known["batch"].to_numpy(),
    )
    m, y = np.zeros(shape), np.zeros(shape)
    m[place] = known[trials].to_numpy()
    y[place] = known[successes].fill_null(0).to_numpy()
    return DailyOutcome(family=family, days=tuple(days), trials_GDB=m, successes_GDB=y)


def day_effects(x: Floats, outcome: DailyOutcome, *, level: float) -> DayEffects | None:
    """Fit the line with an intercept per day; None with fewer than two informative days.

    None, too, if x separates successes from failures on all days. A day without a success, or
    without a failure, is not informative and is excluded.
    """
    family, m, y = outcome.family, outcome.trials_GDB, outcome.successes_GDB
    kept = informative_strata(family, m, y)
    cells = (family, m[:, kept], y[:, kept])
    if len(kept) < _FEWEST_DAYS or separated(x, *cells):
        return None
    x_GD = np.repeat(x[:, None], len(kept), axis=1)
    fixed = stratified_slope(*cells, [x_GD], level=level)
    if fixed is None:
        return None
    novelty = stratified_slope(*cells, [x_GD, x[:, None] * np.log1p(kept)], level=level)
    return DayEffects(fixed=fixed, novelty=novelty)

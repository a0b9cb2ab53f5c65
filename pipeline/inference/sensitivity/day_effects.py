"""The experiment day by day: whether days, or getting used to the lists, carry the slope.

Users come back, so a group's days are not independent; errors come from batches of users
(``daily_totals``), as :mod:`pipeline.inference.glm.stratified` says.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import BATCHES, TERMS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.glm.stratified import informative_strata, separated, stratified_slope
from pipeline.inference.glm.wald import SlopeTest
from pipeline.results.family import Family, Floats

_FEWEST_DAYS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyOutcome:
    """One KPI of every group, day and batch of users.

    Attributes:
        family: How the KPI depends on a metric.
        days: D days, the first and the last of the log and all between.
        trials_GDB: Σ m of each group, day and batch; of KPIs per user, those whose first day it is.
        successes_GDB: Σ y.
    """

    family: Family
    days: tuple[date, ...]
    trials_GDB: Floats
    successes_GDB: Floats

    def until(self, day: int) -> GroupSums:
        """What had come of the groups by the end of the day with this number, batches as users."""
        return self._sums(slice(day + 1))

    def on(self, day: int) -> GroupSums:
        """What came of the groups on the day with this number, batches as users."""
        return self._sums(slice(day, day + 1))

    def _sums(self, days: slice) -> GroupSums:
        m = self.trials_GDB[:, days].sum(axis=1)
        y = self.successes_GDB[:, days].sum(axis=1)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEffects:
    """The slope beside what days do.

    Attributes:
        fixed: The slope with an intercept of every day's own: days whose users differ, and shares
            of traffic that change, cannot carry it.
        novelty: The coefficient of x · log(number of the day) beside those; away from 0, the slope
            fades or grows as users get used to the lists.
    """

    fixed: SlopeTest
    novelty: SlopeTest | None


def day_effects(x: Floats, outcome: DailyOutcome, *, level: float) -> DayEffects | None:
    """Fit the line with an intercept a day; None with fewer than two days that allow it.

    None, too, if on all days the successes lie at the same end of x. A day without a success, or in
    which all succeed, says nothing of the slope and is left out.
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

"""The experiment day by day: whether days, or getting used to the lists, carry the slope.

Users come back, so a group's days are not independent. Its users are divided into batches at random,
the same all days (``daily_sums``); the batches are independent, and their spread is what every error
here comes from.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.experiment.kpis import BATCHES, TERMS
from pipeline.inference.family import Family, Floats
from pipeline.inference.regression import GroupSums, ends, maximise, model_of
from pipeline.inference.slope_test import SlopeTest, wald_test
from pipeline.schemas import Kpi

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
        return GroupSums(
            family=self.family,
            trials=m.sum(axis=1),
            successes=y.sum(axis=1),
            users=(m > 0).sum(axis=1).astype(np.float64),
            sum_mm=(m * m).sum(axis=1),
            sum_my=(m * y).sum(axis=1),
            sum_yy=(y * y).sum(axis=1),
        )


def daily_outcome(daily: pl.DataFrame, groups: list[str], kpi: Kpi, family: Family) -> DailyOutcome:
    """One KPI of the table ``daily_sums``, for these groups in this order."""
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

    None, too, if on all days the successes lie at the same end of x. A day without a success, or in which all succeed, says nothing of the slope and is left out.
    """
    m, y = outcome.trials_GDB.sum(axis=2), outcome.successes_GDB.sum(axis=2)
    some = y.sum(axis=0) > 0
    if outcome.family is Family.BINOMIAL:
        some &= (m - y).sum(axis=0) > 0
    some &= (m > 0).all(axis=0)
    kept = np.flatnonzero(some)
    if len(kept) < _FEWEST_DAYS:
        return None
    part = replace(
        outcome,
        days=tuple(outcome.days[day] for day in kept),
        trials_GDB=outcome.trials_GDB[:, kept],
        successes_GDB=outcome.successes_GDB[:, kept],
    )
    if _separated(x, part):
        return None
    fixed = _slope(part, [np.repeat(x[:, None], len(kept), axis=1)], level=level)
    if fixed is None:
        return None
    with_time = [np.repeat(x[:, None], len(kept), axis=1), x[:, None] * np.log1p(kept)]
    return DayEffects(fixed=fixed, novelty=_slope(part, with_time, level=level))


def _separated(x: Floats, outcome: DailyOutcome) -> bool:
    """Whether on every day no success lies below a failure, or on every day none above."""
    found = [ends(x, outcome.on(day)) for day in range(len(outcome.days))]
    return all(above for above, _ in found) or all(below for _, below in found)


def _slope(outcome: DailyOutcome, columns_GD: list[Floats], *, level: float) -> SlopeTest | None:
    """The last column's coefficient beside an intercept a day; None where it is not known."""
    groups, days, _ = outcome.trials_GDB.shape
    strata = np.tile(np.eye(days), (groups, 1))
    design = np.column_stack([strata, *(column.reshape(-1) for column in columns_GD)])
    m = outcome.trials_GDB.reshape(groups * days, -1)
    y = outcome.successes_GDB.reshape(groups * days, -1)
    fit = maximise(model_of(outcome.family, design, m.sum(axis=1), y.sum(axis=1)))
    rate = outcome.family.mean(design @ fit.params)
    weights = m.sum(axis=1) * outcome.family.variance(rate)
    try:
        bread = np.linalg.inv((design.T * weights) @ design)
    except np.linalg.LinAlgError:  # the coefficient has run off, and its weights with it
        return None
    scores = _batch_scores(design, (y - m * rate[:, None]).reshape(groups, days, -1))
    n = len(scores)
    variance = float((n / (n - 1) * bread @ (scores.T @ scores) @ bread)[-1, -1])
    if not (np.isfinite(variance) and variance > 0):
        return None
    slope, error = float(fit.params[-1]), variance**0.5
    return wald_test(slope, error, covariance="batches of users", level=level)


def _batch_scores(design: Floats, residuals_GDB: Floats) -> NDArray[np.float64]:
    """``Σ_d z_gd · residual_gdb`` of every batch of every group; batch × coefficient."""
    groups, days, batches = residuals_GDB.shape
    design_GDC = design.reshape(groups, days, -1)
    return np.einsum("gdc,gdb->gbc", design_GDC, residuals_GDB).reshape(groups * batches, -1)

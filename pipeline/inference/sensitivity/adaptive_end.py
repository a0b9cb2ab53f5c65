"""When an experiment may end: as soon as its slope is decided, or cannot be decided any more.

*Decided*: the slope is significant by the rule of the headline (:mod:`pipeline.inference.headline.readings`):
on any day by the anytime-valid test with a fifth of the error rate, at the planned end with four fifths.
Stopping on such a day keeps the error rate.

*Not any more*: the chance to be significant at the planned end, given today's data, is below 5% (predictive
power: Spiegelhalter, Freedman & Blackburn 1986). From today to the end the slope changes by a normal
variable with the variance that the users' error still loses; what groups deviate from the line stays.
Stopping for futility rejects nothing, so that it cannot raise the error rate.

Arrays are batched: D days, R experiments, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.deviations import SMALLEST
from pipeline.inference.headline.interval import fitted_groups
from pipeline.inference.headline.readings import (
    PLANNED_END_SHARE,
    Groups,
    small_sample_share,
)
from pipeline.inference.headline.slope_test import SlopeScore, score_slope
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.sensitivity.anytime_valid import always_valid_p_value, mixture_of
from pipeline.results.family import Floats
from pipeline.results.progress import DayProgress, State
from pipeline.results.reasons import UndefinedReason

FUTILE = 0.05
"""Chance to be decided at the planned end, below which an experiment need not go on."""

_NODES = 20
"""Quantiles that stand for the distribution of the deviations."""

_DRAWS = 2000

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """R experiments over D days.

    Attributes:
        significant_DR: Whether the slope is, on that day.
        positive_DR: Whether it is above 0.
        chance_DR: To be significant at the planned end, given the day's data; 1 where unknown.
        users_DR: The slope's error from users; nan where undefined.
        small_sample_DR: Its error from the groups' deviations.
        slope_DR: The slope.
        mixture_R: Of the sequence of tests; 0 before it has started.
        planned: Planned days.
    """

    significant_DR: Bools
    positive_DR: Bools
    chance_DR: Floats
    users_DR: Floats
    small_sample_DR: Floats
    slope_DR: Floats
    mixture_R: Floats
    planned: int

    @property
    def decided_on_R(self) -> NDArray[np.int64]:
        """Index of the first significant day; the number of days where there is none."""
        return _first(self.significant_DR)

    @property
    def ends_on_R(self) -> NDArray[np.int64]:
        """Index of the day on which the experiment ends: decided, without a chance, or as planned."""
        stop_DR = self.significant_DR | (self.chance_DR < FUTILE)
        stop_DR[self.planned - 1 :] = True
        return _first(stop_DR)


def follow(
    x: Floats,
    days: Sequence[WorkingResponse | None],
    *,
    planned: int,
    level: float,
    covariance_GG: Floats | None = None,
) -> Course:
    """Test the slope at the end of every day.

    Args:
        x: The metric, G.
        days: The working response up to the end of each day, values R × G; None where undefined.
        planned: Planned days.
        level: One less the error rate of all days together.
        covariance_GG: Of the errors of x.
    """
    experiments = max((len(one.values_G) for one in days if one is not None), default=1)
    shape = (len(days), experiments)
    significant, positive = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    chance, slope = np.ones(shape), np.full(shape, np.nan)
    users, small_sample = np.full(shape, np.nan), np.full(shape, np.nan)
    mixture_R = np.zeros(experiments)
    for day, response in enumerate(days):
        if response is None:
            continue
        known_R, score = _scored(x, response, covariance_GG)
        variance_R = np.where(known_R, score.users**2, np.nan)
        starts_R = known_R & (mixture_R == 0)
        share = min(1.0, (day + 1) / planned)
        mixture_R = np.where(starts_R, mixture_of(variance_R * share, 1 - level), mixture_R)
        p_value_R = _p_value(score, mixture_R, is_end=day == planned - 1)
        significant[day] = known_R & (p_value_R < 1 - level)
        positive[day] = score.delta > 0
        more = max(planned / (day + 1), 1.0)
        chance[day] = np.where(known_R, chance_at_end(score, more=more, level=level), 1.0)
        slope[day] = np.where(known_R, score.delta, np.nan)
        users[day], small_sample[day] = np.sqrt(variance_R), score.small_sample
    return Course(
        significant_DR=significant,
        positive_DR=positive,
        chance_DR=chance,
        users_DR=users,
        small_sample_DR=small_sample,
        slope_DR=slope,
        mixture_R=mixture_R,
        planned=planned,
    )


def _scored(
    x: Floats, response: WorkingResponse, covariance_GG: Floats | None
) -> tuple[Bools, SlopeScore]:
    """Which experiments have a slope, and the test of 0 in all of them."""
    known_R = np.asarray(np.isfinite(response.values_G).all(axis=-1))
    values_RG = np.where(known_R[:, None], response.values_G, 0.0)
    variance_RG = np.broadcast_to(response.variance_G, values_RG.shape)
    variance_RG = np.where(known_R[:, None], variance_RG, 1.0)
    known = WorkingResponse(values_G=values_RG, variance_G=variance_RG, users_df=response.users_df)
    score = score_slope(np.zeros(len(values_RG)), x, known, covariance_GG)
    return known_R & (score.users > 0), score


def _p_value(score: SlopeScore, mixture_R: Floats, *, is_end: bool) -> Floats:
    """Of a day; at the planned end on the scale of the whole error rate."""
    if is_end:
        return score.p_value / PLANNED_END_SHARE
    with np.errstate(divide="ignore", invalid="ignore"):
        valid_R = always_valid_p_value(score.delta, score.users**2, mixture_R)
    return np.fmax(valid_R, score.p_value / small_sample_share(score.groups_df))


def chance_at_end(score: SlopeScore, *, more: float, level: float) -> Floats:
    """The chance that the slope is significant at the planned end, given today's data.

    Few groups show badly how far they deviate from the line. What stays of their deviations is the least
    that agrees with today's (a lower 95% limit), so that only an experiment that has no chance even
    then is given up; what the deviations will be at the end is averaged over their distribution.

    Args:
        score: Today's test of 0.
        more: The information at the planned end, in multiples of today's.
        level: One less the error rate of all days together.
    """
    alpha, df = PLANNED_END_SHARE * (1 - level), max(score.groups_df, 1)
    users2 = score.users**2
    error2_R = _error2_at(users2, score.small_sample**2 * df / _chi2_quantile(0.95, df), more)
    spread_Q = _chi2_quantile((np.arange(_NODES) + 0.5) / _NODES, df) / df
    small_sample_QR = stdtrit(df, 1 - alpha / 2) * np.sqrt(spread_Q[:, None] * error2_R)
    floor_R = stdtrit(score.users_df, 1 - alpha) * np.sqrt(users2 / more)
    critical_QR = np.maximum(small_sample_QR, floor_R)
    change_R = np.sqrt(np.maximum(users2 * (1 - 1 / more), SMALLEST))
    above_QR = ndtr(-(critical_QR - score.delta) / change_R)
    below_QR = ndtr((-critical_QR - score.delta) / change_R)
    return (above_QR + below_QR).mean(axis=0)


def _chi2_quantile(q: float | Floats, df: int) -> Any:
    return 2 * gammaincinv(df / 2, q)


def _error2_at(users2: Floats, small_sample2: Floats, more: float | Floats) -> Floats:
    """Squared error of the slope with so much more information, of which deviations get no share."""
    return np.maximum(small_sample2 - users2, 0.0) + users2 / more


def progress(groups: Groups, *, level: float) -> tuple[DayProgress, ...]:
    """Each day's answer to: is the slope decided, can it not be any more, or how long does it take?

    Empty without days, and with two groups, whose slope is never decided.
    """
    outcome = groups.outcome
    if outcome is None or len(groups.x) < 3:
        return ()
    days = [_response(groups, outcome.until(day)) for day in range(len(outcome.days))]
    planned = groups.planned_days or len(outcome.days)
    course = follow(
        groups.x, days, planned=planned, level=level, covariance_GG=groups.covariance_GG
    )
    return tuple(
        _on_day(course, day, date, groups.residual_df, level)
        for day, date in enumerate(outcome.days)
    )


def _on_day(course: Course, day: int, date: date, residual_df: int, level: float) -> DayProgress:
    """The state at the end of a day; a significant day stands, whatever comes after it."""
    if course.significant_DR[: day + 1].any():
        first = int(course.decided_on_R[0])
        return DayProgress(
            day=date, state=State.DECIDED, positive=bool(course.positive_DR[first, 0])
        )
    if day >= course.planned - 1:
        return DayProgress(day=date, state=State.NOT_ANY_MORE, chance=0.0)
    chance = float(course.chance_DR[day, 0])
    if chance < FUTILE:
        return DayProgress(day=date, state=State.NOT_ANY_MORE, chance=chance)
    expected = _expected_days(course, day, residual_df, level=level)
    return DayProgress(day=date, state=State.OPEN, chance=chance, days_to_go=expected)


def _response(groups: Groups, sums: GroupSums) -> WorkingResponse | None:
    """The groups on the link scale, as a batch of one; None where no slope can be tested."""
    found = fitted_groups(groups.x, sums, groups.covariance_GG)
    if isinstance(found, UndefinedReason) or not found.response.variance_G.any():
        return None
    response = found.response
    return WorkingResponse(
        values_G=response.values_G[None],
        variance_G=np.broadcast_to(response.variance_G, response.values_G.shape)[None],
        users_df=np.atleast_1d(response.users_df),
    )


def _expected_days(course: Course, day: int, df: int, *, level: float) -> float | None:
    """Mean number of days from the end of this day until the slope is decided, or the planned end.

    Over slopes that go on from today's as :func:`chance_at_end` assumes, with the deviations of the groups
    as they are today. None before the first slope.
    """
    slope, users2 = course.slope_DR[day, 0], course.users_DR[day, 0] ** 2
    if not np.isfinite(slope) or not np.isfinite(users2):
        return None
    ahead_D = np.arange(day + 1, course.planned)
    more_D = (ahead_D + 1) / (day + 1)
    variance_D = users2 / more_D
    rng = np.random.default_rng(day)
    steps_D = np.sqrt(-np.diff(variance_D, prepend=users2))
    paths_ND = slope + np.cumsum(steps_D * rng.standard_normal((_DRAWS, len(ahead_D))), axis=1)
    spread_N1 = rng.chisquare(df, (_DRAWS, 1)) / df
    error2_D = _error2_at(users2, course.small_sample_DR[day, 0] ** 2, more_D)
    is_end_D = ahead_D == course.planned - 1
    alpha_D = (1 - level) * np.where(is_end_D, PLANNED_END_SHARE, small_sample_share(df))
    critical_ND = np.maximum(
        stdtrit(df, 1 - alpha_D / 2) * np.sqrt(spread_N1 * error2_D),
        ndtri(1 - alpha_D) * np.sqrt(variance_D),
    )
    valid_ND = always_valid_p_value(paths_ND, variance_D, course.mixture_R[0]) < 1 - level
    stop_ND = ((np.abs(paths_ND) > critical_ND) & valid_ND) | is_end_D
    return float(np.argmax(stop_ND, axis=1).mean() + 1)


def _first(mask_DR: Bools) -> NDArray[np.int64]:
    return np.where(mask_DR.any(axis=0), np.argmax(mask_DR, axis=0), len(mask_DR))

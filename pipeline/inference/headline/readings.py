"""The headline on any day: the planned end, or a look before or after it.

Four fifths of the error rate are spent at the planned end, and one fifth on all other days together.
On those a slope is significant if both the confidence sequence of the users' error
(:mod:`pipeline.inference.sensitivity.anytime_valid`) and the small-sample test at a tenth of the error
rate (a fiftieth with three groups) reject 0. A significant day stands, whatever comes after it.
"""

from dataclasses import dataclass, replace

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import fitted_groups, headline
from pipeline.inference.headline.slope_test import OtherMetrics
from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Floats
from pipeline.results.headline import Headline
from pipeline.results.reasons import Reading, UndefinedReason

PLANNED_END_SHARE = 0.8
_SMALL_SAMPLE = 0.1
_THREE_GROUPS = 0.02
"""Shares of the error rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What a hypothesis is tested on.

    Attributes:
        x: Relative change of the metric, one value per group.
        covariance_GG: Of the errors of x; None if they are unknown.
        sums: Of the KPI.
        outcome: The same by day; None if days are unknown.
        planned_days: Planned duration; None for the observed one.
        others: The metrics that are held fixed; None for the marginal slope.
    """

    x: Floats
    covariance_GG: Floats | None
    sums: GroupSums
    outcome: DailyOutcome | None = None
    planned_days: int | None = None
    others: OtherMetrics | None = None

    @property
    def residual_df(self) -> int:
        """Groups less coefficients: of a line g - 2."""
        return len(self.x) - 2 - (0 if self.others is None else len(self.others.x_MG))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A headline, with the sums that it is based on."""

    headline: Headline
    sums: GroupSums


def read_headline(groups: Groups, *, level: float) -> Quoted:
    """The headline of the day that the verdict stands on.

    That is the planned end, unless it is not reached or not significant and another day is; without
    days, all there is. Days that are significant in opposite directions are ``conflicting``.
    """
    if groups.outcome is None:
        found = headline(groups.x, groups.sums, groups.covariance_GG, groups.others, level=level)
        return Quoted(headline=found, sums=groups.sums)
    observed = len(groups.outcome.days)
    planned = groups.planned_days or observed
    looks = _looks(groups, groups.outcome, planned, level=level)
    significant = [one for one in looks if one.p_value is not None and one.p_value < 1 - level]
    end = _planned_end(groups, groups.outcome, planned, level=level)
    decided = end is not None and _is_significant(end.headline)
    if end is not None and (decided or not significant):
        chosen = end
    else:
        chosen = _quoted(groups, (significant or looks)[-1], level=level)
    signs = {one.positive for one in significant}
    if decided and end is not None:
        signs.add(bool(end.headline.positive))
    return replace(chosen, headline=replace(chosen.headline, conflicting=len(signs) > 1))


def _is_significant(found: Headline) -> bool:
    return found.p_value is not None and found.p_value < 1 - found.level


def _planned_end(
    groups: Groups, outcome: DailyOutcome, planned: int, *, level: float
) -> Quoted | None:
    """The planned end, on the sums of its day; None before it."""
    if len(outcome.days) < planned:
        return None
    later = len(outcome.days) > planned
    sums = outcome.until(planned - 1) if later else groups.sums
    found = headline(
        groups.x,
        sums,
        groups.covariance_GG,
        groups.others,
        level=1 - PLANNED_END_SHARE * (1 - level),
    )
    return Quoted(headline=replace(found, reading=Reading.PLANNED_END), sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A day other than the planned end.

    Attributes:
        sums: Until its end.
        reading: Before or after the planned end.
        width: Half-width of the confidence sequence; None where no slope can be tested.
        p_value: Always valid, of both tests.
        positive: Whether the slope is.
    """

    sums: GroupSums
    reading: Reading
    width: float | None = None
    p_value: float | None = None
    positive: bool = False


def _looks(groups: Groups, outcome: DailyOutcome, planned: int, *, level: float) -> list[_Look]:
    """Every day other than the planned end."""
    looks: list[_Look] = []
    sequence = ConfidenceSequence(alpha=1 - level, planned_days=planned)
    for day in range(len(outcome.days)):
        sums = outcome.until(day)
        found = fitted_groups(groups.x, sums, groups.covariance_GG, groups.others)
        score = None if isinstance(found, UndefinedReason) else found.score(0.0)
        look = _Look(
            sums=sums, reading=Reading.EARLY_LOOK if day < planned - 1 else Reading.LATE_LOOK
        )
        if score is not None and score.users > 0:
            slope, variance = float(score.delta), float(score.users) ** 2
            sequence = sequence.started(variance, day)
            look = replace(
                look,
                width=sequence.width(variance),
                p_value=min(
                    1.0,
                    max(
                        sequence.p_value(slope, variance),
                        float(score.p_value) / small_sample_share(groups.residual_df),
                    ),
                ),
                positive=slope > 0,
            )
        if day != planned - 1:
            looks.append(look)
    return looks


def small_sample_share(residual_df: int) -> float:
    """Share of the error rate of the small-sample test on a day other than the planned end."""
    return _SMALL_SAMPLE if residual_df > 1 else _THREE_GROUPS


def _quoted(groups: Groups, look: _Look, *, level: float) -> Quoted:
    """The headline of a look: its interval is the wider one of both tests, its level the study's."""
    found = headline(
        groups.x,
        look.sums,
        groups.covariance_GG,
        groups.others,
        level=1 - small_sample_share(groups.residual_df) * (1 - level),
        least_width=look.width or 0.0,
    )
    return Quoted(
        headline=replace(found, level=level, p_value=look.p_value, reading=look.reading),
        sums=look.sums,
    )

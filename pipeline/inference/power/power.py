"""What an experiment will have the power to show, before it has begun.

The groups are given the sums that their users can be expected to have, and judged by the errors of
:mod:`pipeline.inference.glm.group_regression`; the verdict's two intervals then exclude 0 as often as their
distributions say: the clustered one is normal, that of few groups (Knapp & Hartung 2003) Student's t
with g - 2 degrees of freedom, whose error is itself drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums, clustered_covariance
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.hypotheses.verdict import detectable_se_multiple
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.family import Family, Floats

LONGEST_DAYS = 3650
"""What takes longer than ten years is not shown at all."""

_QUANTILES = (np.arange(1000) + 0.5) / 1000
_STEEPEST = 2.0**20
_SUREST = 0.999
_FARTHEST = 10.0
"""Log odds from the middle beyond which a KPI is at its end, 0 or 1, for all that can be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerQuery:
    """A hypothesis as it will be put to an experiment.

    Attributes:
        kpi: The KPI that is fitted.
        x: Relative change of the metric against the worst group, one a group.
        shares: Of the users, one a group.
        sign: 1 or -1, the declared direction.
        level: Coverage of the intervals.
        middle: The x at which the KPI is what the traffic says; None for the groups' mean.
        reliability: The share of x that is not error; measured slopes are so much flatter.
        group_deviation: Standard deviation of groups from the line, τ, in units of the link.
    """

    kpi: Kpi
    x: Floats
    shares: Floats
    sign: int
    level: float
    middle: float | None = None
    reliability: float = 1.0
    group_deviation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The chance of a verdict, if the slope is what it is taken to be.

    Attributes:
        slope: True change of the link for a unit of x, in the declared direction.
        standard_error: Of the measured slope, as the clustered interval has it; None with fewer than
            two users in a group, who show nothing.
        shown: That the clustered interval lies on the declared side of 0: *confirmed* or *fragile*.
        confirmed: That the few-groups interval does, too; None with two groups, where none can be.
    """

    slope: float
    standard_error: float | None
    shown: float
    confirmed: float | None


def power(question: PowerQuery, traffic: Traffic, *, days: float, slope: float) -> Power:
    """The power of an experiment of so many days, if the slope is so steep."""
    x, df = question.x, len(question.x) - 2
    sums = expected_sums(question, traffic, days=days, slope=slope)
    if sums.users.min() < 2:
        nothing = None if df < 1 else 0.0
        return Power(slope=slope, standard_error=None, shown=0.0, confirmed=nothing)
    rate = sums.successes / sums.trials
    design = np.column_stack([np.ones_like(x), x])
    weights = sums.trials * sums.family.variance(rate)
    error = np.sqrt(clustered_covariance(design, rate, sums)[1, 1])
    if sums.family is Family.BINOMIAL:  # the wider of the two decides
        error = max(error, np.sqrt(np.linalg.inv((design.T * weights) @ design)[1, 1]))
    centred = x - np.average(x, weights=weights)
    pull = weights * centred / (weights * centred**2).sum()
    tau2 = question.group_deviation**2
    spread = float(np.sqrt(error**2 + tau2 * (pull**2).sum()))
    expected = slope * question.reliability
    least = float(stats.norm.ppf((1 + question.level) / 2)) * error
    confirmed = None
    if df >= 1:
        mixed = 1 / (link_variance(sums) + tau2)
        off = x - np.average(x, weights=mixed)
        knapp = np.sqrt(_chi2_over_df(df) / (mixed * off**2).sum())
        needed = np.maximum(least, float(stats.t.ppf((1 + question.level) / 2, df)) * knapp)
        confirmed = float(stats.norm.sf((needed - expected) / spread).mean())
    return Power(
        slope=slope,
        standard_error=float(error),
        shown=float(stats.norm.sf((least - expected) / spread)),
        confirmed=confirmed,
    )


@cache
def _chi2_over_df(df: int) -> Floats:
    """What the squared few-groups error is over its mean: quantiles of equal chance."""
    return stats.chi2.ppf(_QUANTILES, df) / df


def expected_sums(
    question: PowerQuery, traffic: Traffic, *, days: float, slope: float
) -> GroupSums:
    """The sums of groups on a line through the traffic's rate."""
    base = np.full(1, traffic.chance(question.kpi))
    mean = float(np.average(question.x, weights=question.shares))
    middle = mean if question.middle is None else question.middle
    change = np.clip(question.sign * slope * (question.x - middle), -_FARTHEST, _FARTHEST)
    family = family_of(question.kpi)
    chances = family.mean(family.link(base) + change)
    return traffic.sums(
        question.kpi, days=days, shares=question.shares, chances=np.minimum(chances, _SUREST)
    )


def required_days(
    wanted: float,
    question: PowerQuery,
    traffic: Traffic,
    *,
    slope: float,
    chance: Callable[[Power], float | None],
) -> int | None:
    """The fewest days after which a chance is as wanted; None if :data:`LONGEST_DAYS` do not do.

    More days do not help where the users are always the same, or the groups deviate from the line.
    """

    def enough(days: int) -> bool:
        found = chance(power(question, traffic, days=days, slope=slope))
        return found is not None and found >= wanted

    if not enough(LONGEST_DAYS):
        return None
    too_few, days = 0, LONGEST_DAYS
    while days - too_few > 1:
        middle = (too_few + days) // 2
        too_few, days = (too_few, middle) if enough(middle) else (middle, days)
    return days


def minimum_detectable_slope(
    wanted: float,
    question: PowerQuery,
    traffic: Traffic,
    *,
    days: float,
    chance: Callable[[Power], float | None],
) -> float | None:
    """The flattest slope that is found with the wanted chance; None if none is."""

    def excess(slope: float) -> float:
        found = chance(power(question, traffic, days=days, slope=slope))
        return -wanted if found is None else found - wanted

    error = power(question, traffic, days=days, slope=0.0).standard_error
    if error is None:
        return None
    steep = detectable_se_multiple(question.level, wanted) * error / 2
    first = steep
    while excess(steep) < 0:
        steep *= 2
        if steep > _STEEPEST * first:
            return None
    return optimize.root_scalar(excess, bracket=(0.0, steep), xtol=1e-9 * steep).root

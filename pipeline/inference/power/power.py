"""Power of a planned experiment.

The groups have the expected sums of their users, and the errors of
:mod:`pipeline.inference.glm.group_regression`. The power follows from the distributions of the two
tests of a verdict: the cluster-robust one is normal, the small-sample one (Knapp & Hartung 2003)
Student's t with g - 2 degrees of freedom, whose error is itself random.
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
from pipeline.results.power import Power

LONGEST_DAYS = 3650
"""Ten years; longer experiments are not considered."""

_QUANTILES = (np.arange(1000) + 0.5) / 1000
_STEEPEST = 2.0**20
_SUREST = 0.999
_FARTHEST = 10.0
"""Largest distance from the middle on the link scale; beyond it a KPI is practically 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerQuery:
    """A hypothesis as a planned experiment will test it.

    Attributes:
        kpi: The KPI that is fitted.
        x: Relative change of the metric from the worst group, one per group.
        shares: Of the users, one per group.
        sign: 1 or -1, the declared direction.
        level: Coverage of the intervals.
        middle: The x at which the KPI has the traffic's rate; None for the groups' mean.
        reliability: Share of the variance of x that is not error; attenuates the slope.
        group_deviation: Standard deviation of groups from the line, τ, on the link scale.
    """

    kpi: Kpi
    x: Floats
    shares: Floats
    sign: int
    level: float
    middle: float | None = None
    reliability: float = 1.0
    group_deviation: float = 0.0


def power(query: PowerQuery, traffic: Traffic, *, days: float, slope: float) -> Power:
    """The power of an experiment of some days for a true slope."""
    x, df = query.x, len(query.x) - 2
    sums = expected_sums(query, traffic, days=days, slope=slope)
    if sums.users.min() < 2:
        return Power(
            slope=slope,
            standard_error=None,
            significant=0.0,
            confirmed=None if df < 1 else 0.0,
        )
    rate = sums.successes / sums.trials
    design = np.column_stack([np.ones_like(x), x])
    weights = sums.trials * sums.family.variance(rate)
    error = np.sqrt(clustered_covariance(design, rate, sums)[1, 1])
    if sums.family is Family.BINOMIAL:  # the larger error decides
        error = max(error, np.sqrt(np.linalg.inv((design.T * weights) @ design)[1, 1]))
    centred = x - np.average(x, weights=weights)
    pull = weights * centred / (weights * centred**2).sum()
    tau2 = query.group_deviation**2
    spread = float(np.sqrt(error**2 + tau2 * (pull**2).sum()))
    expected = slope * query.reliability
    least = float(stats.norm.ppf((1 + query.level) / 2)) * error
    confirmed = None
    if df >= 1:
        mixed = 1 / (link_variance(sums) + tau2)
        off = x - np.average(x, weights=mixed)
        knapp = np.sqrt(_chi2_over_df(df) / (mixed * off**2).sum())
        needed = np.maximum(least, float(stats.t.ppf((1 + query.level) / 2, df)) * knapp)
        confirmed = float(stats.norm.sf((needed - expected) / spread).mean())
    return Power(
        slope=slope,
        standard_error=float(error),
        significant=float(stats.norm.sf((least - expected) / spread)),
        confirmed=confirmed,
    )


@cache
def _chi2_over_df(df: int) -> Floats:
    """Quantiles of the squared small-sample error over its mean."""
    return stats.chi2.ppf(_QUANTILES, df) / df


def expected_sums(query: PowerQuery, traffic: Traffic, *, days: float, slope: float) -> GroupSums:
    """The expected sums of groups on a line through the traffic's rate."""
    base = np.full(1, traffic.chance(query.kpi))
    mean = float(np.average(query.x, weights=query.shares))
    middle = mean if query.middle is None else query.middle
    change = np.clip(query.sign * slope * (query.x - middle), -_FARTHEST, _FARTHEST)
    family = family_of(query.kpi)
    chances = family.mean(family.link(base) + change)
    return traffic.sums(
        query.kpi, days=days, shares=query.shares, chances=np.minimum(chances, _SUREST)
    )


def required_days(
    target: float,
    query: PowerQuery,
    traffic: Traffic,
    *,
    slope: float,
    power_of: Callable[[Power], float | None],
) -> int | None:
    """The fewest days with the target power; None if :data:`LONGEST_DAYS` are too few.

    More days do not add power where the users stay the same, or the groups deviate from the line.
    """

    def is_enough(days: int) -> bool:
        found = power_of(power(query, traffic, days=days, slope=slope))
        return found is not None and found >= target

    if not is_enough(LONGEST_DAYS):
        return None
    too_few, days = 0, LONGEST_DAYS
    while days - too_few > 1:
        middle = (too_few + days) // 2
        too_few, days = (too_few, middle) if is_enough(middle) else (middle, days)
    return days


def minimum_detectable_slope(
    target: float,
    query: PowerQuery,
    traffic: Traffic,
    *,
    days: float,
    power_of: Callable[[Power], float | None],
) -> float | None:
    """The smallest slope with the target power; None if there is none."""

    def excess(slope: float) -> float:
        found = power_of(power(query, traffic, days=days, slope=slope))
        return -target if found is None else found - target

    error = power(query, traffic, days=days, slope=0.0).standard_error
    if error is None:
        return None
    steep = detectable_se_multiple(query.level, target) * error / 2
    first = steep
    while excess(steep) < 0:
        steep *= 2
        if steep > _STEEPEST * first:
            return None
    return optimize.root_scalar(excess, bracket=(0.0, steep), xtol=1e-9 * steep).root

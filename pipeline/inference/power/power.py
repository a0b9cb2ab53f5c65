"""Power of a planned experiment: the share of simulated experiments whose verdict is *confirmed*.

Every simulated experiment draws the groups' deviations from the line, the true metrics given the
measured ones, and the users; then it is tested as the analysis will test it. All durations and slopes
use the same random numbers, so that their powers differ by less than their error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import LEAST_EFFECTIVE_EVENTS
from pipeline.inference.headline.readings import PLANNED_END_SHARE
from pipeline.inference.headline.slope_test import OtherMetrics, score_slope
from pipeline.inference.headline.working_response import WorkingResponse, working_response
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.power.draw_sums import PlannedGroups, draw_sums
from pipeline.inference.power.traffic_model import Traffic
from pipeline.results.family import Family, Floats
from pipeline.results.headline import FEWEST_SUCCESSES
from pipeline.results.power import Power

DRAWS = 2000
"""Simulated experiments of a power, whose standard error is then at most 1.1 points."""

SEARCH_DRAWS = 400
"""Of each duration or slope of a search: 2.5 points, the same random numbers for all of them."""

LONGEST_DAYS = 3650
"""Ten years; longer experiments are not considered."""

_SMALLEST = 1e-300
_SUREST = 0.999
_FARTHEST = 10.0
"""Largest distance from the middle on the link scale; beyond it a KPI is practically 0 or 1."""

_LARGEST_CHANGE = 50.0
"""Change of the link between the groups beyond which rates are 0 or 1 to the last digit."""

_FIRST_ERRORS, _STEEPEST, _SLOPE_PRECISION = 3.0, 2.0**10, 0.01
"""Of the search for a slope: the first in standard errors, the last in first ones, and when it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerQuery:
    """A hypothesis as a planned experiment will test it.

    Attributes:
        kpi: The KPI that is fitted.
        x: Relative change of the measured metric from the worst group, one per group.
        shares: Of the users, one per group.
        sign: 1 or -1, the declared direction.
        level: Level of the interval.
        middle: The x at which the KPI has the traffic's rate; None for the groups' mean.
        reliability: Share of the variance of x that is not error.
        group_deviation: Standard deviation of groups from the line, τ, on the link scale.
        seed: Of the simulated experiments.
        follows: The metric that the KPI follows in truth, one per group; None for x.
        others_MG: Metrics that are held fixed; None for the marginal slope.
    """

    kpi: Kpi
    x: Floats
    shares: Floats
    sign: int
    level: float
    middle: float | None = None
    reliability: float = 1.0
    group_deviation: float = 0.0
    seed: int = 0
    follows: Floats | None = None
    others_MG: Floats | None = None

    def chances(self, traffic: Traffic, x: Floats, slope: float, deviations: Floats) -> Floats:
        """:meth:`Traffic.chance` of groups with these true metrics and deviations from the line."""
        mean = float(np.average(self.x, weights=self.shares))
        middle = mean if self.middle is None else self.middle
        change = np.clip(self.sign * slope * (x - middle) + deviations, -_FARTHEST, _FARTHEST)
        family = family_of(self.kpi)
        base = family.link(np.full(1, traffic.chance(self.kpi)))
        return np.minimum(family.mean(base + change), _SUREST)


def expected_sums(query: PowerQuery, traffic: Traffic, *, days: float, slope: float) -> GroupSums:
    """The expected sums of groups on a line through the traffic's rate."""
    chances = query.chances(traffic, query.x, slope, np.zeros_like(query.x))
    return traffic.sums(query.kpi, days=days, shares=query.shares, chances=chances)


def power(
    query: PowerQuery, traffic: Traffic, *, days: float, slope: float, draws: int = DRAWS
) -> Power:
    """The power of an experiment of some days for a true slope."""
    two_groups = len(query.x) < 3
    if (traffic.users(days) * query.shares).min() < 2:
        return Power(
            slope=slope,
            standard_error=None,
            suggestive=0.0,
            confirmed=None if two_groups else 0.0,
        )
    sums = _draw(query, traffic, days=days, slope=slope, draws=draws)
    found, p_value, error = _tested(query, sums)
    alpha = 1 - query.level
    return Power(
        slope=slope,
        standard_error=float(np.median(error)) if len(error) else None,
        suggestive=_share(found & (p_value < (alpha if two_groups else 2 * alpha))),
        confirmed=None if two_groups else _share(found & (p_value < PLANNED_END_SHARE * alpha)),
    )


def _draw(
    query: PowerQuery, traffic: Traffic, *, days: float, slope: float, draws: int
) -> GroupSums:
    """The sums of all simulated experiments."""
    rng = np.random.default_rng(query.seed)
    chances_RG = true_chances(query, traffic, slope, rng, draws=draws)
    return draw_sums(
        rng,
        PlannedGroups(
            traffic=traffic, kpi=query.kpi, days=days, shares=query.shares, chances_RG=chances_RG
        ),
    )


def true_chances(
    query: PowerQuery, traffic: Traffic, slope: float, rng: np.random.Generator, *, draws: int
) -> Floats:
    """:meth:`Traffic.chance` of the groups of simulated experiments, R × G.

    The true metric given the measured one is normal: with reliability r its mean is drawn in by
    1 - r, and its variance r (1 - r) times the measured one.
    """
    x, r = query.x if query.follows is None else query.follows, query.reliability
    left = np.sqrt(r * (1 - r)) * x.std(ddof=1)
    true_RG = x.mean() + r * (x - x.mean()) + left * rng.standard_normal((draws, len(x)))
    deviations_RG = query.group_deviation * rng.standard_normal((draws, len(x)))
    return query.chances(traffic, true_RG, slope, deviations_RG)


def _tested(query: PowerQuery, sums: GroupSums) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Which experiments have a slope on the declared side, their p-values, and the users' errors.

    The users' errors are of the experiments that have one. An experiment with too few successes, or
    whose metric separates successes from failures, has no slope.
    """
    response = working_response(query.x, sums)
    has_slope = _has_enough(sums) & np.isfinite(response.values_G).all(axis=-1)
    p_value, right = np.ones(len(has_slope)), np.zeros(len(has_slope), dtype=np.bool_)
    users_df = np.broadcast_to(response.users_df, has_slope.shape)
    score = score_slope(
        0.0,
        query.x,
        WorkingResponse(
            values_G=response.values_G[has_slope],
            variance_G=np.broadcast_to(response.variance_G, sums.successes.shape)[has_slope],
            users_df=users_df[has_slope],
        ),
        others=None if query.others_MG is None else OtherMetrics(x_MG=query.others_MG[None]),
    )
    right[has_slope] = query.sign * score.delta > 0
    p_value[has_slope] = (
        score.p_value
        if len(query.x) > 2
        else 2 * stats.t.sf(np.abs(score.delta) / score.users, score.users_df)
    )
    return right, p_value, score.users


def _has_enough(sums: GroupSums) -> NDArray[np.bool_]:
    """Whether all groups together have the successes (and failures) that an interval needs."""
    events = sums.successes.sum(axis=-1)
    if sums.family is not Family.BINOMIAL:
        squares = np.maximum(sums.sum_yy.sum(axis=-1), _SMALLEST)
        return events**2 / squares >= LEAST_EFFECTIVE_EVENTS
    return np.minimum(events, sums.trials.sum(axis=-1) - events) >= FEWEST_SUCCESSES


def _share(verdicts: NDArray[np.bool_]) -> float:
    return float(verdicts.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSearch:
    """Durations and slopes that reach a power; each pair of the two is simulated once."""

    query: PowerQuery
    traffic: Traffic
    _found: dict[tuple[float, float], Power] = field(
        default_factory=dict[tuple[float, float], Power], init=False, repr=False
    )

    def curve(self, days: Sequence[int], slope: float) -> tuple[float | None, ...]:
        """The power after so many days, without the simulation's ups and downs (isotonic)."""
        found = [self._power(day, slope).confirmed for day in days]
        known = [one for one in found if one is not None]
        return tuple(optimize.isotonic_regression(known).x.tolist() if known else found)

    def required_days(self, target: float, slope: float) -> int | None:
        """The fewest days with the target power; None if :data:`LONGEST_DAYS` are too few.

        More days do not add power where the users stay the same, or the groups deviate from the
        line.
        """
        if not self._reaches(target, LONGEST_DAYS, slope):
            return None
        too_few, days = 0, LONGEST_DAYS
        while days - too_few > 1:
            middle = (too_few + days) // 2
            enough = self._reaches(target, middle, slope)
            too_few, days = (too_few, middle) if enough else (middle, days)
        return days

    def minimum_detectable_slope(self, target: float, days: float) -> float | None:
        """The smallest slope with the target power, to 1%; None if there is none."""
        error = self._power(days, 0.0).standard_error
        if error is None:
            return None
        flat, first = 0.0, _FIRST_ERRORS * error
        steep = first
        while not self._reaches(target, days, steep):
            flat, steep = steep, 2 * steep
            if steep > _STEEPEST * first or steep * np.ptp(self.query.x) > _LARGEST_CHANGE:
                return None
        while steep - flat > _SLOPE_PRECISION * steep:
            middle = (flat + steep) / 2
            enough = self._reaches(target, days, middle)
            flat, steep = (flat, middle) if enough else (middle, steep)
        return steep

    def _reaches(self, target: float, days: float, slope: float) -> bool:
        found = self._power(days, slope).confirmed
        return found is not None and found >= target

    def _power(self, days: float, slope: float) -> Power:
        if (days, slope) not in self._found:
            self._found[days, slope] = power(
                self.query, self.traffic, days=days, slope=slope, draws=SEARCH_DRAWS
            )
        return self._found[days, slope]

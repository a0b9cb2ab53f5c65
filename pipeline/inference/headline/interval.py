"""The headline of one hypothesis: the slopes that :mod:`.slope_test` does not reject."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from pipeline.experiment.design.optimal_design.joint_information import (
    information_matrix,
    partial_information,
)
from pipeline.inference.glm.group_regression import GroupSums, undefined_reason
from pipeline.inference.headline.line import line_through
from pipeline.inference.headline.slope_test import OtherMetrics, SlopeScore, score_slope
from pipeline.inference.headline.working_response import WorkingResponse, working_response
from pipeline.results.family import Family, Floats
from pipeline.results.headline import FEWEST_SUCCESSES, Headline
from pipeline.results.reasons import Target, UndefinedReason
from pipeline.results.slopes import OpenInterval

LEAST_EFFECTIVE_EVENTS = 5.0
"""The same for amounts, whose events are not counted: ``(Σy)²/Σy²`` is at most their number."""

_CANDIDATES = np.tan(np.linspace(-1.0, 1.0, 401) * (np.pi / 2 - 0.01))
"""Candidate slopes, dense in the middle and up to ±100, in units of sd(y)/sd(x)."""

_ROUND_OFF = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The groups that slopes are tested on.

    Attributes:
        x: The metric.
        response: The KPI on the link scale.
        covariance_GG: Of the errors of x; None if there are none.
        others: The metrics that are held fixed; None for the marginal slope.
    """

    x: Floats
    response: WorkingResponse
    covariance_GG: Floats | None
    others: OtherMetrics | None = None

    @property
    def has_errors(self) -> bool:
        """Whether any of the metrics has errors."""
        found = self.covariance_GG if self.others is None else self.others.covariance_KKGG
        return found is not None

    def score(self, b: float | Floats) -> SlopeScore:
        """The test of one slope, or of many."""
        return score_slope(b, self.x, self.response, self.covariance_GG, self.others)


def headline(  # noqa: PLR0913 - the metric, the KPI, and what is held fixed
    x: Floats,
    sums: GroupSums,
    covariance_GG: Floats | None = None,
    others: OtherMetrics | None = None,
    *,
    level: float,
    least_width: float = 0.0,
) -> Headline:
    """The slope and its interval, or the reason why there is none.

    Args:
        x: The metric, one value per group.
        sums: Of the KPI.
        covariance_GG: Of the errors of x; None if they are unknown.
        others: Metrics that are held fixed, for the partial slope: at least two groups more than
            coefficients. None for the marginal slope.
        level: Nominal coverage.
        least_width: Half-width below which no slope is rejected, from a confidence sequence.
    """
    bare = Headline(level=level, reliability=reliability(x, covariance_GG, others))
    if bare.reliability is not None and bare.reliability <= 0:
        return replace(bare, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
    found = fitted_groups(x, sums, covariance_GG, others)
    if isinstance(found, UndefinedReason):
        return replace(bare, undefined_reason=found)
    if not found.response.variance_G.any():
        return replace(bare, undefined_reason=UndefinedReason.IDENTICAL_USERS)
    zero = found.score(0.0)
    if len(x) < 3:
        return _two_groups(bare, found)
    tested = bool(np.isfinite(zero.delta))
    bare = replace(
        bare,
        p_value=float(zero.p_value) if tested else None,
        positive=bool(zero.delta > 0) if tested else None,
        tau=float(np.sqrt(zero.tau2)),
    )
    grid = _Grid.of(found) if tested and found.has_errors else None
    slope = None
    if tested:
        slope = float(zero.delta) if grid is None else _slope(found, grid, zero)
    # where the other metrics are within their noise, their slopes may have no value at this one
    if slope is None or not np.isfinite(found.score(slope).small_sample):
        return replace(bare, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
    return _with_intervals(bare, found, grid, slope, least_width=least_width)


def fitted_groups(
    x: Floats,
    sums: GroupSums,
    covariance_GG: Floats | None = None,
    others: OtherMetrics | None = None,
) -> Fitted | UndefinedReason:
    """The groups on the link scale; the reason where no slope can be tested on them."""
    if reason := too_few_events(sums) or undefined_reason(x, sums):
        return reason
    response = working_response(x, sums, None if others is None else others.x_MG)
    if not np.isfinite(response.values_G).all():
        return UndefinedReason.SEPARATION
    if covariance_GG is not None and not covariance_GG.any():
        covariance_GG = None  # a metric without errors
    return Fitted(x=x, response=response, covariance_GG=covariance_GG, others=others)


def reliability(
    x: Floats, covariance_GG: Floats | None, others: OtherMetrics | None = None
) -> float | None:
    """``1 - tr(P W) / (g - 1) / var(x)``, P the centring; None where unknown.

    With other metrics, the same of what x has in addition to them.
    """
    if covariance_GG is None or len(x) < 2 or not np.ptp(x) > 0:
        return None
    if others is not None:
        x_GK, equal_G = np.column_stack([x, *others.x_MG]), np.ones_like(x)
        raw, net = (
            float(partial_information(information_matrix(x_GK, equal_G, noise))[0])
            for noise in (None, others.covariance_KKGG)
        )
        return net / raw if raw > 0 else None
    error = np.trace(covariance_GG - covariance_GG.mean(axis=0, keepdims=True)) / (len(x) - 1)
    return float(1 - error / x.var(ddof=1))


def too_few_events(sums: GroupSums) -> UndefinedReason | None:
    """Why the successes of all groups together are too few for any test; None if they are not.

    No success at all, and groups without trials, have reasons of their own. The events of an amount
    are not counted: ``(Σy)²/Σy²`` is their effective number, that of users with equal amounts.
    """
    successes = float(sums.successes.sum())
    if successes == 0 or (sums.trials <= 0).any():
        return None
    if sums.family is Family.POISSON:
        if (sums.successes < 0).any():
            return UndefinedReason.NEGATIVE_AMOUNT
        events = successes**2 / max(float(sums.sum_yy.sum()), 1e-300)
        return UndefinedReason.FEW_SUCCESSES if events < LEAST_EFFECTIVE_EVENTS else None
    if successes < FEWEST_SUCCESSES:
        return UndefinedReason.FEW_SUCCESSES
    failures = float(sums.trials.sum()) - successes
    return UndefinedReason.FEW_FAILURES if 0 < failures < FEWEST_SUCCESSES else None


def _two_groups(bare: Headline, found: Fitted) -> Headline:
    """A line through two groups: its error comes from the users alone."""
    zero = score_slope(0.0, found.x, found.response)
    slope, error = float(zero.delta), float(zero.users)
    bare = replace(
        bare, slope=slope, undefined_reason=UndefinedReason.TWO_GROUPS, positive=slope > 0
    )
    width = float(zero.users_width(bare.level))
    return replace(
        bare,
        target=Target.THESE_GROUPS,
        p_value=float(zero.p_value),
        users_interval=(slope - width, slope + width),
        standard_error=error,
        users_standard_error=error,
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """The tests of all candidate slopes, 0 among them."""

    slopes_B: Floats
    score_B: SlopeScore

    @classmethod
    def of(cls, found: Fitted) -> "_Grid":
        spread = found.response.values_G.var() + found.response.variance_G.mean()
        slopes_B = _CANDIDATES * float(np.sqrt(spread) / found.x.std())
        return cls(slopes_B, found.score(slopes_B))


def _slope(found: Fitted, grid: _Grid, zero: SlopeScore) -> float | None:
    """The root of δ; with errors of the metric the first from 0 in the direction of δ(0)."""
    side = 1.0 if zero.delta > 0 else -1.0
    ahead = side * grid.slopes_B >= 0
    slopes_B, delta_B = grid.slopes_B[ahead], side * grid.score_B.delta[ahead]
    tested = np.isfinite(delta_B)
    outward = slice(None, None, int(side))
    slopes_B, delta_B = slopes_B[tested][outward], delta_B[tested][outward]
    below = np.flatnonzero(delta_B <= 0)
    if not len(below):
        return None
    first = int(below[0])
    if first == 0:
        return 0.0
    return _root(lambda b: float(side * found.score(b).delta), slopes_B[first - 1], slopes_B[first])


def _with_intervals(
    bare: Headline, found: Fitted, grid: _Grid | None, slope: float, *, least_width: float
) -> Headline:
    level, at = bare.level, found.score(slope)

    def deciding(score: SlopeScore) -> Floats:
        return np.maximum(score.half_width(level), least_width)

    interval = _accepted(found, grid, slope, deciding)
    low, high = interval
    bare = replace(
        bare,
        slope=slope,
        interval=interval,
        tau=float(np.sqrt(at.tau2)),
        users_interval=_accepted(found, grid, slope, lambda score: score.users_width(level)),
        small_sample_interval=_accepted(
            found, grid, slope, lambda score: score.small_sample_width(level)
        ),
        standard_error=float(max(at.small_sample, at.users)),
        users_standard_error=float(at.users),
    )
    if found.others is not None:  # a plane
        return bare
    longer = None if low is None or high is None else max(slope - low, high - slope)
    line = line_through(found.x, found.response, slope=slope, half_width=longer, level=level)
    return replace(bare, intercept=line.intercept, margins=line.margins)


def _accepted(
    found: Fitted, grid: _Grid | None, slope: float, width: Callable[[SlopeScore], Floats]
) -> OpenInterval:
    """The slopes around the estimate, and around 0 if it is accepted, that are not rejected."""
    if grid is None:
        half = float(width(found.score(0.0)))
        return slope - half, slope + half

    def excess(score: SlopeScore) -> Floats:
        return np.nan_to_num(np.abs(score.delta) - width(score), nan=-1.0)

    def excess_at(b: float) -> float:
        return float(excess(found.score(b)))

    slopes_B, excess_B = grid.slopes_B, excess(grid.score_B)
    inside = [slope, 0.0] if excess_B[slopes_B == 0] <= 0 else [slope]
    above, below = slopes_B > max(inside), slopes_B < min(inside)
    return (
        _end(excess_at, min(inside), slopes_B[below][::-1], excess_B[below][::-1]),
        _end(excess_at, max(inside), slopes_B[above], excess_B[above]),
    )


def _end(
    excess: Callable[[float], float], inside: float, beyond_B: Floats, excess_B: Floats
) -> float | None:
    outside = np.flatnonzero(excess_B > 0)
    if not len(outside):
        return None
    first = int(outside[0])
    last_inside = float(beyond_B[first - 1]) if first else inside
    return _root(excess, last_inside, float(beyond_B[first]))


def _root(function: Callable[[float], float], start: float, end: float) -> float:
    if function(start) * function(end) > 0:  # the estimate itself, to round-off
        return start
    return float(optimize.root_scalar(function, bracket=(start, end), rtol=_ROUND_OFF).root)

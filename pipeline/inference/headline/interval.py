"""The headline of one hypothesis: the slopes that :mod:`.slope_test` does not reject."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from pipeline.inference.glm.group_regression import GroupSums, undefined_reason
from pipeline.inference.headline.line import line_through
from pipeline.inference.headline.slope_test import SlopeScore, score_slope
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
    """

    x: Floats
    response: WorkingResponse
    covariance_GG: Floats | None

    def score(self, b: float | Floats) -> SlopeScore:
        """The test of one slope, or of many."""
        return score_slope(b, self.x, self.response, self.covariance_GG)


def headline(
    x: Floats,
    sums: GroupSums,
    covariance_GG: Floats | None = None,
    *,
    level: float,
    least_width: float = 0.0,
) -> Headline:
    """The slope and its interval, or the reason why there is none.

    Args:
        x: The metric, one value per group.
        sums: Of the KPI.
        covariance_GG: Of the errors of x; None if they are unknown.
        level: Nominal coverage.
        least_width: Half-width below which no slope is rejected, from a confidence sequence.
    """
    bare = Headline(level=level, reliability=reliability(x, covariance_GG))
    if bare.reliability is not None and bare.reliability <= 0:
        return replace(bare, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
    if covariance_GG is not None and not covariance_GG.any():
        covariance_GG = None  # a metric without errors
    found = fitted_groups(x, sums, covariance_GG)
    if isinstance(found, UndefinedReason):
        return replace(bare, undefined_reason=found)
    if not found.response.variance_G.any():
        return replace(bare, undefined_reason=UndefinedReason.IDENTICAL_USERS)
    zero = found.score(0.0)
    if len(x) < 3:
        return _two_groups(bare, found)
    bare = replace(
        bare,
        p_value=float(zero.p_value),
        positive=bool(zero.delta > 0),
        tau=float(np.sqrt(zero.tau2)),
    )
    slope = _slope(found, zero)
    if slope is None:
        return replace(bare, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
    return _with_intervals(bare, found, slope, least_width=least_width)


def fitted_groups(
    x: Floats, sums: GroupSums, covariance_GG: Floats | None = None
) -> Fitted | UndefinedReason:
    """The groups on the link scale; the reason where no slope can be tested on them."""
    if reason := too_few_events(sums) or undefined_reason(x, sums):
        return reason
    response = working_response(x, sums)
    if not np.isfinite(response.values_G).all():
        return UndefinedReason.SEPARATION
    return Fitted(x=x, response=response, covariance_GG=covariance_GG)


def reliability(x: Floats, covariance_GG: Floats | None) -> float | None:
    """``1 - tr(P W) / (g - 1) / var(x)``, P the centring; None where unknown."""
    if covariance_GG is None or len(x) < 2 or not np.ptp(x) > 0:
        return None
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


def _slope(found: Fitted, zero: SlopeScore) -> float | None:
    """The root of δ; with errors of the metric the first from 0 in the direction of δ(0)."""
    if found.covariance_GG is None:
        return float(zero.delta)
    side = 1.0 if zero.delta > 0 else -1.0
    grid = side * _grid(found)
    grid = np.concatenate([[0.0], np.sort(grid[grid > 0])]) * side
    delta = side * found.score(grid).delta
    below = np.flatnonzero(delta <= 0)
    if not len(below):
        return None
    first = int(below[0])
    if first == 0:
        return 0.0
    return _root(lambda b: float(side * found.score(b).delta), grid[first - 1], grid[first])


def _grid(found: Fitted) -> Floats:
    spread = found.response.values_G.var() + found.response.variance_G.mean()
    return _CANDIDATES * float(np.sqrt(spread) / found.x.std())


def _with_intervals(bare: Headline, found: Fitted, slope: float, *, least_width: float) -> Headline:
    level, at = bare.level, found.score(slope)

    def deciding(score: SlopeScore) -> Floats:
        return np.maximum(score.half_width(level), least_width)

    interval = _accepted(found, slope, deciding)
    low, high = interval
    longer = None if low is None or high is None else max(slope - low, high - slope)
    line = line_through(found.x, found.response, slope=slope, half_width=longer, level=level)
    return replace(
        bare,
        slope=slope,
        interval=interval,
        tau=float(np.sqrt(at.tau2)),
        users_interval=_accepted(found, slope, lambda score: score.users_width(level)),
        small_sample_interval=_accepted(
            found, slope, lambda score: score.small_sample_width(level)
        ),
        standard_error=float(max(at.small_sample, at.users)),
        users_standard_error=float(at.users),
        intercept=line.intercept,
        margins=line.margins,
    )


def _accepted(found: Fitted, slope: float, width: Callable[[SlopeScore], Floats]) -> OpenInterval:
    """The slopes around the estimate, and around 0 if it is accepted, that are not rejected."""
    if found.covariance_GG is None:
        half = float(width(found.score(0.0)))
        return slope - half, slope + half

    def excess(b: float | Floats) -> Floats:
        score = found.score(b)
        return np.abs(score.delta) - width(score)

    inside = [slope, 0.0] if excess(0.0) <= 0 else [slope]
    grid = _grid(found)
    above, below = grid[grid > max(inside)], grid[grid < min(inside)][::-1]
    return _end(excess, min(inside), below), _end(excess, max(inside), above)


def _end(excess: Callable[[float | Floats], Floats], inside: float, beyond: Floats) -> float | None:
    outside = np.flatnonzero(excess(beyond) > 0) if len(beyond) else []
    if not len(outside):
        return None
    first = int(outside[0])
    last_inside = float(beyond[first - 1]) if first else inside
    return _root(lambda b: float(excess(b)), last_inside, float(beyond[first]))


def _root(function: Callable[[float], float], start: float, end: float) -> float:
    if function(start) * function(end) > 0:  # the estimate itself, to round-off
        return start
    return float(optimize.root_scalar(function, bracket=(start, end), rtol=_ROUND_OFF).root)

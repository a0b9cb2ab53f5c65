"""The verdict on a hypothesis, by rules fixed before the data is analysed, its size and sample size."""

import math

from scipy.special import ndtri, stdtrit

from pipeline.results.headline import Headline
from pipeline.results.hypothesis import Elasticity, HypothesisResult
from pipeline.results.reasons import Target, Verdict
from pipeline.study import Hypothesis

POWER = 0.8
"""Of minimum detectable slopes and required sample sizes."""


def verdict(
    hypothesis: Hypothesis, headline: Headline, *, level: float, healthy: bool = True
) -> Verdict:
    """The verdict on a hypothesis: its p-value against the error rate and against twice that.

    A line through two groups has no error from groups, so that it is suggestive at most.

    Args:
        hypothesis: As declared.
        headline: Its slope and test.
        level: Of the study.
        healthy: Whether the sample ratio matches the plan.
    """
    if not healthy:
        return Verdict.BLOCKED
    if headline.p_value is None:
        return Verdict.UNDEFINED
    declared = headline.positive == (hypothesis.direction == "positive")
    two_groups = headline.target is Target.THESE_GROUPS
    if headline.conflicting or headline.p_value >= (1 if two_groups else 2) * (1 - level):
        return Verdict.INCONCLUSIVE
    if two_groups or headline.p_value >= 1 - headline.level:
        return Verdict.SUGGESTIVE if declared else Verdict.SUGGESTIVE_OPPOSITE
    return Verdict.CONFIRMED if declared else Verdict.CONTRADICTED


def detectable_se_multiple(level: float, power: float = POWER, *, df: int | None = None) -> float:
    """Slope over standard error that gives the test this power: ``t_{1-α/2} + t_power``."""
    first, second = (
        ndtri(share) if df is None else stdtrit(df, share) for share in ((1 + level) / 2, power)
    )
    return float(first + second)


def detectable_slope(headline: Headline, groups: int) -> float | None:
    """Minimum detectable slope, positive or negative, with 80% power; None without an error."""
    if headline.standard_error is None or not headline.standard_error > 0:
        return None
    df = groups - 2 if groups > 2 else None
    return detectable_se_multiple(headline.level, df=df) * headline.standard_error


def required_trials(headline: Headline, groups: int, trials: float) -> int | None:
    """Trials that detect the estimated slope with 80% power, for the same groups.

    More trials shrink the users' error u; the rest of the error e, from groups that deviate from the
    line, stays: ``n u² / ((slope / multiple)² - (e² - u²))``. None where no number is enough.
    """
    detectable, error = detectable_slope(headline, groups), headline.standard_error
    if not detectable or not headline.slope or not error or not headline.users_standard_error:
        return None
    needed = (headline.slope * error / detectable) ** 2
    users = headline.users_standard_error**2
    left = needed - max(error**2 - users, 0.0)
    found = trials * users / left if left > 0 else float("inf")
    return int(found) + 1 if found < MOST_TRIALS else None


def elasticity(
    result: HypothesisResult, found: Headline, *, held_fixed: int = 0
) -> Elasticity | None:
    """A headline in percent; None where its slope or its error is undefined.

    Args:
        result: The hypothesis.
        found: Its headline, or that of its partial slope.
        held_fixed: Number of other metrics in the regression.
    """
    detectable = detectable_slope(found, result.groups - held_fixed)
    if found.slope is None or found.quoted is None or detectable is None:
        return None
    successes = sum(point.successes for point in result.points)
    share = 1 - successes / result.n if result.response.is_binary else 1.0
    low, high = found.quoted
    lowest, highest = result.range
    change = detectable * (highest - lowest)
    return Elasticity(
        estimate=share * found.slope,
        interval=(None if low is None else share * low, None if high is None else share * high),
        minimum_detectable=share * detectable,
        minimum_detectable_change=math.expm1(change) if change < _LARGEST_CHANGE else None,
    )


_LARGEST_CHANGE = 50.0
"""Changes of the link above it are beyond any number."""

MOST_TRIALS = 1e15
"""Required sample sizes above it are as good as none."""

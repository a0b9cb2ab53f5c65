"""The KPI of the groups on the link scale, with variances that favour no metric."""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import UndefinedReason


def pooled_response(sums: GroupSums) -> tuple[Floats, Floats] | UndefinedReason:
    """The link of each group's rate, and its variance at the rate of all groups together.

    A group's variance depends on its users' trials, not on its own successes. Binary KPIs have half
    a success and half a failure more; amounts have half an event more, the amount of an event
    following from the variance, so that a group without a success has a value in any currency.

    Returns:
        Both per group; the reason where the link of a group is not finite.
    """
    rate = sums.rate
    if not rate > 0:
        return UndefinedReason.NO_SUCCESSES
    if sums.family is Family.BINOMIAL:
        if rate >= 1:
            return UndefinedReason.NO_FAILURES
        return _binary(sums, rate)
    relative = sums.successes / sums.trials / rate
    variance = _amount_variance(sums, rate)
    if variance is None:
        variance = sums.trials.mean() / sums.trials
    else:
        relative = relative + variance / 2
    if not (np.isfinite(relative).all() and (relative > 0).all()):
        return UndefinedReason.RATE_WITHOUT_ERROR
    return np.log(relative), variance


def _binary(sums: GroupSums, rate: float) -> tuple[Floats, Floats]:
    """Users share one correlation of their trials, as they were divided at random."""
    binomial = sums.trials * rate * (1 - rate)
    squares = _unbiased_squares(sums, rate)
    pairs = float((rate * (1 - rate) * (sums.sum_mm - sums.trials)).sum())
    excess = float((squares - binomial).sum())
    correlation = min(max(excess / pairs, 0.0), 1.0) if pairs > 0 else 0.0
    variance = (1 + correlation * (sums.sum_mm / sums.trials - 1)) / binomial
    share = (sums.successes + 0.5) / (sums.trials + 1)
    return np.log(share / (1 - share)), variance


def _amount_variance(sums: GroupSums, rate: float) -> Floats | None:
    """Users share one coefficient of variation; None where their sums do not determine it."""
    squares = float((_unbiased_squares(sums, rate) / rate**2).sum() / sums.sum_mm.sum())
    return squares * sums.sum_mm / sums.trials**2 if squares > 0 else None


def _unbiased_squares(sums: GroupSums, rate: float) -> Floats:
    users = np.maximum(sums.users, 2.0)
    found = cluster_sum_squares(np.full_like(sums.trials, rate), sums)
    return found * users / (users - 1)

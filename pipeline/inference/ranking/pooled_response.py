"""The KPI of the groups on the link scale, with variances that favour no metric."""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.working_response import user_variance
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import UndefinedReason


def pooled_response(sums: GroupSums) -> tuple[Floats, Floats] | UndefinedReason:
    """The link of each group's rate, and its variance at the rate of all groups together.

    Binary KPIs have half a success and half a failure more, amounts half an event more, whose amount
    follows from the variance: a group without a success has a value, the same in any currency.

    Returns:
        Both per group; the reason where the link of a group is not finite.
    """
    rate = sums.rate
    variance = user_variance(np.full_like(sums.trials, rate), sums)
    if sums.family is Family.BINOMIAL:
        share = (sums.successes + 0.5) / (sums.trials + 1)
        return np.log(share / (1 - share)), variance
    if not (np.isfinite(variance) & (variance > 0)).all():  # without sums over users
        variance = sums.trials.mean() / sums.trials
        relative = sums.successes / sums.trials / rate
    else:
        relative = sums.successes / sums.trials / rate + variance / 2
    if not (relative > 0).all():
        return UndefinedReason.RATE_WITHOUT_ERROR
    return np.log(relative), variance

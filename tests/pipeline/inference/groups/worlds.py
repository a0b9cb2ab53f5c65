"""Users of worlds in which no group differs, or in which the difference is planted."""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.results.family import Family


def of_users(trials, successes, family=Family.BINOMIAL):
    """The sums of groups of users, G × U; a user without trials is none."""
    m, y = (np.asarray(one, dtype=np.float64) for one in (trials, successes))
    return GroupSums.over_users(family, m, y)


def activity(rng, shape, kind):
    """Trials of users, 20 on average, with light or heavy tails."""
    if kind == "light":
        return 1 + rng.poisson(19, shape)
    if kind == "lognormal":
        drawn = np.exp(1.2 * rng.standard_normal(shape) + np.log(20) - 0.72)
    else:
        drawn = 5 * rng.pareto(1.2, shape) + 0.01
    return np.ceil(drawn).clip(1, 20_000).astype(np.int64)

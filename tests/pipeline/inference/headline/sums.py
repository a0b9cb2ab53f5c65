"""Group sums for tests of the headline."""

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.results.family import Family


def counts(trials, successes, family=Family.BINOMIAL):
    """Every trial a user of its own."""
    n = np.asarray(trials, dtype=np.float64)
    y = np.asarray(successes, dtype=np.float64)
    return GroupSums(family=family, trials=n, successes=y, users=n, sum_mm=n, sum_my=y, sum_yy=y)


def amounts(y_GU):
    """One trial per user, with an amount."""
    return GroupSums.over_users(Family.POISSON, np.ones_like(y_GU), y_GU)

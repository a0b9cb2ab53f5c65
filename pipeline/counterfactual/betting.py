"""Betting confidence intervals of the mean of bounded values (Waudby-Smith & Ramdas 2024).

They hold for any number of rows, and at any time: also for a log that grows while it is looked at.
"""

import numpy as np

from pipeline.core.errors import DataError
from pipeline.results.family import Floats
from pipeline.results.slopes import Interval

_TRUNCATION = 0.5
_STEPS = 40
"""Bisections: the ends are exact to 1e-12 of the bound."""


def betting_interval(values_N: Floats, *, bound: float, level: float = 0.95) -> Interval:
    """Confidence interval of the mean of independent values in [0, bound].

    The hedged capital of bets against a mean m, with predictable plug-in bets, exceeds 1 / α with
    probability α at most if m is the mean. The interval has the means whose capital never has.

    Args:
        values_N: In order of time, one per user, such as w r of the estimator IPS.
        bound: The largest value that is possible, not the largest seen.
        level: Coverage, at any number of rows.

    Raises:
        DataError: if a value is outside the bounds.
    """
    if values_N.min() < 0 or values_N.max() > bound:
        msg = (
            f"values from {values_N.min():.6g} to {values_N.max():.6g}; expected 0 to the bound "
            f"{bound:.6g}"
        )
        raise DataError(msg)
    y = values_N / bound
    alpha = 1 - level
    time = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (time + 1)
    variance = (0.25 + np.cumsum((y - mean) ** 2)) / (time + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2 * np.log(2 / alpha) / (before * time * np.log1p(time)))
    low = _lower_end(y, bets, alpha)
    high = 1 - _lower_end(1 - y, bets, alpha)
    return bound * low, bound * high


def _lower_end(y: Floats, bets: Floats, alpha: float) -> float:
    """The least mean that the bets on larger values do not reject; they reject all below it."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        mean = (low + high) / 2
        truncated = np.minimum(bets, _TRUNCATION / mean)
        capital = np.log1p(truncated * (y - mean)).cumsum().max() + np.log(0.5)
        low, high = (mean, high) if capital >= -np.log(alpha) else (low, mean)
    return low

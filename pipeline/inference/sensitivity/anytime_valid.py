"""The mixture sequential probability ratio test, and its confidence sequence.

A fixed-sample interval of 95% does not allow for repeated looks: stopping at the first interval that
excludes 0 has far more than 5% false positives. These intervals are those of the mixture sequential
probability ratio test (Johari et al. 2022), for normal errors the asymptotic confidence sequence of
Waudby-Smith et al. (2024): with V the variance of an estimate b at a look and τ² that of the mixture,

    b ± sqrt(V (1 + V/τ²) log((1 + τ²/V) / α²)).

It needs numpy and scipy only, so that processes that run for months stay small.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """The mixture of a sequence of tests.

    τ² is fixed on the first day with a variance to minimise the interval of the last planned day:
    the optimal ratio τ²/V is -2 log α + log(1 - 2 log α), and V decreases with the number of days.

    Attributes:
        alpha: Error rate of all days together.
        planned_days: Planned duration.
        mixture: τ²; 0 before it is fixed.
    """

    alpha: float
    planned_days: int
    mixture: float = 0.0

    @classmethod
    def one_sided(cls, alpha: float, variance: float) -> Self:
        """The sequence of a one-sided bound, closest to the estimate at this variance."""
        both = 2 * alpha
        return cls(alpha=both, planned_days=1, mixture=float(mixture_of(variance, both)))

    def started(self, variance: float, day: int) -> "ConfidenceSequence":
        """The sequence with its mixture, fixed at the variance of the day with this index."""
        if self.mixture:
            return self
        share = min(1.0, (day + 1) / self.planned_days)
        return replace(self, mixture=float(mixture_of(variance * share, self.alpha)))

    def width(self, variance: float) -> float:
        """Half-width of the interval of a slope with this variance."""
        ratio = self.mixture / variance
        return float(np.sqrt(variance * (1 + 1 / ratio) * np.log((1 + ratio) / self.alpha**2)))

    def p_value(self, slope: float, variance: float) -> float:
        """Below α where the interval excludes 0."""
        return float(always_valid_p_value(slope, variance, self.mixture))


def mixture_of(variance: float | Floats, alpha: float) -> Floats:
    """τ² that minimises the width of the interval at this variance."""
    return np.asarray(variance * (-2 * np.log(alpha) + np.log1p(-2 * np.log(alpha))))


def always_valid_p_value(
    slope: float | Floats, variance: float | Floats, mixture: float | Floats
) -> Floats:
    """p-value of a slope of 0 that is valid however often it is looked at; may exceed 1."""
    ratio = np.asarray(mixture / variance)
    evidence = ratio / (1 + ratio) * np.square(slope) / (2 * variance) - 0.5 * np.log1p(ratio)
    return np.exp(-evidence)

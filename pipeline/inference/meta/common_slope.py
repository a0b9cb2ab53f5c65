"""The slopes of studies around a common one, so that a noisy metric does not decide what they weigh.

The error of a corrected slope grows with the slope itself, because the metric's error is multiplied by
it. In inverse variance weights, the studies whose slope is small by chance would weigh most: over many
small tests of a noisy metric the mean would be far closer to 0 than the truth. So every study is tested
at one common slope μ (:mod:`pipeline.inference.headline.slope_test`): its δ is the distance of its slope
from μ, with the error that it has at μ. μ is the slope at which the pooled distance is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inference.headline.slope_test import score_slope
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.meta.meta_analysis import pool_slopes
from pipeline.results.family import Floats
from pipeline.results.pooled import PooledSlope
from pipeline.results.reasons import UndefinedReason

_ROUNDS = 100
_CONVERGED = 1e-6
"""Of the standard error of the mean."""

_STEP = 1e-3
_LEAST_SIGNAL = 0.1
"""Share of the metric's spread that is not error, below which the studies have no common slope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSlope:
    """A study whose metric has no error, or none that is known: its slope, and the users' error."""

    slope: float
    standard_error: float

    def around(self, slope: float) -> tuple[float, float]:
        """Distance from a slope, and its error there."""
        return self.slope - slope, self.standard_error


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyGroups:
    """A study whose metric has a known error.

    Attributes:
        x: Relative change of the metric, one per group.
        response: The KPI on the link scale.
        covariance_GG: Of the errors of x.
    """

    x: Floats
    response: WorkingResponse
    covariance_GG: Floats

    def around(self, slope: float) -> tuple[float, float]:
        """Distance from a slope, and its error there."""
        score = score_slope(slope, self.x, self.response, self.covariance_GG)
        return float(score.delta), float(score.users)


def pool_around_common_slope(
    studies: Sequence[KnownSlope | NoisyGroups], *, level: float
) -> PooledSlope | UndefinedReason:
    """Pool the studies; without errors of the metric, :func:`pool_slopes` of their slopes."""
    slope = 0.0
    for _ in range(_ROUNDS):
        distances, errors = _around(studies, slope)
        found = pool_slopes(slope + distances, errors, level=level)
        if isinstance(found, UndefinedReason):
            return found
        signal = _signal(studies, slope, distances, 1 / (errors**2 + found.tau**2))
        if not signal > _LEAST_SIGNAL:
            return UndefinedReason.METRIC_WITHIN_NOISE
        step = (found.mean.slope - slope) / signal
        slope += step
        if abs(step) <= _CONVERGED * found.mean.standard_error:
            distances, errors = _around(studies, slope)
            return pool_slopes(slope + distances / signal, errors / signal, level=level)
    return UndefinedReason.METRIC_WITHIN_NOISE


def _around(studies: Sequence[KnownSlope | NoisyGroups], slope: float) -> tuple[Floats, Floats]:
    distances, errors = np.array([one.around(slope) for one in studies]).reshape(-1, 2).T
    return distances, errors


def _signal(
    studies: Sequence[KnownSlope | NoisyGroups], slope: float, distances: Floats, weights: Floats
) -> float:
    """How far the pooled distance changes for a change of the slope; 1 without errors."""
    step = _STEP * max(1.0, abs(slope))
    moved, _ = _around(studies, slope + step)
    return float((weights * (distances - moved)).sum() / weights.sum() / step)

"""Whether a metric predicts a KPI alike for all users: the line of each segment of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.glm.wald import SlopeTest
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSlope:
    """The line of one segment.

    Attributes:
        segment: Its name.
        users: Of all groups, with a trial.
        test: The slope, user-clustered; None where it is undefined.
        undefined_because: The reason where it is.
        against_the_whole: Whether the interval lies on the other side of 0 than the slope of all
            users (Simpson's paradox, if of all segments).
    """

    segment: str
    users: int
    test: SlopeTest | None
    undefined_because: str | None
    against_the_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """The lines of the segments, and whether they are one.

    Attributes:
        slopes: Of each segment, in order of name.
        cochran_q: Σ (b - mean)² / se² of the segments with a slope, None with fewer than two.
        p_value: That all segments have the same slope (χ² with one less than segments).
    """

    slopes: tuple[SegmentSlope, ...]
    cochran_q: float | None
    p_value: float | None


def segments(
    x: Floats, sums: Mapping[str, GroupSums], whole: SlopeTest, *, level: float
) -> Segments | None:
    """Fit the line to every segment's sums; None without two segments.

    Args:
        x: Relative change of the metric over all users, one entry a group.
        sums: Of each segment, groups in the same order.
        whole: The slope of all users.
        level: Of the intervals.
    """
    if len(sums) < 2:
        return None
    slopes = tuple(_slope(x, name, sums[name], whole, level) for name in sorted(sums))
    tests = [one.test for one in slopes if one.test]
    if len(tests) < 2:
        return Segments(slopes=slopes, cochran_q=None, p_value=None)
    slope = np.array([test.slope for test in tests])
    weight = np.array([test.standard_error for test in tests]) ** -2.0
    q = float((weight * (slope - np.average(slope, weights=weight)) ** 2).sum())
    p_value = float(stats.chi2.sf(q, len(tests) - 1))
    return Segments(slopes=slopes, cochran_q=q, p_value=p_value)


def _slope(x: Floats, name: str, sums: GroupSums, whole: SlopeTest, level: float) -> SegmentSlope:
    fit = fit_line(x, sums, level=level)
    test = None if isinstance(fit, str) else fit.clustered
    low, high = test.interval if test else (0.0, 0.0)
    return SegmentSlope(
        segment=name,
        users=int(sums.users.sum()),
        test=test,
        undefined_because=fit if isinstance(fit, str) else None,
        against_the_whole=high < 0 < whole.slope or whole.slope < 0 < low,
    )

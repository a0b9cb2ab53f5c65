"""The slope of each segment of users, and a test of heterogeneity."""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.results.family import Floats
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Segments, SegmentSlope, SlopeTest


def segments(
    x: Floats, sums: Mapping[str, GroupSums], whole: SlopeTest, *, level: float
) -> Segments | None:
    """Fit the line to every segment's sums; None without two segments.

    Args:
        x: Relative change of the metric over all users, one entry per group.
        sums: Of each segment, groups in the same order.
        whole: The slope of all users.
        level: Coverage of the intervals.
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
    undefined = isinstance(fit, UndefinedReason)
    test = None if undefined else fit.cluster_robust
    low, high = test.interval if test else (0.0, 0.0)
    return SegmentSlope(
        segment=name,
        users=int(sums.users.sum()),
        test=test,
        undefined_reason=fit if undefined else None,
        opposite_sign=high < 0 < whole.slope or whole.slope < 0 < low,
    )

"""The slope of each segment of users, and tests of heterogeneity.

Groups deviate from the line in all segments alike, so that the slopes of segments are compared within
the groups: the difference of the two working responses, segment less all other users, is regressed
on x by the same test as the headline. Cochran's Q takes the segments' slopes as independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
from scipy.special import chdtrc

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.headline.interval import fitted_groups, headline
from pipeline.inference.headline.readings import Groups
from pipeline.inference.headline.slope_test import score_slope
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.results.headline import Headline
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Segments, SegmentSlope, SlopeTest


def segments(
    groups: Groups, sums: Mapping[str, GroupSums], whole: Headline, *, level: float
) -> Segments | None:
    """Test every segment's slope; None without two segments.

    Args:
        groups: The metric, over all users.
        sums: Of each segment, groups in the same order.
        whole: The headline of all users.
        level: Coverage of the intervals.
    """
    if len(sums) < 2:
        return None
    slopes = tuple(_slope(groups, name, sums, whole, level) for name in sorted(sums))
    different = [p for one in slopes if (p := one.difference_p_value) is not None]
    q, q_p_value = _cochran([one.test for one in slopes if one.test])
    return Segments(
        slopes=slopes,
        p_value=min(different, default=None),
        cochran_q=q,
        cochran_p_value=q_p_value,
    )


def _slope(
    groups: Groups, name: str, sums: Mapping[str, GroupSums], whole: Headline, level: float
) -> SegmentSlope:
    own, x = sums[name], groups.x
    found = headline(x, own, groups.covariance_GG, level=level)
    p_value = _corrected(found.p_value, len(sums))
    others = [one for other, one in sums.items() if other != name]
    difference = _corrected(_difference(groups, own, others), len(sums))
    fit = fit_line(x, own, level=level)
    whole_p = 1.0 if whole.p_value is None else whole.p_value
    return SegmentSlope(
        segment=name,
        users=int(own.users.sum()),
        slope=found.slope,
        interval=found.interval,
        p_value=p_value,
        difference_p_value=difference,
        test=fit.cluster_robust if isinstance(fit, LineFit) else None,
        undefined_reason=found.undefined_reason,
        opposite_sign=found.positive is not whole.positive
        and p_value is not None
        and p_value < 1 - level
        and whole_p < 2 * (1 - level),
        differs=difference is not None and difference < 1 - level,
    )


def _corrected(p_value: float | None, tests: int) -> float | None:
    return None if p_value is None else min(1.0, tests * p_value)


def _difference(groups: Groups, own: GroupSums, others: Sequence[GroupSums]) -> float | None:
    """p-value of equal slopes in a segment and in all other users; None where undefined."""
    rest = replace(
        own,
        **{
            field.name: np.sum([getattr(one, field.name) for one in others], axis=0)
            for field in fields(own)
            if field.name != "family"
        },
    )
    here, there = (fitted_groups(groups.x, one, groups.covariance_GG) for one in (own, rest))
    if isinstance(here, UndefinedReason) or isinstance(there, UndefinedReason):
        return None
    response = WorkingResponse(
        values_G=here.response.values_G - there.response.values_G,
        variance_G=here.response.variance_G + there.response.variance_G,
        users_df=np.minimum(here.response.users_df, there.response.users_df),
    )
    score = score_slope(0.0, groups.x, response, groups.covariance_GG)
    return float(score.p_value) if max(score.users, score.small_sample) > 0 else None


def _cochran(tests: Sequence[SlopeTest]) -> tuple[float | None, float | None]:
    if len(tests) < 2:
        return None, None
    slope = np.array([test.slope for test in tests])
    weight = np.array([test.standard_error for test in tests]) ** -2.0
    q = float((weight * (slope - np.average(slope, weights=weight)) ** 2).sum())
    return q, float(chdtrc(len(tests) - 1, q))

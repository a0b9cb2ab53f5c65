"""The line of a headline, and how far off it may be at any value of the metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline.inference.headline.slope_test import score_slope
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.results.family import Floats
from pipeline.results.slopes import Interval

Margins = tuple[tuple[Interval, Interval], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line with the margins of its coefficients; see :class:`pipeline.results.headline.Headline`."""

    intercept: float
    margins: Margins


def line_through(
    x: Floats,
    response: WorkingResponse,
    *,
    slope: float,
    half_width: float | None,
    level: float,
) -> Line:
    """The line with this slope through the weighted mean of the groups.

    Its intervals come from the same two errors as that of the slope: at x0,
    ``k² (1/Σw + (x0 - x̄)²/Σwz²)`` from the groups' deviations, and the variance of the same weighted
    mean from the users. The part of the slope is scaled to ``half_width``.

    Args:
        x: The metric.
        response: The KPI on the link scale.
        slope: Of the line.
        half_width: The longer side of the slope's interval; None where it has no limit, and then
            there are no margins.
        level: Nominal coverage.
    """
    score = score_slope(0.0, x, response)
    w = 1 / (response.variance_G + score.tau2)
    centre = float((w * x).sum() / w.sum())
    z = x - centre
    spread = (w * z**2).sum()
    intercept = float((w * response.values_G).sum() / w.sum()) - slope * centre
    if half_width is None:
        return Line(intercept=intercept, margins=())
    effect = np.stack([w / w.sum(), w * z / spread])
    users = (effect * response.variance_G) @ effect.T * stdtrit(score.users_df, level) ** 2
    scale = float(score.small_sample_width(level)) ** 2 * spread
    groups = scale * np.diag([1 / w.sum(), 1 / spread])
    ratio = half_width / float(score.half_width(level))
    back = np.array([[1.0, -centre * ratio], [0.0, ratio]])
    return Line(
        intercept=intercept, margins=tuple(_pairs(back @ one @ back.T) for one in (groups, users))
    )


def margin(margins: Margins, gradient: Sequence[float] | Floats) -> float:
    """Half-width of the interval of ``gradient · (intercept, slope)``; see :class:`Line`."""
    c = np.asarray(gradient, dtype=np.float64)
    return max(float(np.sqrt(max(c @ np.array(one) @ c, 0.0))) for one in margins)


def _pairs(matrix: Floats) -> tuple[Interval, Interval]:
    (aa, ab), (ba, bb) = matrix.tolist()
    return (aa, ab), (ba, bb)

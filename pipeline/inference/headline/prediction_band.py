"""The line of a headline with its confidence band, and the change it predicts from group to group."""

import numpy as np

from pipeline.inference.headline.line import margin
from pipeline.results.family import Family
from pipeline.results.headline import Headline
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.slopes import BandPoint, Change

_STEPS = 24


def band_of(
    headline: Headline, family: Family, lowest: float, highest: float
) -> tuple[BandPoint, ...]:
    """The line with its band over a range of x; empty without one."""
    if headline.slope is None or headline.intercept is None or not headline.margins:
        return ()
    points: list[BandPoint] = []
    for x in np.linspace(lowest, highest, _STEPS + 1):
        line = headline.intercept + headline.slope * x
        width = margin(headline.margins, (1.0, x))
        with np.errstate(over="ignore"):
            rate, low, high = family.mean(np.array([line, line - width, line + width])).tolist()
        if not np.isfinite(high):  # no upper limit worth drawing
            return ()
        points.append(BandPoint(x=float(x), rate=rate, low=low, high=high))
    return tuple(points)


def predicted_change(result: HypothesisResult, start: float, end: float) -> Change | None:
    """The relative change of the KPI from one x to another on the line of a hypothesis.

    The margin of ``log rate`` follows from those of intercept and slope (delta method). None without
    an interval of the line.
    """
    found = result.headline
    if found is None or found.slope is None or found.intercept is None or not found.margins:
        return None
    family, x = result.link, np.array([start, end])
    rate = family.mean(found.intercept + found.slope * x)
    # d log p / d line is 1 - p of a binary KPI and 1 of an amount
    share = 1 - rate if family is Family.BINOMIAL else np.ones(2)
    gradient = np.array([share[1] - share[0], share[1] * x[1] - share[0] * x[0]])
    return log_change(float(np.log(rate[1] / rate[0])), margin(found.margins, gradient))


def log_change(middle: float, width: float) -> Change:
    """The relative change whose logarithm is ``middle`` ± ``width``."""
    low, high = (float(np.expm1(middle + side * width)) for side in (-1, 1))
    return Change(change=float(np.expm1(middle)), interval=(low, high))

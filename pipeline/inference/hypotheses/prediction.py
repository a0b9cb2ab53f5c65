"""The KPI that the line of a hypothesis predicts at any value of the metric.

``link(KPI) = a + b x`` with ``x = M / min M - 1``: the line of the headline, whose interval is for a new
preference on the same front.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.inference.headline.line import Margins, margin
from pipeline.results.family import Family
from pipeline.results.hypothesis import HypothesisResult


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiPrediction:
    """The predicted KPI at one value of the metric.

    Attributes:
        rate: The KPI; of binary KPIs in (0, 1), else above 0.
        interval: Confidence interval of the line.
        level: Nominal coverage of the interval.
        is_extrapolated: Whether the metric is outside the range of the groups.
    """

    rate: float
    interval: tuple[float, float]
    level: float
    is_extrapolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLine:
    """The line of a hypothesis with the margins of its coefficients.

    Attributes:
        family: Of the regression.
        intercept: At x = 0.
        slope: Of the line.
        margins: Of intercept and slope; see :class:`pipeline.results.headline.Headline`.
        smallest: The metric of the worst group, to which x is relative.
        largest: The metric of the best group.
        level: Nominal coverage of intervals.
    """

    family: Family
    intercept: float
    slope: float
    margins: Margins
    smallest: float
    largest: float
    level: float

    def at(self, metric: float) -> KpiPrediction:
        """The predicted KPI at this value of the metric."""
        x = metric / self.smallest - 1
        line, width = self.intercept + self.slope * x, margin(self.margins, (1.0, x))
        rates = self.family.mean(np.array([line - width, line, line + width]))
        low, middle, high = rates.tolist()
        return KpiPrediction(
            rate=middle,
            interval=(low, high),
            level=self.level,
            is_extrapolated=not self.smallest <= metric <= self.largest,
        )


def fitted_line(result: HypothesisResult) -> FittedLine | None:
    """The line of a hypothesis; None without a slope, or without an interval of it."""
    found = result.headline
    if found is None or found.slope is None or found.intercept is None or not found.margins:
        return None
    values = [one.metric_value for one in result.points if one.metric_value is not None]
    return FittedLine(
        family=result.link,
        intercept=found.intercept,
        slope=found.slope,
        margins=found.margins,
        smallest=min(values),
        largest=max(values),
        level=found.level,
    )

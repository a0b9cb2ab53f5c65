"""Figure 1 in small: the groups and the line of one hypothesis, for the first screen."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.core.labels import metric_label
from pipeline.reporting.figures.style import COLOURS, INK, STYLE, shortened
from pipeline.reporting.text.formatting import signed
from pipeline.results.hypothesis import GroupPoint, HypothesisResult

_MANY = 20
_LONGEST_NAME = 12


def lead_figure(hypothesis: HypothesisResult, kpi: str, cutoff: int | None) -> Figure:
    """The relative change of the KPI over that of the metric, one point per group, ±1.96 errors.

    Args:
        hypothesis: With a defined slope.
        kpi: Short name of its KPI.
        cutoff: The k of metrics whose name has none.
    """
    with mpl.rc_context(STYLE | {"font.size": 11}):
        figure = Figure(figsize=(4.3, 3.1), layout="constrained")
        ax = figure.subplots()
        points = [one for one in hypothesis.points if one.x is not None and one.rate]
        base = min((one.rate or 0.0 for one in points), default=0.0)
        if base > 0:
            _draw(ax, hypothesis, points, base)
        ax.set_xlabel(shortened(metric_label(hypothesis.metric, cutoff)))
        ax.set_ylabel(kpi)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(2))
            axis.set_major_formatter(FuncFormatter(_percent))
        return figure


def _percent(value: float, _: int | None) -> str:
    digits = 0 if value == round(value) else 1
    return f"{signed(value, digits)}%" if value else ""


def _draw(ax: Axes, hypothesis: HypothesisResult, points: list[GroupPoint], base: float) -> None:
    if hypothesis.band:
        x = [100 * one.x for one in hypothesis.band]
        low, high, line = (
            [100 * (rate / base - 1) for rate in rates]
            for rates in zip(
                *((one.low, one.high, one.rate) for one in hypothesis.band), strict=True
            )
        )
        ax.fill_between(x, low, high, color=COLOURS[0], alpha=0.16, linewidth=0)
        ax.plot(x, line, color=COLOURS[0], linewidth=1.6)
    ends = {
        one.group for one in sorted(points, key=lambda one: one.x or 0.0)[:: len(points) - 1 or 1]
    }
    size = 5 if len(points) <= _MANY else 2.5
    lowest, highest = 0.0, 0.0
    for one in points:
        x, y = 100 * (one.x or 0.0), 100 * ((one.rate or 0.0) / base - 1)
        error = 196 * (one.standard_error or 0.0) / base
        lowest, highest = min(lowest, y - error), max(highest, y + error)
        ax.errorbar(x, y, yerr=error, fmt="o", color=INK, markersize=size, elinewidth=size / 4)
        if one.group in ends and len(one.group) <= _LONGEST_NAME:
            ax.annotate(one.group, (x, y), (7, -12), textcoords="offset points")
    # A band without a limit goes beyond the axes instead of flattening the groups to a line.
    room = (highest - lowest) or 1.0
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, lowest - room), min(top, highest + room))

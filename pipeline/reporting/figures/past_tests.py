"""The lifts of past tests by the change of a metric, with the line and the prediction interval."""

import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import COLOURS, INK, STYLE, mark_id, shortened
from pipeline.reporting.text.past_tests import name_of
from pipeline.results.past_tests import EffectScale, PredictedLift, Proxy

_MOST_MARKS = 60
"""Tests that are drawn with their errors, and with a label for the keyboard."""


def proxy_figure(proxy: Proxy, scale: EffectScale, table: str) -> Figure:
    """One mark per variant of a test; ``table`` is the id of the data table with one row for each."""
    few = len(proxy.points) <= _MOST_MARKS
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        ax = figure.subplots()
        ax.axhline(0, color=INK, linewidth=0.6)
        ax.axvline(0, color=INK, linewidth=0.6)
        _band(ax, proxy.predictions, scale)
        for row, point in enumerate(proxy.points if few else ()):
            mark, *_ = ax.errorbar(
                _shown(point.delta, scale),
                _shown(point.lift, scale),
                xerr=1.96 * _width(point.delta_standard_error, scale),
                yerr=1.96 * _width(point.lift_standard_error, scale),
                fmt="o",
                color=COLOURS[0],
                elinewidth=0.8,
            )
            mark.set_gid(mark_id(table, row))
        if not few:
            ax.plot(
                [_shown(point.delta, scale) for point in proxy.points],
                [_shown(point.lift, scale) for point in proxy.points],
                ".",
                markersize=2,
                color=COLOURS[0],
                rasterized=True,
            )
        unit = ", %" if scale is EffectScale.LOG_RATIO else ""
        ax.set_xlabel(f"change of {shortened(name_of(proxy.metric))}{unit}")
        ax.set_ylabel(f"lift of {shortened(name_of(proxy.kpi))}{unit}")
        return figure


def _band(ax: Axes, predictions: tuple[PredictedLift, ...], scale: EffectScale) -> None:
    at = [_shown(one.delta, scale) for one in predictions]
    bounded = [
        (x, one.interval[0], one.interval[1])
        for x, one in zip(at, predictions, strict=True)
        if one.interval and one.interval[0] is not None and one.interval[1] is not None
    ]
    if bounded:
        x, low, high = zip(*bounded, strict=True)
        lower, upper = (np.array([_shown(one, scale) for one in side]) for side in (low, high))
        ax.fill_between(np.array(x), lower, upper, color=COLOURS[0], alpha=0.15, linewidth=0)
    ax.plot(at, [_shown(one.lift, scale) for one in predictions], color=COLOURS[3])


def _shown(value: float, scale: EffectScale) -> float:
    return 100 * math.expm1(min(value, 20.0)) if scale is EffectScale.LOG_RATIO else value


def _width(error: float, scale: EffectScale) -> float:
    return 100 * error if scale is EffectScale.LOG_RATIO else error

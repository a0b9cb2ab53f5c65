"""Figures of a planned experiment: its groups on the Pareto front, and power over days."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.figures.charts import front_figure
from pipeline.reporting.figures.style import COLOURS, INK, STYLE

_CURVES = (("shown", "significant", COLOURS[0]), ("confirmed", "confirmed", COLOURS[3]))
"""Key of ``power.json``, label and colour."""


def design_figure(
    points: Sequence[dict[str, Any]],
    groups: Sequence[dict[str, Any]],
    even: Sequence[str],
    cutoff: int,
) -> Figure:
    """The Pareto front with the groups of the plan; rings are evenly spaced preferences."""
    figure = front_figure(points, groups, cutoff)
    with mpl.rc_context(STYLE):
        ax = figure.axes[0]
        spaced = [point for point in points if point["preference_id"] in even]
        ax.plot(
            [point["recall"] for point in spaced],
            [point["order_density"] for point in spaced],
            linestyle="none",
            marker="o",
            markersize=15,
            color="none",
            markeredgecolor=COLOURS[3],
            label="evenly spaced π",
        )
        ax.legend(loc="lower left", fontsize=9)
    return figure


def power_figure(power: dict[str, Any], cutoff: int) -> Figure:
    """Power over days, one panel per hypothesis; dashed for evenly spaced preferences."""
    hypotheses = power["hypotheses"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * min(2, len(hypotheses)), 2.9 * -(-len(hypotheses) // 2)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots(-(-len(hypotheses) // 2), min(2, len(hypotheses)), squeeze=False)
        for ax in axes.flat[len(hypotheses) :]:
            ax.set_axis_off()
        for ax, one in zip(axes.flat, hypotheses, strict=False):
            _curves(ax, one, power, cutoff)
        return figure


def _curves(ax: Axes, one: dict[str, Any], power: dict[str, Any], cutoff: int) -> None:
    metric, sign = metric_label(one["metric"], cutoff), "−" * (one["direction"] == "negative")
    ax.set_title(
        f"{one['id']}: {metric} → {KPI_LABELS[one['response']]}, slope {sign}{one['slope']:g}"
    )
    if one["undefined_because"]:
        words = one["undefined_because"]
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, wrap=True)
        return
    for key, name, colour in _CURVES:
        for place, dashes in (("chosen", "-"), ("even", "--")):
            chances = [one[place][f"chance_{key}"], one[place]["days"]]
            known = [(day, c) for c, day in zip(*chances, strict=True) if c is not None]
            label = name if place == "chosen" else f"{name}, evenly spaced"
            ax.plot(
                [day for day, _ in known],
                [100 * chance for _, chance in known],
                linestyle=dashes,
                color=colour,
                label=label,
            )
    ax.axhline(100 * power["wanted_power"], color=INK, linewidth=0.6)
    ax.axvline(power["planned_days"], color=INK, linewidth=0.6)
    ax.set_ylim(0, 103)
    ax.set_xlabel("days")
    ax.set_ylabel("power [%]")
    ax.legend(fontsize=7, loc="lower right")

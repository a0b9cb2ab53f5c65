"""Figures of a planned experiment: its groups on the Pareto front, and power over days."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.figures.charts import panel_grid
from pipeline.reporting.figures.front import front_figure, point_at
from pipeline.reporting.figures.style import COLOURS, INK, STYLE, annotate_empty, shortened
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.document import FrontPoint, GroupSummary
from pipeline.results.power import PlannedHypothesis, PowerAnalysis


def design_figure(
    points: Sequence[FrontPoint],
    axes: Sequence[str],
    groups: Sequence[GroupSummary],
    even: Sequence[str],
    cutoff: int,
) -> Figure:
    """The Pareto front with the groups of the plan; rings are evenly spaced preferences."""
    figure = front_figure(points, axes, groups, cutoff)
    with mpl.rc_context(STYLE):
        ax = figure.axes[0]
        spaced = [point_at(one, axes[:2]) for one in points if one.preference_id in even]
        ax.plot(
            *zip(*spaced, strict=True),
            linestyle="none",
            marker="o",
            markersize=15,
            color="none",
            markeredgecolor=COLOURS[3],
            label="evenly spaced π",
        )
        ax.legend(loc="lower left", fontsize=9)
    return figure


def power_figure(power: PowerAnalysis, cutoff: int) -> Figure:
    """Power over days, one panel per hypothesis; dashed for evenly spaced preferences."""
    with mpl.rc_context(STYLE):
        figure, axes = panel_grid(len(power.hypotheses), height=2.9)
        for ax, one in zip(axes, power.hypotheses, strict=True):
            _panel(ax, one, power, cutoff)
        return figure


def _panel(ax: Axes, one: PlannedHypothesis, power: PowerAnalysis, cutoff: int) -> None:
    metric, sign = shortened(metric_label(one.metric, cutoff)), "−" * (one.direction == "negative")
    ax.set_title(f"{one.id}: {metric} → {KPI_LABELS[one.response]}, slope {sign}{one.slope:g}")
    if one.undefined_reason:
        annotate_empty(ax, undefined_words(one.undefined_reason))
        return
    for reach, suffix, dashes in ((one.chosen, "", "-"), (one.even, ", evenly spaced", "--")):
        assert reach is not None
        curve = zip(reach.days, reach.power_confirmed, strict=True)
        known = [(day, chance) for day, chance in curve if chance is not None]
        ax.plot(
            [day for day, _ in known],
            [100 * chance for _, chance in known],
            linestyle=dashes,
            color=COLOURS[3],
            label=f"confirmed{suffix}",
        )
    ax.axhline(100 * power.target_power, color=INK, linewidth=0.6)
    ax.axvline(power.planned_days, color=INK, linewidth=0.6)
    ax.set_ylim(0, 103)
    ax.set_xlabel("days")
    ax.set_ylabel("power [%]")
    ax.legend(fontsize=7, loc="lower right")

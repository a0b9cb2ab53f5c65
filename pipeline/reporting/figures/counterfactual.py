"""Estimated against realised lifts, group by group."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.core.labels import KPI_LABELS
from pipeline.reporting.figures.style import COLOURS, INK, STYLE, mark_id, shortened
from pipeline.results.counterfactual_estimates import GroupEstimate, KpiCheck

LIFTS = "counterfactual-lifts"
"""The table whose rows the marks are: one per KPI and group."""

_OFFSET = 0.16
_WIDTH, _ROW, _COLUMNS = 3.0, 0.42, 2


def lift_panels(kpis: Sequence[KpiCheck]) -> Figure:
    """One panel per KPI, with two intervals per group: estimated from the other groups (filled), and realised."""
    groups = [one.group for one in kpis[0].headline.groups]
    with mpl.rc_context(STYLE):
        columns = min(_COLUMNS, len(kpis))
        rows = -(-len(kpis) // columns)
        size = (_WIDTH * columns + 0.6, rows * (0.8 + _ROW * len(groups)) + 0.5)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for unused in panels[len(kpis) :]:
            unused.set_axis_off()
        for number, (ax, kpi) in enumerate(zip(panels[: len(kpis)], kpis, strict=True)):
            _panel(ax, kpi, first=number * len(groups))
        panels[0].set_yticks(range(len(groups)), [shortened(one) for one in groups])
        panels[0].set_ylim(len(groups) - 0.5, -0.5)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=2)
        return figure


def _panel(ax: Axes, kpi: KpiCheck, *, first: int) -> None:
    ax.axvline(0, color=INK, linewidth=0.8)
    for row, one in enumerate(kpi.headline.groups):
        _estimated(ax, row, one, mark_id(LIFTS, first + row))
        ax.plot(one.realised_interval, [row + _OFFSET] * 2, color=COLOURS[3], linewidth=2)
        ax.plot(
            [one.realised_lift],
            [row + _OFFSET],
            marker="o",
            linestyle="none",
            color=COLOURS[3],
            markerfacecolor="white",
            label=None if row else "realised by the group itself",
        )
    ax.set_title(KPI_LABELS[kpi.kpi])
    ax.set_xlabel(f"lift over the other groups, {kpi.headline.name}")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _estimated(ax: Axes, row: int, one: GroupEstimate, mark: str) -> None:
    if one.lift_interval is not None:
        ax.plot(one.lift_interval, [row - _OFFSET] * 2, color=COLOURS[0], linewidth=2)
    ax.plot(
        [one.lift],
        [row - _OFFSET],
        marker="o",
        linestyle="none",
        color=COLOURS[0],
        label=None if row else "estimated from the other groups",
        gid=mark,
    )

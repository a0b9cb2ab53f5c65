"""The report's pictures, each drawn from values that stand in ``report.json``."""

import base64
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.document import CurvePoint, FrontPoint, GroupSummary
from pipeline.results.hypothesis import HypothesisResult

_LETTERS_AN_INCH = 13
_NEAR = 0.1
"""Groups closer than this share of the front's width have their names on different sides."""

INK = "#010203"
"""Stands for the page's text colour, which a dark page changes; see :mod:`pipeline.reporting.figures.svg`."""

COLOURS = ("#3b7dd8", "#17a398", "#e0a100", "#e4572e", "#a24bc4", "#6b8e23", "#d6488e", "#7a6a53")
MARKERS = ("o", "s", "^", "D")
"""Groups beyond the number of colours have them again with another marker."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paretoscope",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


MARK = "mark:"
"""Begins the gid of what a table explains."""


def mark_id(table: str, row: int) -> str:
    """The gid of a mark that the row of a table explains, counted from 0."""
    return f"{MARK}{table}-{row}"


def hypothesis_panels(hypotheses: Sequence[HypothesisResult], cutoff: int | None) -> Figure:
    """Figure 1 of the paper for this study: a panel a hypothesis.

    Points are groups: change of the metric against the worst group, and of the KPI against the
    lowest group, with intervals of ±1.96 standard errors; the line is the fitted regression with
    its band.
    """
    columns = min(2, len(hypotheses))
    rows = math.ceil(len(hypotheses) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * columns, 3.5 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat[len(hypotheses) :]:
            ax.set_axis_off()
        for ax, hypothesis in zip(axes.flat, hypotheses, strict=False):
            _panel(ax, hypothesis, cutoff)
        _legend_of_groups(figure, axes.flat)
        return figure


def _legend_of_groups(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, below them: in a panel it would hide points."""
    groups = {
        name: handle
        for ax in panels
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    if groups:
        names = sorted(groups, key=_by_number)
        handles = [groups[name] for name in names]
        letters = int(_LETTERS_AN_INCH * figure.get_figwidth())
        rows = math.ceil(len(names) / max(1, letters // (max(map(len, names)) + 9)))
        columns = math.ceil(len(names) / rows)
        figure.legend(handles, names, loc="outside lower left", ncols=columns)


def _by_number(name: str) -> list[str | int]:
    """A key that sorts g2 before g10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


def _panel(ax: Axes, hypothesis: HypothesisResult, cutoff: int | None) -> None:
    metric = metric_label(hypothesis.metric, cutoff)
    ax.set_title(f"{hypothesis.id}: {metric} → {KPI_LABELS[hypothesis.response]}")
    ax.set_xlabel(f"change of {metric} [%]")
    ax.set_ylabel("change of the KPI [%]")
    if hypothesis.slope is None:
        words = f"undefined:\n{undefined_words(hypothesis.undefined_reason)}"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        return
    points = hypothesis.points
    base = min(point.rate or 0.0 for point in points)
    if base == 0:
        ax.text(0.5, 0.5, "a group's KPI is 0", ha="center", va="center", transform=ax.transAxes)
        return
    for number, point in enumerate(points):
        error = point.x_standard_error
        dot, *_ = ax.errorbar(
            100 * (point.x or 0.0),
            100 * ((point.rate or 0.0) / base - 1),
            xerr=100 * 1.96 * error if error else None,
            yerr=100 * 1.96 * (point.standard_error or 0.0) / base,
            fmt=MARKERS[number // len(COLOURS) % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
            label=point.group,
        )
        dot.set_gid(mark_id(f"points-{hypothesis.id}", number))
    x = [100 * place.x for place in hypothesis.band]
    line, low, high = (
        [100 * (getattr(place, end) / base - 1) for place in hypothesis.band]
        for end in ("rate", "low", "high")
    )
    ax.fill_between(x, low, high, color=INK, alpha=0.12, linewidth=0)
    ax.plot(x, line, color=INK, linewidth=1.5)


def front_picture(
    points: Sequence[FrontPoint], groups: Sequence[GroupSummary], cutoff: int | None
) -> Figure:
    """The front in metric space, with the traffic plan's groups on it."""
    places: dict[str | None, str] = {}
    for group in groups:
        known = places.get(group.preference_id)
        places[group.preference_id] = f"{known}, {group.name}" if known else group.name
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        ax = figure.subplots()
        ordered = sorted(points, key=lambda point: point.recall)
        kept = [point for point in ordered if not point.dominated]
        ax.plot([p.recall for p in kept], [p.order_density for p in kept], color=COLOURS[0])
        wide, last = ordered[-1].recall - ordered[0].recall, None
        for point in ordered:
            row = points.index(point)
            name = places.get(point.preference_id)
            ax.plot(
                point.recall,
                point.order_density,
                marker="o",
                markersize=9 if name else 5,
                color=COLOURS[0] if not point.dominated else "none",
                markeredgecolor=COLOURS[0],
                gid=mark_id("front-points", row),
            )
            if name:
                place = (point.recall, point.order_density)
                words = f"{name} (π = {point.preference[0]:.1f})"
                near = last is not None and place[0] - last < _NEAR * wide
                side, last = ((-8, -12), "right") if near else ((8, 6), "left"), place[0]
                ax.annotate(
                    words, place, side[0], textcoords="offset points", fontsize=9, ha=side[1]
                )
        ax.margins(x=0.15, y=0.12)
        ax.set_xlabel(f"Recall@{cutoff}")
        ax.set_ylabel(f"OD@{cutoff}")
        return figure


def learning_curves_picture(curves: Sequence[CurvePoint]) -> Figure:
    """Loss of each objective after every epoch, on train and validation; and the hypervolume."""
    objectives = list(dict.fromkeys(point.objective for point in curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(objectives), 2.8), layout="constrained")
        axes = figure.subplots(1, len(objectives), squeeze=False)
        for ax, objective in zip(axes.flat, objectives, strict=True):
            _curves(ax, curves, objective)
        return figure


def learning_curves(curves: Sequence[CurvePoint]) -> dict[str, Figure]:
    """The same as a figure an objective, named ``curves-`` and the objective."""
    found: dict[str, Figure] = {}
    for objective in dict.fromkeys(point.objective for point in curves):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(4.4, 2.8), layout="constrained")
            _curves(figure.subplots(), curves, objective)
        found[f"curves-{objective}"] = figure
    return found


def _curves(ax: Axes, curves: Sequence[CurvePoint], objective: str) -> None:
    """An objective on every split; a front is measured on validation alone."""
    for number, split in enumerate(("train", "validation")):
        rows = [
            (row, point)
            for row, point in enumerate(curves)
            if (point.objective, point.split) == (objective, split)
        ]
        if not rows:
            continue
        colour = COLOURS[number]
        places = [(point.epoch, point.loss) for _, point in rows]
        ax.plot(*zip(*places, strict=True), color=colour, label=split)
        for (row, _), place in zip(rows, places, strict=True):
            ax.plot(*place, marker="o", markersize=5, color=colour, gid=mark_id("curves", row))
    ax.set_title("hypervolume of the front" if objective == "hypervolume" else f"{objective} loss")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8)


def as_markdown(figure: Figure, words: str) -> str:
    """The figure as a Markdown image that carries its bytes, for the Dagster UI."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            stream, format="png", dpi=110, facecolor="white", metadata={"Software": None}
        )
    return f"![{words}](data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()})"

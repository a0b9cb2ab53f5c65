"""Charts of reports and comparisons, in matplotlib; every value is in the JSON of the page."""

import base64
import io
import math
import re
from collections.abc import Iterable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.comparison.front_comparison import FrontComparison
from pipeline.reporting.comparison.slope_comparison import StudySlope
from pipeline.reporting.figures.front import as_drawn
from pipeline.reporting.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    STYLE,
    annotate_empty,
    mark_id,
    shortened,
)
from pipeline.reporting.text.markdown import as_text
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.document import CurvePoint
from pipeline.results.hypothesis import HypothesisResult

_MOST_LEGEND_ROWS = 5
"""A longer legend leaves no room for points; the data table names them."""

_LONGEST_GROUP, _LONGEST_METRIC = 34, 28
_LETTERS_PER_INCH = 13


def hypothesis_panels(hypotheses: Sequence[HypothesisResult], cutoff: int | None) -> Figure:
    """Figure 1 of the paper for this study, one panel per hypothesis.

    Points are groups: relative change of the metric against its smallest value and of the KPI
    against the lowest group, ±1.96 standard errors. The line is the fitted regression with its
    confidence band.
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel_grid(len(hypotheses), height=3.5)
        for ax, hypothesis in zip(axes, hypotheses, strict=True):
            _panel(ax, hypothesis, cutoff)
        _legend_of_groups(figure, axes)
        return figure


def panel_grid(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels, two per row, each ``height`` inches high."""
    columns, rows = min(2, count), math.ceil(count / 2)
    figure = Figure(figsize=(4.4 * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def _legend_of_groups(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend below all panels; inside a panel it would cover points."""
    groups = {
        name: handle
        for ax in panels
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    if groups:
        names = sorted(groups, key=_by_number)
        handles = [groups[name] for name in names]
        letters = int(_LETTERS_PER_INCH * figure.get_figwidth())
        rows = math.ceil(len(names) / max(1, letters // (max(map(len, names)) + 9)))
        if rows > _MOST_LEGEND_ROWS:
            return
        columns = math.ceil(len(names) / rows)
        figure.legend(handles, names, loc="outside lower left", ncols=columns)


def _by_number(name: str) -> list[str | int]:
    """A sort key: g2 before g10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


def _panel(ax: Axes, hypothesis: HypothesisResult, cutoff: int | None) -> None:
    metric = shortened(metric_label(hypothesis.metric, cutoff), _LONGEST_METRIC)
    long = len(metric) == _LONGEST_METRIC
    arrow = "\n→" if long else " →"
    ax.set_title(f"{hypothesis.id}: {metric}{arrow} {KPI_LABELS[hypothesis.response]}")
    ax.set_xlabel(f"relative change of {metric} [%]")
    ax.set_ylabel("relative change of the KPI [%]")
    if hypothesis.undefined_reason:
        annotate_empty(ax, f"undefined:\n{undefined_words(hypothesis.undefined_reason)}")
        return
    base = min(point.rate or 0.0 for point in hypothesis.points)
    if base == 0:
        annotate_empty(ax, "the KPI of a group is 0")
        return
    for number, point in enumerate(hypothesis.points):
        assert point.x is not None
        assert point.rate is not None
        dot, *_ = ax.errorbar(
            100 * point.x,
            100 * (point.rate / base - 1),
            xerr=100 * 1.96 * point.x_standard_error if point.x_standard_error else None,
            yerr=100 * 1.96 * (point.standard_error or 0.0) / base,
            fmt=MARKERS[number // len(COLOURS) % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
            label=shortened(point.group, _LONGEST_GROUP),
        )
        dot.set_gid(mark_id(f"points-{hypothesis.id}", number))
    if not hypothesis.band:
        return
    x = [100 * point.x for point in hypothesis.band]
    line, low, high = (
        [100 * (rate / base - 1) for rate in rates]
        for rates in zip(*((one.rate, one.low, one.high) for one in hypothesis.band), strict=True)
    )
    ax.fill_between(x, low, high, color=INK, alpha=0.12, linewidth=0)
    ax.plot(x, line, color=INK, linewidth=1.5)


def learning_curves_figure(curves: Sequence[CurvePoint]) -> Figure:
    """Learning curves, one panel per objective: loss per epoch and split, and the hypervolume."""
    objectives = list(dict.fromkeys(point.objective for point in curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(objectives), 2.8), layout="constrained")
        axes = figure.subplots(1, len(objectives), squeeze=False)
        for ax, objective in zip(axes.flat, objectives, strict=True):
            _curves(ax, curves, objective)
        return figure


def learning_curves(curves: Sequence[CurvePoint]) -> dict[str, Figure]:
    """Learning curves as one figure per objective, by the name ``curves-OBJECTIVE``."""
    found: dict[str, Figure] = {}
    for objective in dict.fromkeys(point.objective for point in curves):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(4.4, 2.8), layout="constrained")
            _curves(figure.subplots(), curves, objective)
        found[f"curves-{objective}"] = figure
    return found


def _curves(ax: Axes, curves: Sequence[CurvePoint], objective: str) -> None:
    """One objective on every split; the hypervolume is measured on validation only."""
    for number, split in enumerate(("train", "validation")):
        rows = [
            (row, point)
            for row, point in enumerate(curves)
            if (point.objective, point.split) == (objective, split)
        ]
        if not rows:
            continue
        ax.plot(
            [point.epoch for _, point in rows],
            [point.loss for _, point in rows],
            color=COLOURS[number],
            label=split,
        )
        for row, point in rows:
            ax.plot(
                point.epoch,
                point.loss,
                marker="o",
                markersize=5,
                color=COLOURS[number],
                gid=mark_id("curves", row),
            )
    ax.set_title("hypervolume" if objective == "hypervolume" else f"{objective} loss")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8)


def fronts_figure(fronts: FrontComparison) -> Figure:
    """The Pareto fronts of several studies, ±1.96 standard errors; hollow points are dominated."""
    cutoffs = {one.cutoff for one in fronts.studies}
    cutoff = cutoffs.pop() if len(cutoffs) == 1 else None
    row = 0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        ax = figure.subplots()
        for number, one in enumerate(fronts.studies):
            colour, marker = _of_study(number)
            kept = sorted(as_drawn(p.metrics) for p in one.points if p.dominated is False)
            ax.plot(
                *zip(*kept, strict=True), color=colour, marker=marker, label=shortened(one.study)
            )
            for point in one.points:
                (x, y), (x_error, y_error) = as_drawn(point.metrics), point.standard_errors
                dot, *_ = ax.errorbar(
                    x,
                    y,
                    xerr=1.96 * (x_error or 0.0),
                    yerr=1.96 * (y_error or 0.0),
                    fmt=marker,
                    color=colour,
                    elinewidth=0.8,
                    markerfacecolor="white" if point.dominated else colour,
                )
                dot.set_gid(mark_id("points", row))
                row += 1
        ax.set_xlabel(metric_label(fronts.axes[0], cutoff))
        ax.set_ylabel(metric_label(fronts.axes[1], cutoff))
        figure.legend(loc="outside lower left", ncols=2)
        return figure


def slopes_figure(studies: Sequence[StudySlope], table: str) -> Figure | None:
    """The slope per study: a thick cluster-robust CI, a thin small-sample CI; None without any.

    ``table`` is the id of the data table, which has one row per study.
    """
    if not any(one.test for one in studies):
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.8 + 0.4 * len(studies)), layout="constrained")
        ax = figure.subplots()
        ax.axvline(0, color=INK, linewidth=0.8)
        for row, one in enumerate(studies):
            if not one.test:
                continue
            colour, marker = _of_study(row)
            ax.plot(one.test.interval, [row, row], color=colour, linewidth=3.5)
            if one.small_sample:
                ax.plot(one.small_sample.interval, [row, row], color=colour, linewidth=1)
            gid = mark_id(table, row)
            ax.plot([one.test.slope], [row], marker=marker, markersize=8, color=colour, gid=gid)
        ax.set_yticks(range(len(studies)), [shortened(one.study) for one in studies])
        ax.set_ylim(len(studies) - 0.5, -0.5)
        ax.set_xlabel("slope")
        return figure


def _of_study(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def as_markdown(figure: Figure, alt: str) -> str:
    """The figure as a Markdown image with embedded PNG bytes, for the Dagster UI."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            stream, format="png", dpi=110, facecolor="white", metadata={"Software": None}
        )
    return (
        f"![{as_text(alt)}](data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()})"
    )

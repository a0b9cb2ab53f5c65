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

METRIC_LABELS = {
    "recall": "Recall@{k}",
    "order_density": "OD@{k}",
    "recall_order_density": "Recall@{k} · OD@{k}",
    "order_recall": "order recall@{k}",
    "mrr": "MRR@{k}",
    "ndcg": "NDCG@{k}",
    "cold_item_recall": "cold-item recall@{k}",
    "short_session_recall": "short-session recall@{k}",
    "click_loss": "click loss",
    "order_loss": "order loss",
    "catalogue_coverage": "catalogue coverage@{k}",
    "exposure_gini": "Gini of exposure@{k}",
    "popularity_percentile": "popularity percentile@{k}",
    "novelty": "novelty@{k}",
    "intra_list_diversity": "intra-list diversity@{k}",
    "category_diversity": "category diversity@{k}",
    "freshness": "freshness@{k}",
}
KPI_LABELS = {
    "ctr": "click-through rate",
    "cvr": "conversion of clicks",
    "sale_rate": "sales per exposure",
    "units_per_exposure": "units per exposure",
    "revenue_per_exposure": "revenue per exposure",
    "clicks_per_user": "clicks per user",
    "orders_per_user": "orders per user",
    "units_per_user": "units per user",
    "revenue_per_user": "revenue per user",
}

_LETTERS_AN_INCH = 13

INK = "#010203"
"""Stands for the page's text colour, which a dark page changes; see :mod:`pipeline.reporting.svg`."""

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


def mark(table: str, row: int) -> str:
    """The gid of a mark that the row of a table explains, counted from 0."""
    return f"{MARK}{table}-{row}"


def metric_label(metric: str, cutoff: int | None) -> str:
    """An offline metric as the report writes it, such as ``Recall@20``; one's own by its name.

    ``cutoff`` is that of metrics whose name has none; None leaves it out.
    """
    name, _, further = metric.partition("@")
    if name not in METRIC_LABELS:
        return metric
    k = further or cutoff
    return METRIC_LABELS[name].replace("@{k}", f"@{k}" if k else "")


def hypothesis_panels(hypotheses: Sequence[dict[str, Any]], cutoff: int) -> Figure:
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


def _panel(ax: Axes, hypothesis: dict[str, Any], cutoff: int) -> None:
    metric = metric_label(hypothesis["metric"], cutoff)
    ax.set_title(f"{hypothesis['id']}: {metric} → {KPI_LABELS[hypothesis['response']]}")
    ax.set_xlabel(f"change of {metric} [%]")
    ax.set_ylabel("change of the KPI [%]")
    if hypothesis["slope"] is None:
        words = f"undefined:\n{hypothesis['undefined_because']}"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        return
    points = hypothesis["points"]
    base = min(point["rate"] for point in points)
    if base == 0:
        ax.text(0.5, 0.5, "a group's KPI is 0", ha="center", va="center", transform=ax.transAxes)
        return
    for number, point in enumerate(points):
        dot, *_ = ax.errorbar(
            100 * point["x"],
            100 * (point["rate"] / base - 1),
            xerr=100 * 1.96 * (point["x_standard_error"] or 0.0),
            yerr=100 * 1.96 * (point["standard_error"] or 0.0) / base,
            fmt=MARKERS[number // len(COLOURS) % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
            label=point["group"],
        )
        dot.set_gid(mark(f"points-{hypothesis['id']}", number))
    x = [100 * place["x"] for place in hypothesis["band"]]
    line, low, high = (
        [100 * (place[end] / base - 1) for place in hypothesis["band"]]
        for end in ("rate", "low", "high")
    )
    ax.fill_between(x, low, high, color=INK, alpha=0.12, linewidth=0)
    ax.plot(x, line, color=INK, linewidth=1.5)


def front_picture(
    points: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]], cutoff: int
) -> Figure:
    """The front in metric space, with the traffic plan's groups on it."""
    places: dict[str, str] = {}
    for group in groups:
        known = places.get(group["preference_id"])
        places[group["preference_id"]] = f"{known}, {group['name']}" if known else group["name"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        ax = figure.subplots()
        ordered = sorted(points, key=lambda point: point["recall"])
        kept = [point for point in ordered if not point["dominated"]]
        ax.plot([p["recall"] for p in kept], [p["order_density"] for p in kept], color=COLOURS[0])
        for point in ordered:
            row = points.index(point)
            name = places.get(point["preference_id"])
            ax.plot(
                point["recall"],
                point["order_density"],
                marker="o",
                markersize=9 if name else 5,
                color=COLOURS[0] if not point["dominated"] else "none",
                markeredgecolor=COLOURS[0],
                gid=mark("front-points", row),
            )
            if name:
                place = (point["recall"], point["order_density"])
                words = f"{name} (π = {point['preference'][0]:.1f})"
                ax.annotate(words, place, (8, 6), textcoords="offset points", fontsize=9)
        ax.margins(x=0.15, y=0.12)
        ax.set_xlabel(f"Recall@{cutoff}")
        ax.set_ylabel(f"OD@{cutoff}")
        return figure


def learning_curves_picture(curves: Sequence[dict[str, Any]]) -> Figure:
    """Loss of each objective after every epoch, on train and validation; and the hypervolume."""
    objectives = list(dict.fromkeys(point["objective"] for point in curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(objectives), 2.8), layout="constrained")
        axes = figure.subplots(1, len(objectives), squeeze=False)
        for ax, objective in zip(axes.flat, objectives, strict=True):
            points = [point for point in curves if point["objective"] == objective]
            for number, split in enumerate(("train", "validation")):
                line = [point for point in points if point["split"] == split]
                if not line:  # a front is measured on validation alone
                    continue
                places = [(p["epoch"], p["loss"]) for p in line]
                ax.plot(*zip(*places, strict=True), color=COLOURS[number], label=split)
                for point, place in zip(line, places, strict=True):
                    gid = mark("curves", curves.index(point))
                    ax.plot(*place, marker="o", markersize=5, color=COLOURS[number], gid=gid)
            is_loss = objective != "hypervolume"
            ax.set_title(f"{objective} loss" if is_loss else "hypervolume of the front")
            ax.set_xlabel("epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.legend(fontsize=8)
        return figure


def as_markdown(figure: Figure, words: str) -> str:
    """The figure as a Markdown image that carries its bytes, for the Dagster UI."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            stream, format="png", dpi=110, facecolor="white", metadata={"Software": None}
        )
    return f"![{words}](data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()})"

"""The figure of a Pareto front, with the groups of the experiment."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from pipeline.core.labels import metric_label
from pipeline.reporting.figures.style import COLOURS, STYLE, annotate_empty, mark_id, shortened
from pipeline.results.document import FrontPoint, GroupSummary

_NEAR = 0.15
"""Labels of groups closer than this share of the front's width go to opposite sides."""

_FARTHEST = 60
"""Points that a label may lie below its mark; a label without a free place there is left out."""


def front_figure(
    points: Sequence[FrontPoint],
    axes: Sequence[str],
    groups: Sequence[GroupSummary],
    cutoff: int | None,
) -> Figure:
    """The Pareto front in metric space, with the groups of the traffic plan.

    One panel per further axis, each against the first. With two axes, a line joins the points of a
    level that are not dominated; of other levels than the neutral one, it is dashed.
    """
    names: dict[str, list[str]] = {}
    for group in groups:
        names.setdefault(group.preference_id or "", []).append(group.name)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0 * (len(axes) - 1)), layout="constrained")
        panels = figure.subplots(len(axes) - 1, 1, squeeze=False)
        labels: dict[Axes, dict[Annotation, int]] = {}
        for ax, y_axis in zip(panels.flat, axes[1:], strict=True):
            labels[ax] = _front_panel(ax, points, (axes[0], y_axis), names)
            kept = [point for point in points if point.dominated is False]
            for level in dict.fromkeys(point.level_label for point in kept if len(axes) == 2):
                line = sorted(
                    point_at(p, (axes[0], y_axis)) for p in kept if p.level_label == level
                )
                ax.plot(
                    *zip(*line, strict=True),
                    color=COLOURS[0],
                    linestyle="--" if level else "-",
                    zorder=1,
                )
            if not kept:
                annotate_empty(ax, "no preference has a target in the top k")
            ax.margins(x=0.15, y=0.12)
            ax.set_xlabel(metric_label(axes[0], cutoff))
            ax.set_ylabel(metric_label(y_axis, cutoff))
        _move_apart(figure, labels)
        return figure


def point_at(point: FrontPoint, axes: Sequence[str]) -> tuple[float, ...]:
    """A point's metrics on some axes; nan, which is not drawn, where one is undefined."""
    return as_drawn([point.metrics[axis] for axis in axes])


def as_drawn(values: Sequence[float | None]) -> tuple[float, ...]:
    """Coordinates; nan, which is not drawn, where one is undefined."""
    return tuple(math.nan if value is None else value for value in values)


def _front_panel(
    ax: Axes, points: Sequence[FrontPoint], axes: tuple[str, str], names: dict[str, list[str]]
) -> dict[Annotation, int]:
    """Draw the points; returns the labels, and how many groups each names."""
    places = {point.preference_id: point_at(point, axes) for point in points}
    for row, point in enumerate(points):
        ax.plot(
            *places[point.preference_id],
            marker="s" if point.level_label else "o",
            markersize=9 if point.preference_id in names else 5,
            color="none" if point.dominated else COLOURS[0],
            markeredgecolor=COLOURS[0],
            gid=mark_id("front-points", row),
        )
    xs = [x for x, _ in places.values() if not math.isnan(x)]
    near, last = _NEAR * (max(xs, default=0.0) - min(xs, default=0.0)), -math.inf
    labels: dict[Annotation, int] = {}
    for point in sorted(points, key=lambda point: places[point.preference_id][0]):
        x, y = places[point.preference_id]
        if point.preference_id not in names or math.isnan(x + y):
            continue
        left = last > -math.inf and x - last < near
        weights = ", ".join(f"{weight:.1f}" for weight in point.preference[:-1])
        level = f", {point.level_label}" if point.level_label else ""
        label = ax.annotate(
            f"{shortened(', '.join(names[point.preference_id]))} (π = {weights}{level})",
            (x, y),
            (-8, -12) if left else (8, 6),
            textcoords="offset points",
            fontsize=9,
            ha="right" if left else "left",
        )
        labels[label] = len(names[point.preference_id])
        last = x
    return labels


def _move_apart(figure: Figure, labels: Mapping[Axes, Mapping[Annotation, int]]) -> None:
    """Move labels down until none covers one before it, and the lower ends of the axes with them.

    A panel whose marks lie too close for all labels says how many it leaves out.
    """
    for _ in range(2):  # a longer axis brings its points, and their labels, closer together
        figure.draw_without_rendering()
        for ax, on_panel in labels.items():
            placed = []
            for label in filter(Annotation.get_visible, on_panel):
                while any(label.get_window_extent().overlaps(other) for other in placed):
                    across, up = label.xyann
                    if up <= -_FARTHEST:
                        label.set_visible(False)
                        break
                    label.xyann = (across, up - 1)
                else:
                    box = label.get_window_extent()
                    placed.append(box)
                    low, _ = ax.get_ylim()
                    reached = ax.transData.inverted().transform((box.x0, box.y0))[1]
                    ax.set_ylim(bottom=min(low, reached))
    for ax, on_panel in labels.items():
        if left_out := sum(groups for label, groups in on_panel.items() if not label.get_visible()):
            ax.set_title(f"{left_out} more groups without a label", loc="right", fontsize=9)

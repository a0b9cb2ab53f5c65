"""The figure of the data card."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, PercentFormatter

from pipeline.reporting.figures.style import COLOURS, INK, STYLE, annotate_empty, mark_id
from pipeline.reporting.text.formatting import thousands

Json = Mapping[str, Any]


def data_card_figure(profile: Json) -> Figure:
    """Session lengths, popularity, events per day, conversion, and rejected or dropped rows.

    The ``profile`` is that of :func:`pipeline.sessions.profile.profile_sessions`.
    """
    rejected = [
        *((f"rows: {reason}", n) for reason, n in profile["rejected_by_reason"].items()),
        *((what.replace("_", " "), n) for what, n in profile["dropped"].items() if n),
    ]
    lowest = 0.7 + 0.2 * max(2, len(rejected))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 5.4 + lowest), layout="constrained")
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[5.4, lowest])
        above, below = parts.flat
        axes = above.subplots(2, 2)
        _draw_lengths(axes[0, 0], profile["by_split"])
        _draw_popularity(axes[0, 1], profile["popularity"])
        if profile.get("has_times", True):
            _draw_days(axes[1, 0], profile["events_by_day"], profile.get("time_zone", "UTC"))
        else:
            axes[1, 0].set_title("Events per day")
            annotate_empty(axes[1, 0], "the log has no times,\nonly the order of its rows")
        _draw_conversion(axes[1, 1], profile["by_split"])
        _draw_rejected(below.subplots(), rejected[::-1])
        return figure


def _draw_lengths(ax: Axes, by_split: Json) -> None:
    shares = {split: by_split[split]["length_shares"] for split in ("train", "test")}
    bins = list(shares["train"])
    places = np.arange(len(bins))
    heights = shares["train"].values()
    bars = ax.bar(places, heights, 0.85, color=COLOURS[0], alpha=0.45, label="train")
    for number, bar in enumerate(bars):
        bar.set_gid(mark_id("lengths", number))
    ax.plot(places, shares["test"].values(), "o", color=COLOURS[3], markersize=4, label="test")
    ax.set_xticks([*places[:-1:4], places[-1]], [*bins[:-1:4], bins[-1]])
    ax.set(title="Session length", xlabel="clicks per session", ylabel="share of sessions")
    ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    ax.legend(reverse=True)


def _draw_popularity(ax: Axes, popularity: Json) -> None:
    items = [point["items"] / popularity["items"] for point in popularity["curve"]]
    for split, colour in (("train", COLOURS[0]), ("test", COLOURS[3])):
        ax.plot(items, [p[split] for p in popularity["curve"]], color=colour, label=split)
    ax.set(title="Popularity", xlabel="most clicked items of train", ylabel="share of clicks")
    ax.set(xscale="log", ylim=(0, 1), xlim=(min(max(1e-4, items[0]), 0.5), 1))
    _label_log_axis(ax.xaxis, lambda share: f"{100 * share:g}%")
    ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    ax.legend()


def _draw_days(ax: Axes, days: list[dict[str, Any]], time_zone: str) -> None:
    """One line per event type, interrupted on days without events of the type."""
    known = {date.fromisoformat(day["day"]).toordinal(): day for day in days}
    axis = range(min(known), max(known) + 1)
    for event_type, colour in zip(("click", "cart", "order"), COLOURS, strict=False):
        counts = [known.get(day, {}).get(event_type) or np.nan for day in axis]
        if not np.isnan(counts).all():
            ax.plot(axis, counts, ".-", color=colour, label=f"{event_type}s")
    for number, (ordinal, day) in enumerate(known.items()):
        if count := day.get("click"):
            ax.plot(ordinal, count, "o", color=COLOURS[0], gid=mark_id("event-days", number))
    ticks = axis[:: -(-len(axis) // 4)]
    ax.set_xticks(ticks, [date.fromordinal(day).isoformat() for day in ticks], fontsize=9)
    ax.set(title=f"Events per day ({time_zone})", yscale="log")
    _label_log_axis(ax.yaxis, _as_count)
    ax.legend()


def _draw_conversion(ax: Axes, by_split: Json) -> None:
    ax.set(title="Conversion, 95% CI", ylabel="share of clicks with an order")
    shares = [split["ordered_share"] for split in by_split.values()]
    if None in shares:
        annotate_empty(ax, "no order in the data")
        return
    errors = [1.96 * (split["ordered_share_se"] or 0) for split in by_split.values()]
    ax.errorbar(list(by_split), shares, yerr=errors, fmt="o", color=COLOURS[0], capsize=4)
    ax.set(ylim=(0, None), xlim=(-0.5, len(shares) - 0.5))
    ax.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_rejected(ax: Axes, counts: list[tuple[str, int]]) -> None:
    ax.set_title("Rejected and dropped")
    if not counts:
        annotate_empty(ax, "none")
        return
    ax.plot([n for _, n in counts], [name for name, _ in counts], "o", color=COLOURS[1])
    for name, n in counts:
        ax.annotate(thousands(n), (n, name), (7, -3.5), textcoords="offset points", fontsize=9)
    ax.set(xscale="log", xlim=(0.8, 5 * max(n for _, n in counts)), ylim=(-0.6, len(counts) - 0.4))
    _label_log_axis(ax.xaxis, _as_count)
    ax.grid(axis="y", color=INK, alpha=0.15)


class _LogLabels(LogFormatter):
    """Matplotlib's choice of the ticks to label, without its mathematical text."""

    def __init__(self, words: Callable[[float], str], *, is_major: bool) -> None:
        super().__init__(labelOnlyBase=is_major)
        self._words = words

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self._words(x) if super().__call__(x, pos) else ""


def _label_log_axis(axis: Axis, words: Callable[[float], str]) -> None:
    axis.set_major_formatter(_LogLabels(words, is_major=True))
    axis.set_minor_formatter(_LogLabels(words, is_major=False))


def _as_count(value: float) -> str:
    return thousands(round(value)) if value >= 1 else ""

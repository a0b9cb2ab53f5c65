"""The common style of all charts, their longest names, and the ids of marks with a row in a data table."""

from typing import Any

from matplotlib.axes import Axes

INK = "#010203"
"""Placeholder for the page's text colour; :mod:`pipeline.reporting.figures.svg` replaces it."""

COLOURS = ("#1f7fc4", "#00936f", "#c98a00", "#d55e00", "#8f63c2", "#b8608f", "#4b9fb5", "#7a6a53")
"""Okabe and Ito's palette, in shades that show on a light and on a dark page."""

MARKERS = ("o", "s", "^", "D")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paretoscope",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a group may be called "$5 off"
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}

_LONGEST_NAME = 30

MARK = "mark:"
"""Prefix of the gid of a mark with a row in a data table."""


def mark_id(table: str, row: int) -> str:
    """The gid of the mark of one table row, counted from 0."""
    return f"{MARK}{table}-{row}"


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """The end of a name that is too long for a figure."""
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def annotate_empty(ax: Axes, reason: str) -> None:
    """Write into an empty panel why nothing is drawn."""
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, wrap=True)

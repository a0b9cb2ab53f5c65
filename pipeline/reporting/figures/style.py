"""The common style of all charts, and the ids of marks with a row in a data table."""

from typing import Any

INK = "#010203"
"""Placeholder for the page's text colour; :mod:`pipeline.reporting.figures.svg` replaces it."""

COLOURS = ("#3b7dd8", "#17a398", "#e0a100", "#e4572e", "#a24bc4", "#6b8e23", "#d6488e", "#7a6a53")
MARKERS = ("o", "s", "^", "D")
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
"""Prefix of the gid of a mark with a row in a data table."""


def mark_id(table: str, row: int) -> str:
    """The gid of the mark of one table row, counted from 0."""
    return f"{MARK}{table}-{row}"

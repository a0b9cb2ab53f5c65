"""The forest plot: the slope of a hypothesis under every analysis."""

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.reporting.figures.slope_rows import RATE
from pipeline.reporting.figures.style import COLOURS, INK, STYLE, mark_id


def forest_plot(hypothesis: dict[str, Any]) -> Figure:
    """One row per analysis, in the order of the data table; hollow on the scale of the rate."""
    rows = hypothesis["analyses"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 0.9 + 0.27 * len(rows)), layout="constrained")
        ax = figure.subplots()
        ax.axvline(0, color=INK, linewidth=0.8)
        for number, row in enumerate(rows):
            low, high = row["interval"]
            other = row["scale"] == RATE
            colour = COLOURS[1] if other else COLOURS[0]
            ax.plot([low, high], [number, number], color=colour, linewidth=2)
            dot = low / 2 + high / 2 if row["slope"] is None else row["slope"]
            ax.plot(
                [dot],
                [number],
                marker="|" if row["slope"] is None else "o",
                markersize=9,
                color=colour,
                markerfacecolor="white" if other else colour,
                gid=mark_id(f"slopes-{hypothesis['id']}", number),
            )
        ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("slope")
        return figure

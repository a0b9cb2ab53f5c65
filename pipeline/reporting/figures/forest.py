"""The forest plot: the slope of a hypothesis under every analysis."""

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import COLOURS, INK, STYLE, mark_id
from pipeline.reporting.text.reasons import ANALYSES
from pipeline.results.hypothesis import Analysis, HypothesisResult


def forest_plot(hypothesis: HypothesisResult) -> Figure:
    """One row per analysis, in the order of the data table; hollow on the scale of the rate."""
    rows = hypothesis.analyses
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 0.9 + 0.27 * len(rows)), layout="constrained")
        ax = figure.subplots()
        ax.axvline(0, color=INK, linewidth=0.8)
        for number, row in enumerate(rows):
            on_rate = row.analysis is Analysis.LOG_RATE
            colour = COLOURS[1] if on_rate else COLOURS[0]
            ax.plot(row.interval, [number, number], color=colour, linewidth=2)
            ax.plot(
                [sum(row.interval) / 2 if row.slope is None else row.slope],
                [number],
                marker="|" if row.slope is None else "o",
                markersize=9,
                color=colour,
                markerfacecolor="white" if on_rate else colour,
                gid=mark_id(f"slopes-{hypothesis.id}", number),
            )
        ax.set_yticks(range(len(rows)), [ANALYSES[row.analysis][0] for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("slope")
        return figure

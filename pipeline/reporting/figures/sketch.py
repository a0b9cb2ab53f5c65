"""Small figures that Dagster shows in its tables without a click.

Its tables show Markdown of fewer than 1,000 characters as it is, and longer Markdown behind a link. A
figure in Markdown is a data URI, so a sketch is an SVG of a few hundred characters: no axes and no
text. The full figures are behind the link.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

from pipeline.reporting.text.markdown import as_text

SHOWN = 999
"""Characters of Markdown that Dagster shows without a click."""

_WIDTH, _HEIGHT, _MARGIN, _ROW = 300, 90, 8, 14
_MOST_INTERVALS = 8
_MOST_POINTS = 24
_SAFE = "'/=:,.-"
_GREY, _INK = "#999", "#4477aa"


def intervals_sketch(intervals: Sequence[tuple[float, float, float]], alt: str) -> str | None:
    """Confidence intervals as bars on one axis, with a line at 0; None if there is none.

    Args:
        intervals: Lower end, estimate and upper end of each, from top to bottom; the first eight are
            shown.
        alt: What the figure shows, read aloud in its place.
    """
    rows = [one for one in intervals if all(map(math.isfinite, one))][:_MOST_INTERVALS]
    if not rows:
        return None
    x = _scale([0.0, *(value for row in rows for value in row)], _WIDTH)
    height = _ROW * len(rows) + 2 * _MARGIN
    bars, dots = "", ""
    for number, (low, estimate, high) in enumerate(rows):
        y = _MARGIN + _ROW * number + _ROW // 2
        bars += f"M{x(low)} {y}H{x(high)}"
        dots += f"M{x(estimate)} {y}h0"
    parts = (
        _path(f"M{x(0.0)} 0V{height}", _GREY, 1),
        _path(bars, _INK, 3),
        _path(dots, _INK, 9),
    )
    return _markdown("".join(parts), height, alt)


def points_sketch(points: Sequence[tuple[float, float]], alt: str) -> str | None:
    """Points joined in their order, x to the right and y upwards; None if there are none."""
    known = [one for one in points if all(map(math.isfinite, one))]
    chosen = known[:: math.ceil(len(known) / _MOST_POINTS)] if known else []
    if not chosen:
        return None
    x = _scale([point[0] for point in chosen], _WIDTH)
    y = _scale([-point[1] for point in chosen], _HEIGHT)
    places = [(x(one), y(-other)) for one, other in chosen]
    line = "M" + "L".join(f"{a} {b}" for a, b in places)
    dots = "".join(f"M{a} {b}h0" for a, b in places)
    return _markdown(_path(line, _GREY, 1) + _path(dots, _INK, 7), _HEIGHT, alt)


def shown_whole(sentences: Iterable[str]) -> str:
    """The first sentences as a list that Dagster shows without a click; the others are counted."""
    lines = [f"- {as_text(one)}" for one in sentences]
    kept = len(lines)
    while kept > 1 and len("\n".join(lines[:kept])) > SHOWN - 40:
        kept -= 1
    more = len(lines) - kept
    return "\n".join([*lines[:kept], *([f"- {more} more: see summary"] if more else [])])


def _scale(values: Sequence[float], length: int) -> Callable[[float], int]:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return lambda value: round(_MARGIN + (value - low) / span * (length - 2 * _MARGIN))


def _path(data: str, colour: str, width: int) -> str:
    return (
        f"<path d='{data}' stroke='{colour}' stroke-width='{width}' stroke-linecap='round' "
        "fill='none'/>"
    )


def _markdown(content: str, height: int, alt: str) -> str | None:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}'>{content}</svg>"
    text = f"![{alt}](data:image/svg+xml,{quote(svg, safe=_SAFE)})"
    return text if len(text) <= SHOWN else None

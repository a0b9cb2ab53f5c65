"""The pictures of a comparison as SVG elements, each mark with the words of its table's row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pipeline.reporting.figures.charts import COLOURS

_WIDTH, _HIGH = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 14, 14, 46
_ROW = 48
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places on the picture."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "Axis":
        """An axis with a little room beside the values."""
        low, high = min(values), max(values)
        room = 0.06 * (high - low) or abs(low) / 10 or 1.0
        return cls(low - room, high + room, start, end)

    def place(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values, and how they are written."""
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(one * power for one in _STEPS if one * power >= rough)
        digits = max(0, math.ceil(-math.log10(step) - 1e-9) + (step / power == 2.5))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(n * step, f"{n * step:.{digits}f}") for n in range(first, last + 1)]


def fronts_picture(fronts: Mapping[str, Any]) -> str:
    """The fronts over each other: points with intervals, a line through the undominated ones."""
    studies = fronts["studies"]
    points = [point for one in studies for point in one["points"]]
    x = Axis.over(_reach(points, "recall"), _LEFT, _WIDTH - _RIGHT)
    y = Axis.over(_reach(points, "order_density"), _HIGH - _BOTTOM, _TOP)
    k = {one["cutoff"] for one in studies}
    at_k = f"@{k.pop()}" if len(k) == 1 else ""
    parts = [_grid(x, y, (f"Recall{at_k}", f"OD{at_k}"))]
    for number, one in enumerate(studies):
        colour = COLOURS[number % len(COLOURS)]
        kept = sorted(
            (point for point in one["points"] if not point["dominated"]), key=lambda p: p["recall"]
        )
        line = " ".join(f"{x.place(p['recall'])},{y.place(p['order_density'])}" for p in kept)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [_front_point(point, one["study"], number, x, y) for point in one["points"]]
    return _svg(parts, _HIGH, "Order density against recall: the fronts over each other")


def _reach(points: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The ends of the points' intervals."""
    return [
        point[name] + side * 1.96 * (point[f"{name}_standard_error"] or 0.0)
        for point in points
        for side in (-1, 1)
    ]


def _front_point(point: Mapping[str, Any], study: str, number: int, x: Axis, y: Axis) -> str:
    at = x.place(point["recall"]), y.place(point["order_density"])
    colour = COLOURS[number % len(COLOURS)]
    bars = [
        _line(
            (axis.place(point[name] - 1.96 * error), axis.place(point[name] + 1.96 * error)),
            across=at[1] if name == "recall" else at[0],
            upright=name != "recall",
            colour=colour,
        )
        for name, axis in (("recall", x), ("order_density", y))
        if (error := point[f"{name}_standard_error"])
    ]
    words = (
        f"{study}, {point['preference_id']}: recall {point['recall']:.4f}, order density "
        f"{point['order_density']:.4f}{', dominated' if point['dominated'] else ''}"
    )
    mark = _mark(number, at, hollow=point["dominated"])
    return f"<g><title>{escape(words)}</title>{''.join(bars)}{mark}</g>"


def slopes_picture(one: Mapping[str, Any]) -> str:
    """A row a study: the slope, its interval, and as a thin line the one of few groups."""
    rows = [row for row in one["studies"] if row["interval"]]
    if not rows:
        return ""
    ends = [
        end for row in rows for end in (*row["interval"], *(row["small_sample_interval"] or ()))
    ]
    high = _TOP + _ROW * len(rows) + _BOTTOM
    x = Axis.over([0.0, *ends], 2 * _RIGHT, _WIDTH - _RIGHT)
    parts = [_floor(x, high - _BOTTOM, "slope"), _zero(x, high)]
    for number, row in enumerate(one["studies"]):
        if not row["interval"]:
            continue
        at = _TOP + _ROW * (rows.index(row) + 0.7)
        parts.append(_slope_row(row, number, at, x))
    return _svg(parts, high, f"Slopes of {one['metric']} by study, with intervals")


def _slope_row(row: Mapping[str, Any], number: int, at: float, x: Axis) -> str:
    colour = COLOURS[number % len(COLOURS)]
    low, high = row["interval"]
    words = f"{row['study']}: slope {row['slope']:.3f}, interval {low:.3f} to {high:.3f}"
    parts = [_line((x.place(low), x.place(high)), across=at, colour=colour, width=4)]
    if few := row["small_sample_interval"]:
        words += f", as few groups know it {few[0]:.3f} to {few[1]:.3f}"
        parts.append(_line((x.place(few[0]), x.place(few[1])), across=at, colour=colour))
    name = escape(row["study"] if len(row["study"]) <= 48 else f"…{row['study'][-47:]}")
    parts.append(_mark(number, (x.place(row["slope"]), at), hollow=False))
    parts.append(f'<text x="4" y="{at - 12}">{name}</text>')
    return f"<g><title>{escape(words)}</title>{''.join(parts)}</g>"


def _svg(parts: Sequence[str], high: float, words: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {high}" role="img" aria-label="{escape(words)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _grid(x: Axis, y: Axis, names: tuple[str, str]) -> str:
    lines = [_floor(x, _HIGH - _BOTTOM, names[0])]
    for value, text in y.ticks():
        at = y.place(value)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        )
        lines.append(f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{text}</text>')
    middle = (_HIGH - _BOTTOM + _TOP) / 2
    place = f'transform="translate(18 {middle}) rotate(-90)" text-anchor="middle"'
    return "".join([*lines, f"<text {place}>{names[1]}</text>"])


def _floor(x: Axis, y: float, name: str) -> str:
    marks = [
        f'<line class="axis" x1="{x.place(value)}" x2="{x.place(value)}" y1="{y}" y2="{y + 5}"/>'
        f'<text x="{x.place(value)}" y="{y + 19}" text-anchor="middle">{text}</text>'
        for value, text in x.ticks()
    ]
    middle = (x.start + x.end) / 2
    line = f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y}" y2="{y}"/>'
    return (
        f'{line}{"".join(marks)}<text x="{middle}" y="{y + 38}" text-anchor="middle">{name}</text>'
    )


def _zero(x: Axis, high: float) -> str:
    at = x.place(0.0)
    return f'<line class="zero" x1="{at}" x2="{at}" y1="{_TOP}" y2="{high - _BOTTOM}"/>'


def _line(
    ends: tuple[float, float], *, across: float, colour: str, width: int = 1, upright: bool = False
) -> str:
    first, second = ends
    place = (
        f'x1="{across}" x2="{across}" y1="{first}" y2="{second}"'
        if upright
        else f'x1="{first}" x2="{second}" y1="{across}" y2="{across}"'
    )
    return f'<line {place} stroke="{colour}" stroke-width="{width}"/>'


def _mark(number: int, at: tuple[float, float], *, hollow: bool) -> str:
    """A mark whose shape tells the study as its colour does."""
    x, y = at
    colour = COLOURS[number % len(COLOURS)]
    look = f'fill="{"none" if hollow else colour}" stroke="{colour}" stroke-width="1.5"'
    match number % 4:
        case 0:
            return f'<circle cx="{x}" cy="{y}" r="5" {look}/>'
        case 1:
            return f'<rect x="{x - 4.5}" y="{y - 4.5}" width="9" height="9" {look}/>'
        case 2:
            return f'<path d="M{x} {y - 6}l5.5 10h-11z" {look}/>'
        case _:
            return f'<path d="M{x} {y - 6}l6 6-6 6-6-6z" {look}/>'


def legend_marker(number: int) -> str:
    """A study's mark, for a legend."""
    mark = _mark(number, (8.0, 8.0), hollow=False)
    return f'<svg class="key" viewBox="0 0 16 16" aria-hidden="true">{mark}</svg>'

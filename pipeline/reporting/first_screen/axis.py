"""A shared axis for confidence intervals, and the places of their bars on it.

The bars are lines and circles of SVG with coordinates in percent, written by the template: they fit
any width, print, and need no script, so the page carries no chart library.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from matplotlib.ticker import MaxNLocator

from pipeline.reporting.text.formatting import digits_for, signed
from pipeline.results.slopes import OpenInterval

_LONGEST = 4.0
"""Bars that reach beyond this multiple of the median bar are cut, with an arrow."""

_MARGIN = 0.05
_TICKS = 6
_EDGE = 8.0
"""Labels closer to an end, in percent, do not reach beyond it."""


class Tone(StrEnum):
    """The meaning of a bar or chip; the style sheet has its colour."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on the axis, in percent of its width; ``anchor`` keeps the label inside."""

    place: float
    label: str

    @property
    def anchor(self) -> str:
        """Which part of the label is at the place."""
        if self.place < _EDGE:
            return "start"
        return "end" if self.place > 100 - _EDGE else "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An interval on the axis, all places in percent of its width.

    Attributes:
        start: Of the interval; None without one.
        end: Likewise.
        estimate: The dot; None where it is not on the axis or not known.
        zero: Of 0.
        cut_start: Whether the interval goes on to the left of the axis.
        cut_end: Whether it goes on to the right.
        margin: Start and end of the values that are practically 0, where a margin is declared.
        tone: Of the result.
    """

    start: float | None
    end: float | None
    estimate: float | None
    zero: float
    cut_start: bool = False
    cut_end: bool = False
    margin: tuple[float, float] | None = None
    tone: Tone = Tone.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis that includes 0, in the unit of its values."""

    low: float
    high: float
    unit: str = "%"

    @classmethod
    def of(cls, intervals: Iterable[OpenInterval], *, unit: str = "%") -> "Axis":
        """The axis for these intervals; one that is far longer than the others does not stretch it."""
        known = list(intervals)
        reach = [max(abs(end) for end in ends) for one in known if (ends := _finite(one))]
        longest = _LONGEST * median(reach) if reach else 1.0
        ends = [max(-longest, min(longest, end)) for one in known for end in _finite(one)]
        low, high = min([0.0, *ends]), max([0.0, *ends])
        if low == high:
            low, high = -1.0, 1.0
        room = _MARGIN * (high - low)
        return cls(low=low - room, high=high + room, unit=unit)

    def place(self, value: float) -> float:
        """The place of a value in percent of the width, at most at an end of the axis."""
        inside = max(self.low, min(self.high, value))
        return round(100 * (inside - self.low) / (self.high - self.low), 2)

    def bar(
        self,
        interval: OpenInterval | None,
        estimate: float | None,
        tone: Tone,
        margin: float | None = None,
    ) -> Bar:
        """The bar of an interval; an end that is open or off the axis has an arrow."""
        low, high = interval or (None, None)
        return Bar(
            start=self.place(self.low if low is None else low) if interval else None,
            end=self.place(self.high if high is None else high) if interval else None,
            estimate=None
            if estimate is None or not self.low <= estimate <= self.high
            else self.place(estimate),
            zero=self.place(0.0),
            cut_start=interval is not None and (low is None or low < self.low),
            cut_end=interval is not None and (high is None or high > self.high),
            margin=(self.place(-margin), self.place(margin)) if margin else None,
            tone=tone,
        )

    @property
    def ticks(self) -> Sequence[Tick]:
        """The outer round values on each side of 0, which has a line of its own."""
        locator = MaxNLocator(nbins=_TICKS, steps=[1, 2, 5, 10])
        values = [float(one) for one in locator.tick_values(self.low, self.high)]
        step = values[1] - values[0]
        digits = digits_for(0.0, 2 * step) if self.unit else max(2, digits_for(0.0, 2 * step))
        shown = [one for one in values if self.low <= one <= self.high]
        return [
            Tick(place=self.place(one), label=f"{signed(one, digits)}{self.unit}")
            for one in dict.fromkeys((shown[0], shown[-1]))
            if one
        ]


def _finite(interval: OpenInterval) -> list[float]:
    return [end for end in interval if end is not None]

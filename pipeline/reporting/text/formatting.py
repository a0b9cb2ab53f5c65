"""How the reports write numbers and names: the only place where either becomes text."""

import math
from typing import Any

from pipeline.results.slopes import Change

_MOST_DIGITS = 6


def p_value(value: float | None) -> str:
    """A p-value as a table prints it; never 0."""
    if value is None:
        return "–"
    return f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def thousands(value: float | None) -> str:
    """A whole number with commas; a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def percent_trimmed(value: float | None) -> str:
    """A percentage, told without zeros that say nothing: 40, 0.5, 97.5."""
    return "–" if value is None else f"{100 * value:.6g} %"


def percent_value(value: float | None) -> str:
    """A number of per cent."""
    return "–" if value is None else f"{value:g} %"


def approximate(count: float) -> str:
    """A large count in the two digits that are worth reading: 8.6 million, 520 thousand, 4,300."""
    if not count:
        return "0"
    rounded = round(count, 1 - math.floor(math.log10(abs(count))))
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e5, "thousand")):
        if abs(rounded) >= size:
            return f"{rounded / min(size, 1e9 if size > 1e5 else 1e3):.3g} {name}"
    return f"{rounded:,.0f}"


def format_value(value: Any, form: str = ",") -> str:
    """A number by Python's rules; by "%" alone, a percentage with three significant digits."""
    if value is None:
        return "–"
    return f"{100 * value:.3g} %" if form == "%" else format(value, form).replace("%", " %")


def digits_for(low: float, high: float) -> int:
    """Decimals that an interval is worth: one figure of its half-width, and ends that are not 0.

    An end that lies on one side of 0 must not be printed as 0.
    """
    half = (high - low) / 2
    digits = max(0, -math.floor(math.log10(half))) if half > 0 else 2
    while digits < _MOST_DIGITS and any(end and not round(end, digits) for end in (low, high)):
        digits += 1
    return digits


def signed(value: float, digits: int) -> str:
    """A number with its sign; 0 has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def change(found: Change) -> str:
    """A relative change, such as +63 %, with as many digits as its interval is worth."""
    low, high = (100 * end for end in found.interval)
    return f"{signed(100 * found.change, digits_for(low, high))} %"


def change_interval(found: Change) -> str:
    """The interval of a relative change, such as +60 to +66 %."""
    low, high = (100 * end for end in found.interval)
    digits = digits_for(low, high)
    return f"{signed(low, digits)} to {signed(high, digits)} %"


NUMBERS = {
    "p_value": p_value,
    "number": number,
    "thousands": thousands,
    "per_cent": percent,
    "percentage": percent_trimmed,
    "points": percent_value,
    "about": approximate,
    "show": format_value,
    "change": change,
    "change_interval": change_interval,
}
"""The filters that write numbers; all others write names."""

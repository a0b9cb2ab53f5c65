"""Numbers as text: the only formatter of reports, comparisons and the data card."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.core.labels import KPI_LABELS, counted
from pipeline.results.hypothesis import Elasticity
from pipeline.results.slopes import Change

ABSENT = "–"
"""Stands for a value that is not known or not defined."""

_SMALLEST_P = 1e-4
_MOST_DIGITS = 6
_NEAR_1 = 0.95
_ROUND = 20.0
"""Variance inflations from here on have no decimals."""


def p_value(value: float | None) -> str:
    """A p-value in a table; never 0."""
    if value is None:
        return ABSENT
    return f"{value:.4f}" if value >= _SMALLEST_P else f"< {_SMALLEST_P:.4f}"


def p_statement(value: float) -> str:
    """A p-value in a sentence: ``p = 0.0312`` or ``p < 0.0001``."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed digits."""
    return ABSENT if value is None else f"{value:.{digits}f}".replace("-", "−")


def interval(ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """An interval, such as ``0.120 to 0.340``; an end may be open."""
    if ends is None:
        return ABSENT
    low, high = ends
    if high is None:
        return "no limit" if low is None else f"{number(low, digits)} or more"
    return (
        f"{number(high, digits)} or less"
        if low is None
        else f"{number(low, digits)} to {number(high, digits)}"
    )


def correlation(value: float | None) -> str:
    """A correlation as ``r = −0.62``; with four decimals where it is near 1."""
    if value is None:
        return ABSENT
    return f"r = {number(value, 4 if abs(value) >= _NEAR_1 else 2)}"


def thousands(value: float | None) -> str:
    """An integer with thousands separators."""
    return ABSENT if value is None else f"{value:,}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage with fixed digits."""
    return ABSENT if share is None else f"{number(100 * share, digits)}%"


def percent_trimmed(share: float | None) -> str:
    """A share as a percentage without trailing zeros: 40%, 0.5%, 97.5%."""
    return ABSENT if share is None else f"{100 * share:.6g}%"


def percent_value(value: float | None) -> str:
    """A number that is a percentage already."""
    return ABSENT if value is None else f"{value:g}%"


def approximate(count: float) -> str:
    """A large count with two significant digits: 8.6 million, 520 thousand, 4,300."""
    if not count:
        return "0"
    rounded = round(count, 1 - math.floor(math.log10(abs(count))))
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e5, "thousand")):
        if abs(rounded) >= size:
            return f"{rounded / min(size, 1e9 if size > 1e5 else 1e3):.3g} {name}"
    return f"{rounded:,.0f}"


def format_value(value: Any, form: str = ",") -> str:
    """A number by a format of Python; ``%`` alone gives three significant digits."""
    if value is None:
        return ABSENT
    text = f"{100 * value:#.3g}".rstrip(".") + "%" if form == "%" else format(value, form)
    return text.replace("-", "−")


def plain(value: Any) -> str:
    """A parameter as in JSON, but strings without quotes and integers with separators."""
    match value:
        case None:
            return ABSENT
        case str():
            return value
        case bool():
            return str(value).lower()
        case int():
            return thousands(value)
        case float():
            return f"{value:.6g}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def digits_for(low: float, high: float) -> int:
    """Decimals for an interval: one significant digit of its half-width.

    An end that is not 0 is never printed as 0.
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


def variance_inflation(factor: float | None) -> str:
    """A variance inflation factor; None where metrics are collinear."""
    return "infinite" if factor is None else f"{factor:,.{1 if factor < _ROUND else 0}f}"


def change(found: Change) -> str:
    """A relative change, such as +63%, with the decimals of its interval."""
    low, high = (100 * end for end in found.interval)
    return f"{signed(100 * found.change, digits_for(low, high))}%"


def change_interval(found: Change) -> str:
    """The interval of a relative change, such as +60% to +66%."""
    low, high = (100 * end for end in found.interval)
    digits = digits_for(low, high)
    return f"{signed(low, digits)}% to {signed(high, digits)}%"


def effect_digits(found: Elasticity) -> int:
    """Decimals for an elasticity, by its interval; an estimate that is not 0 is not printed as 0."""
    low, high = found.interval
    other = found.estimate or 1.0
    digits = digits_for(other if low is None else low, 2 * abs(other) if high is None else high)
    if round(found.estimate, digits):
        return digits
    return max(digits, digits_for(0.0, 2 * abs(other)))


def effect(found: Elasticity) -> str:
    """An elasticity, such as +0.70%, with the decimals of its interval, below 10% at least one."""
    low, high = found.interval
    digits = effect_digits(found) if low is None or high is None else digits_for(low, high)
    return f"{signed(found.estimate, max(digits, 1 if abs(found.estimate) < 10 else 0))}%"


def rate(value: float | None, error: float | None, name: str) -> str:
    """A KPI ± its standard error, with the decimals of the error: ``23.8% ± 0.2%``, ``3.17 ± 0.04``.

    ``name`` is that of the KPI; a binary one is a percentage.
    """
    if value is None:
        return ABSENT
    scale, unit = (100, "%") if Kpi(name).is_binary else (1, "")
    if not error:
        return f"{scale * value:.3g}{unit}"
    digits = digits_for(-scale * error, scale * error)
    return f"{number(scale * value, digits)}{unit} ± {number(scale * error, digits)}{unit}"


def kpi(name: str) -> str:
    """The label of a KPI; an unknown name is its own label."""
    return KPI_LABELS.get(name, name)


NUMBERS: Mapping[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        p_value,
        number,
        correlation,
        thousands,
        percent,
        percent_trimmed,
        percent_value,
        format_value,
        change,
        change_interval,
        effect,
        rate,
        variance_inflation,
        counted,
    )
}
"""The filters that write numbers of ``report.json``, by the function's name."""

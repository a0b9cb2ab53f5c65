"""Ages and rates as text."""

from collections.abc import Sequence

from pipeline.core.contracts import Kpi
from pipeline.core.labels import counted
from pipeline.reporting.text.formatting import digits_for, number

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_EXACT = 9.95
"""Units below this number have a decimal: 1.5 hours."""


def age(seconds: float) -> str:
    """A time in its largest unit: ``4 seconds``, ``1.5 hours``, ``3 days``; 0 if it is negative."""
    seconds = max(seconds, 0.0)
    for size, noun in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= size:
            amount = seconds / size
            text = f"{amount:.1f}".removesuffix(".0") if amount < _EXACT else f"{amount:.0f}"
            return f"{text} {noun}{'' if text == '1' else 's'}"
    return counted(round(seconds), "second")


def ago(seconds: float) -> str:
    """How long ago something was; of less than a second, ``just now``."""
    return "just now" if seconds < 1 else f"{age(seconds)} ago"


def capitalised(text: str) -> str:
    """A sentence with a capital letter at its start, and the rest as it is."""
    return f"{text[:1].upper()}{text[1:]}"


def rates(kpi: str, values: Sequence[float], low: float, high: float) -> list[str]:
    """Values of a KPI with two digits of its band's half-width; a binary KPI is a percentage."""
    scale, unit = (100, "%") if _is_binary(kpi) else (1, "")
    digits = digits_for(scale * low, scale * high) + 1
    return [f"{number(scale * value, digits)}{unit}" for value in values]


def _is_binary(kpi: str) -> bool:
    return kpi in set(Kpi) and Kpi(kpi).is_binary

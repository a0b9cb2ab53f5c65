"""Types of fields in delimited text: the Arrow type of a column, and a Python parser of one value.

Both accept the same strings with the same values, so that the result of a row does not depend on
the rows around it. Arrow is many times faster; Python parses what Arrow cannot parse exactly.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

INT64_LIMIT = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INTEGER = re.compile(r"[ \t]*(-?)0*([0-9]{1,19})[ \t]*")
_INTEGER_ID = re.compile(r"[ \t]*(-?0|-?[1-9][0-9]{0,18})[ \t]*")
_WHOLE_NUMBER = re.compile(r"[ \t]*(-?)0*([0-9]{1,19})(?:\.0*)?[ \t]*")
_DECIMAL = re.compile(
    r"[ \t]*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)[ \t]*",
    re.IGNORECASE,
)
_DATE = re.compile(r"[ \t]*([0-9]{4}-[0-9]{2}-[0-9]{2})[ \t]*")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[ T](?:[01][0-9]|2[0-3])(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
    r"(?P<zone>Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of field.

    Attributes:
        arrow: Type of the column.
        value: Parses one string to what ``pa.array`` accepts; raises ValueError if it is invalid.
        by_text: Whether Arrow cannot parse it, so that ``value`` parses each distinct string.
    """

    arrow: pa.DataType
    value: Callable[[str], Any]
    by_text: bool = False

    def read(self, text: str) -> Any:
        """The value of a field, None if it is empty; raises ValueError if it is invalid."""
        return self.value(text) if text else None


def strptime_type(pattern: str) -> FieldType:
    """A time in a ``strptime`` pattern, in UTC unless it has a time zone."""
    return FieldType(pa.timestamp("ms"), partial(read_clock, pattern=pattern), by_text=True)


def read_clock(text: str, pattern: str) -> int:
    """Milliseconds since 1970 UTC of a time in a ``strptime`` pattern; raises ValueError."""
    moment = datetime.strptime(text, pattern)  # noqa: DTZ007 - pattern may hold a zone
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def read_iso(text: str, *, zoned: bool) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 time, to the microsecond; raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None or bool(match["zone"]) != zoned:
        msg = f"{text!r} is not a time {'with' if zoned else 'without'} a time zone"
        raise ValueError(msg)
    moment = datetime.fromisoformat(text)
    moment = moment if zoned else moment.replace(tzinfo=UTC)
    return _int64((moment - _EPOCH) // timedelta(microseconds=1) * 1000)


def is_int64(value: Any) -> bool:
    """Whether a value is an integer (and not a boolean) of 64 bits."""
    return type(value) is int and -INT64_LIMIT <= value < INT64_LIMIT


def _int64(value: int) -> int:
    if not is_int64(value):
        msg = f"{value} exceeds 64 bits"
        raise ValueError(msg)
    return value


def _integer(text: str, pattern: re.Pattern[str] = _INTEGER) -> int:
    match = pattern.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not an integer"
        raise ValueError(msg)
    return _int64(int("".join(match.groups())))


def _decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        msg = f"{text!r} is not a number"
        raise ValueError(msg)
    return float(text)


def _date(text: str) -> date:
    match = _DATE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a date"
        raise ValueError(msg)
    return date.fromisoformat(match[1])


def _text(text: str) -> str:
    text.encode()  # bytes that are not UTF-8 are surrogates here, which cannot be encoded
    return text


INTEGER = FieldType(pa.int64(), _integer)
INTEGER_ID = FieldType(pa.int64(), partial(_integer, pattern=_INTEGER_ID))
"""An integer without leading zeros: ``007`` and ``7`` are two ids, and only one can be a number."""

WHOLE_NUMBER = FieldType(pa.int64(), partial(_integer, pattern=_WHOLE_NUMBER))
"""An integer, which may have passed through a column of decimals: ``1772445604000.0``."""

DECIMAL = FieldType(pa.float64(), _decimal)
TEXT = FieldType(pa.string(), _text)
DATE = FieldType(pa.date32(), _date)
INSTANT = FieldType(pa.timestamp("ns", tz="UTC"), partial(read_iso, zoned=True))
"""ISO 8601 with a time zone, years 1678 to 2261."""

UTC_CLOCK = FieldType(pa.timestamp("ns"), partial(read_iso, zoned=False))
"""ISO 8601 without a time zone, in UTC; years 1678 to 2261."""

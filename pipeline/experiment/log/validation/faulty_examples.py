"""The first row of a file that is rejected for a reason: its place, and what was found there."""

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS
from pipeline.core.file_content import BYTE_ORDER_MARK, likely_separator
from pipeline.datasets.io.files import open_stream
from pipeline.experiment.log.log_files import LogFile, LogFormat
from pipeline.study import LogTime

_UNITS = {
    LogTime.SECONDS: "seconds",
    LogTime.MILLISECONDS: "milliseconds",
    LogTime.MICROSECONDS: "microseconds",
}
_SPREADSHEET_DAYS = (36_526, 73_051)
"""2000 to 2100, in days since 1899-12-30."""

_SHOWN = 60
_CHUNK = 1 << 20


def describe_row(
    file: LogFile,
    written: Mapping[str, Any],
    wrong_field: str | None,
    expected: Mapping[str, str],
) -> str:
    """What is wrong with a rejected row, such as ``clicks.csv line 3: ts is 'soon'``.

    Args:
        file: Its file.
        written: Its fields as the file has them, by column.
        wrong_field: The column of the wrong type; None if there is none.
        expected: What is expected in a field, by column.
    """
    number = _line_of(file, written) if file.format.is_text else None
    place = file.source if number is None else f"{file.source} line {number:,}"
    if wrong_field:
        found = f"{wrong_field} is {_short(written[wrong_field])}"
        return f"{place}: {found}, expected {expected[wrong_field]}"
    return f"{place}: {', '.join(f'{name} {_short(value)}' for name, value in written.items())}"


def unit_hint(ts: int, declared: LogTime) -> str:
    """What the unit of a time outside all years seems to be; nothing if it is none.

    Args:
        ts: The time as it was read, in milliseconds.
        declared: ``experiment.columns.time``.
    """
    if declared not in _UNITS:
        return ""
    place = list(_UNITS).index(declared)
    for seems, (unit, name) in enumerate(_UNITS.items()):
        if EARLIEST_TS <= ts * 1000 ** (place - seems) < LATEST_TS:
            return f"; the times look like {name}: set experiment.columns.time: {unit}"
    days = ts * 1000 ** (place - 1)
    if _SPREADSHEET_DAYS[0] <= days < _SPREADSHEET_DAYS[1]:
        return "; the times look like days of a spreadsheet: export them as 2026-03-02 10:00:00"
    return ""


def _short(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    text = str(value)
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def _line_of(file: LogFile, written: Mapping[str, Any]) -> int | None:
    """The first line that has these fields; None if the row is not found on one line."""
    wanted = {name: "" if value is None else str(value) for name, value in written.items()}
    parts = [text.encode() for text in wanted.values() if text]
    header: list[str] | None = None
    separator = ","
    for number, line in enumerate(_lines(file), start=1):
        if file.format is LogFormat.CSV and header is None:
            separator = likely_separator(line)
            header = _fields(line.removeprefix(BYTE_ORDER_MARK), separator)
        elif all(part in line for part in parts):
            if header is None:
                return number if _is_object(line, wanted) else None
            row = dict(zip(header, _fields(line, separator), strict=False))
            if all(row.get(name, "").strip() == text.strip() for name, text in wanted.items()):
                return number
    return None


def _lines(file: LogFile) -> Iterator[bytes]:
    rest = b""
    with open_stream(file.path) as stream:
        while chunk := stream.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    yield rest


def _fields(line: bytes, separator: str) -> list[str]:
    text = line.decode(errors="replace").rstrip("\r")
    return [field.strip() for field in next(csv.reader([text], delimiter=separator), [])]


def _is_object(line: bytes, wanted: Mapping[str, str]) -> bool:
    """Whether a line is an object with the same members empty."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(
        text or found.get(name) in (None, "") for name, text in wanted.items()
    )

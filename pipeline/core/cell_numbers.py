"""Numbers as they are written: decimal commas, thousands separators and percent.

``1,250`` is 1250 in one country and 1.25 in another. The marks of a whole file decide: a cell that can
only be read in one way, such as ``0,6`` or ``1,250.50``, settles the others. Where none does, a count
has no decimals, and anything else is refused instead of guessed.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.table_file import Cell, CellTable, ReadAs, ReadNote

Number = int | float
"""An integer of any size, or a float."""

_MISSING = {"", "na", "n/a", "nan", "null", "none", "nil", "-", "–", "#n/a"}
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_SPACES = " \u00a0\u202f\u2009"
_GROUPED = re.compile(
    rf"([0-9]{{1,3}}(?:([.,'’_{_SPACES}])[0-9]{{3}})(?:\2[0-9]{{3}})*)(?:([.,])([0-9]+))?"
)
_SIMPLE = re.compile(r"([0-9]*)(?:([.,])([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A number as it is written.

    ``ambiguous``: the one mark may separate decimals (then it is ``decimal``) or thousands.
    """

    text: str
    negative: bool = False
    integer: str = ""
    fraction: str = ""
    exponent: str = ""
    decimal: str = ""
    thousands: str = ""
    percent: bool = False
    ambiguous: bool = False


_OTHER = {".": ",", ",": "."}

_Placed = tuple[str, str, _Written]
"""Column, row label and number."""

_Cells = Sequence[_Written | Number | str | None]
"""Of a column: numbers, missing values, and the text of cells that are neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberTable:
    """The columns of a table as numbers.

    Attributes:
        numbers: Columns of numbers; None where a cell is empty, and infinite where it says so.
        strings: Columns without any number.
        notes: How the numbers were read.
    """

    numbers: Mapping[str, list[Number | None]]
    strings: tuple[str, ...]
    notes: tuple[ReadNote, ...]


def parse_numbers(table: CellTable, labels: Sequence[str], counts: Collection[str]) -> NumberTable:
    """The columns of a table as numbers.

    Args:
        table: The cells.
        labels: One name per row, for messages.
        counts: The columns of integers, which have no decimals.

    Raises:
        DataError: if a column mixes numbers and strings, or a number has two readings.
    """
    parsed = {name: [_parse(cell) for cell in cells] for name, cells in table.columns.items()}
    strings = tuple(name for name, cells in parsed.items() if not _has_numbers(cells))
    numeric = {name: cells for name, cells in parsed.items() if name not in strings}
    for name, cells in numeric.items():
        _check_all_numbers(table.name, name, cells, labels)
        _check_percent(table.name, name, cells, counted=name in counts)
    written = [
        (name, label, cell)
        for name, cells in numeric.items()
        for label, cell in zip(labels, cells, strict=True)
        if isinstance(cell, _Written)
    ]
    decimal = _decimal_mark(table.name, written, counts)
    numbers = {name: [_value(one, decimal) for one in cells] for name, cells in numeric.items()}
    return NumberTable(numbers=numbers, strings=strings, notes=_notes(numeric, written, decimal))


def _parse(cell: Cell) -> _Written | Number | str | None:
    if cell is None or isinstance(cell, bool):
        return None if cell is None else str(cell)
    if isinstance(cell, int):
        return cell
    if isinstance(cell, float):
        return None if math.isnan(cell) else cell
    if isinstance(cell, Decimal):
        return _plain(cell) if cell.is_finite() else None
    text = str(cell).strip()
    if text.casefold() in _MISSING:
        return None
    return float(text) if _INFINITE.fullmatch(text) else _parse_text(text)


def _parse_text(text: str) -> _Written | str:
    bare = text.replace("\u2212", "-")
    percent = bare.endswith("%")
    bare = bare.removesuffix("%").rstrip()
    negative, bare = bare.startswith("-"), bare.removeprefix("-" if bare.startswith("-") else "+")
    known: dict[str, Any] = {"text": text, "negative": negative, "percent": percent}
    if found := _SIMPLE.fullmatch(bare):
        integer, mark, fraction, exponent = (part or "" for part in found.groups())
        if not integer and not fraction:
            return text
        alike = mark and len(fraction) == 3 and 1 <= len(integer) <= 3 and integer[0] != "0"
        return _Written(
            **known,
            integer=integer,
            fraction=fraction,
            exponent=exponent,
            decimal=mark,
            ambiguous=bool(alike and not exponent),
        )
    found = _GROUPED.fullmatch(bare)
    if not found or found[2] == found[3]:
        return text
    digits = re.sub(r"[^0-9]", "", found[1])
    return _Written(
        **known, integer=digits, fraction=found[4] or "", decimal=found[3] or "", thousands=found[2]
    )


def _has_numbers(cells: _Cells) -> bool:
    """Whether a cell is a number, or no cell is anything."""
    return any(not isinstance(one, str) and one is not None for one in cells) or not any(
        isinstance(one, str) for one in cells
    )


def _check_all_numbers(source: str, name: str, cells: _Cells, labels: Sequence[str]) -> None:
    for row, (label, cell) in enumerate(zip(labels, cells, strict=True), start=1):
        if isinstance(cell, str):
            msg = (
                f"{source}: {name} is {cell!r} in row {row} (group {label}), and a number in other "
                "rows; expected numbers, such as 1234.5; leave a missing one empty"
            )
            raise DataError(msg)


def _check_percent(source: str, name: str, cells: _Cells, *, counted: bool) -> None:
    """Check that all numbers of a column are percent, or none; counts are not."""
    written = [one for one in cells if isinstance(one, _Written)]
    percent = [one for one in written if one.percent]
    if percent and (counted or len(percent) < len([one for one in cells if one is not None])):
        expected = "a number" if counted else "% in all rows, or in none"
        msg = f"{source}: {name} is {percent[0].text!r}; expected {expected}"
        raise DataError(msg)


def _decimal_mark(source: str, written: Sequence[_Placed], counts: Collection[str]) -> str:
    """The decimal mark of a file, ``.`` or ``,``.

    Raises:
        DataError: if its numbers contradict each other, or one has two readings.
    """
    reasons = _reasons(written)
    if len(reasons) == 2:
        (a, x, one), (b, y, two) = reasons.values()
        msg = (
            f"{source}: {a} of group {x} is {one.text!r}, and {b} of group {y} is {two.text!r}, so "
            "the decimal mark is not clear; write 1234.5, without thousands separators"
        )
        raise DataError(msg)
    unclear = [one for one in written if one[2].ambiguous]
    counted = (_OTHER[cell.decimal] for name, _, cell in unclear if name in counts)
    mark = next(iter(reasons), None) or next(counted, None)
    if mark is None and all(cell.decimal == "." for _, _, cell in unclear):
        mark = "."
    for name, label, cell in unclear:
        if not mark or (name in counts and cell.decimal == mark):
            msg = (
                f"{source}: {name} of group {label} is {cell.text!r}, which can be "
                f"{cell.text.replace(cell.decimal, '')} or {cell.text.replace(',', '.')}; write it "
                "without thousands separators"
            )
            raise DataError(msg)
    return mark or "."


def _reasons(written: Sequence[_Placed]) -> dict[str, _Placed]:
    """The first number that can only be read with each decimal mark."""
    reasons: dict[str, _Placed] = {}
    for one in written:
        cell = one[2]
        if cell.decimal and not cell.ambiguous:
            reasons.setdefault(cell.decimal, one)
        if cell.thousands in _OTHER:
            reasons.setdefault(_OTHER[cell.thousands], one)
    return reasons


def _value(cell: _Written | Number | str | None, decimal: str) -> Number | None:
    if not isinstance(cell, _Written):
        return None if isinstance(cell, str) else cell
    fraction = cell.fraction
    integer = cell.integer
    if cell.ambiguous and cell.decimal != decimal:
        integer, fraction = integer + fraction, ""
    text = (
        f"{'-' if cell.negative else ''}{integer or '0'}.{fraction or '0'}e{cell.exponent or '0'}"
    )
    value = Decimal(text)
    return _plain(value / 100 if cell.percent else value)


def _plain(value: Decimal) -> Number:
    """An integer as an int of any size, anything else as a float."""
    if abs(value) >= Decimal(10) ** 400:
        return math.copysign(math.inf, value)
    return int(value) if value == value.to_integral_value() else float(value)


def _notes(
    columns: Mapping[str, _Cells], written: Sequence[_Placed], decimal: str
) -> tuple[ReadNote, ...]:
    percent = tuple(dict.fromkeys(name for name, _, cell in written if cell.percent))
    grouped = {
        cell.thousands or cell.decimal: None
        for _, _, cell in written
        if cell.thousands or (cell.ambiguous and cell.decimal != decimal)
    }
    notes = [
        ReadNote(
            kind=ReadAs.THOUSANDS_MARK,
            columns=tuple(
                name
                for name, cells in columns.items()
                if any(isinstance(c, _Written) and mark in c.text for c in cells)
            ),
            value=mark,
        )
        for mark in grouped
    ]
    if decimal == "," and any(c.decimal == "," for _, _, c in written):
        notes.append(ReadNote(kind=ReadAs.DECIMAL_MARK, value=","))
    if percent:
        notes.append(ReadNote(kind=ReadAs.PERCENT, columns=percent))
    return tuple(notes)

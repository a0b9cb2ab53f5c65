"""Delimited text (CSV, TSV) as typed columns.

Arrow parses a whole piece of a file. Its result is used only if the piece is *clean*: each line is
one row, and no field is one that Arrow parses leniently. A piece that is not clean is halved and
each half tried again, down to some hundred lines, which Python parses one by one: invalid lines are
rejected without an effect on the other rows.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from pipeline.core.contracts import EventType
from pipeline.core.errors import DataError
from pipeline.core.file_content import HEAD_BYTES, did_you_mean, foreign_content
from pipeline.datasets.io.blocks import Block, count_lines, read_blocks
from pipeline.datasets.io.field_parsers import INTEGER_ID, FieldType
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task

_MIN_ARROW_LINES = 256
"""Python parses this many lines as fast as a call of Arrow takes."""

_HEADER_SHOWN = 200
_SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}
"""How params.yaml spells a separator."""

_BY_TEXT = pa.dictionary(pa.int32(), pa.string())
_SPACES = b" \t\r\v\f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of a delimited file.

    Attributes:
        columns: The columns to read, with their types.
        names: All columns in their order; empty to take them from the header.
        separator: Between fields.
        event_type: The column of the event type; None if there is none.
    """

    columns: Mapping[str, FieldType]
    names: tuple[str, ...] = ()
    separator: str = ","
    event_type: str | None = None


Convert = Callable[[pl.DataFrame], pl.DataFrame]
"""Converts a layout's columns to session, ts, item and event_type."""


def delimited_file(
    file: Path,
    layout: Layout,
    convert: Convert,
    event_types: Mapping[str, EventType | None],
    names: Mapping[str, str] | None = None,
) -> InputFile:
    """A file of delimited text with the given layout; ``names`` has its columns by field."""
    return InputFile(
        path=file,
        tasks=partial(_tasks, file, layout, convert),
        event_types=event_types,
        columns=names or {},
    )


def _tasks(file: Path, layout: Layout, convert: Convert) -> Iterator[Task]:
    """One task per block; raises DataError if the header lacks a column."""
    for block in read_blocks(file):
        body = block
        if not layout.names:
            layout = replace(layout, names=_header(block, layout))
            body = block.without_first_line()
        yield partial(_read_block, body, layout, convert)


def _header(block: Block, layout: Layout) -> tuple[str, ...]:
    line = block.data[: block.data.index(b"\n")].decode("utf-8", errors="replace")
    names = tuple(name.strip() for name in _fields(line, layout.separator) or [])
    missing = [name for name in layout.columns if names.count(name) != 1]
    if missing:
        if what := foreign_content(block.data[:HEAD_BYTES]):
            msg = f"{block.source} is not a CSV file: {what}"
            raise DataError(msg)
        wrong = ", ".join(f"{name!r}{did_you_mean(name, names)}" for name in missing)
        msg = (
            f"{block.source}: the header must name {list(layout.columns)} exactly once each, "
            f"separated by {layout.separator!r}; missing or repeated: {wrong}; got "
            f"{line[:_HEADER_SHOWN].strip()!r}{_other_separator(line, layout)}"
        )
        raise DataError(msg)
    return names


def _other_separator(line: str, layout: Layout) -> str:
    """What to set if another separator makes the header name all columns."""
    for separator, text in _SEPARATORS.items():
        if {name.strip() for name in _fields(line, separator) or []} >= layout.columns.keys():
            return f"; it is separated by {text} (dataset.generic.separator)"
    if line.rstrip("\r").count("\r"):
        return "; its lines end in carriage returns alone, save it with line feeds"
    return ""


def _read_block(block: Block, layout: Layout, convert: Convert) -> RawRows:
    tables: list[pa.Table] = []
    positions, errors = [np.empty(0, dtype=np.int64)], list[ParseError]()
    pieces = [(block.first_line, block.data)]
    while pieces:
        first, data = pieces.pop()
        lines = count_lines(data)
        table = _read_clean(data, lines, layout)
        if table is not None:
            tables.append(table)
            positions.append(np.arange(first, first + lines))
        elif lines > _MIN_ARROW_LINES:
            cut = _middle(data)
            pieces.append((first + count_lines(data[:cut]), data[cut:]))
            pieces.append((first, data[:cut]))
        else:
            table, numbers, invalid = _read_lines(first, data, layout)
            tables.append(table)
            positions.append(numbers)
            errors.extend(invalid)
    return RawRows(
        source=block.source,
        positions=np.concatenate(positions),
        frame=convert(pl.DataFrame(pa.concat_tables(tables))),
        errors=errors,
    )


def _middle(data: bytes) -> int:
    """An offset after a newline near the middle, with lines on both sides."""
    newline = data.find(b"\n", len(data) // 2, len(data) - 1)
    return (newline if newline >= 0 else data.rfind(b"\n", 0, len(data) // 2)) + 1


def _read_clean(data: bytes, lines: int, layout: Layout) -> pa.Table | None:
    """A clean piece as Arrow parses it; None if it is not clean."""
    text = np.frombuffer(data, dtype=np.uint8)
    if not lines or _has_stray_return(data, text) or _has_stray_quote(data, text, layout):
        return None
    # Arrow parses 0x10 as 16, and 007 as 7.
    by_text = _has_hexadecimal(data, text) or _has_leading_zeros(text, layout)
    types = {
        name: _BY_TEXT if field.by_text or (by_text and field.arrow == pa.int64()) else field.arrow
        for name, field in layout.columns.items()
    }
    try:
        table = pc.read_csv(
            pa.py_buffer(data),
            read_options=pc.ReadOptions(
                column_names=layout.names, use_threads=False, block_size=max(len(data), 1 << 10)
            ),
            parse_options=pc.ParseOptions(delimiter=layout.separator),
            convert_options=pc.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
                timestamp_parsers=[pc.ISO8601],
            ),
        )
        return _with_strings_parsed(table, layout) if len(table) == lines else None
    except ValueError:  # which Arrow's errors are, too
        return None


def _with_strings_parsed(table: pa.Table, layout: Layout) -> pa.Table:
    """The columns that Arrow has left as strings, each distinct one parsed; raises ValueError."""
    for place, (name, field) in enumerate(layout.columns.items()):
        column = table[name].combine_chunks()
        if isinstance(column, pa.DictionaryArray):
            values = [field.read(text) for text in column.dictionary.to_pylist()]
            read = pa.array(values, field.arrow).take(column.indices)
            table = table.set_column(place, name, read)
    return table


def _has_stray_return(data: bytes, text: NDArray[np.uint8]) -> bool:
    """Whether there is a carriage return that does not end a line."""
    if b"\r" not in data:
        return False
    return bool((~_is_any(text[np.flatnonzero(text == ord("\r")) + 1], "\r\n")).any())


def _has_hexadecimal(data: bytes, text: NDArray[np.uint8]) -> bool:
    if b"x" not in data and b"X" not in data:
        return False
    return bool((text[np.flatnonzero(_is_any(text, "xX")) - 1] == ord("0")).any())


def _has_leading_zeros(text: NDArray[np.uint8], layout: Layout) -> bool:
    """Whether an id may start with a zero that an integer would lose."""
    if INTEGER_ID not in layout.columns.values():
        return False
    digit = text - ord("0")  # of other letters more than 9
    is_digit = digit <= 9
    zeros = np.flatnonzero((digit[1:-1] == 0) & is_digit[2:] & ~is_digit[:-2]) + 1
    if digit[0] == 0 and is_digit[1]:
        return True
    starts, spaces = f'{layout.separator}\n"', " \t-"
    before, further = text[zeros - 1], text[zeros - 2]
    begins = _is_any(before, starts) | (_is_any(before, spaces) & _is_any(further, starts + spaces))
    return bool(begins.any())


def _has_stray_quote(data: bytes, text: NDArray[np.uint8], layout: Layout) -> bool:
    """Whether there is a quote that neither starts or ends a field nor is doubled inside one."""
    if b'"' not in data:
        return False
    quotes = np.flatnonzero(text == ord('"'))
    if len(quotes) % 2:
        return True
    before, after = text[quotes[::2] - 1], text[quotes[1::2] + 1]
    bounds = f'{layout.separator}\n"'
    return not (_is_any(before, bounds).all() and _is_any(after, bounds + "\r").all())


def _is_any(text: NDArray[np.uint8], letters: str) -> NDArray[np.bool_]:
    found = text == ord(letters[0])
    for letter in letters[1:]:
        found |= text == ord(letter)
    return found


def _read_lines(
    first: int, data: bytes, layout: Layout
) -> tuple[pa.Table, NDArray[np.int64], list[ParseError]]:
    """Rows, their line numbers, and the invalid lines, parsed by Python."""
    rows: list[list[Any]] = []
    numbers: list[int] = []
    errors: list[ParseError] = []
    blank = _SPACES.replace(layout.separator.encode(), b"")
    for position, line in enumerate(data.split(b"\n"), start=first):
        if not line.strip(blank):
            continue
        row = _read_line(position, line, layout)
        if isinstance(row, ParseError):
            errors.append(row)
        else:
            rows.append(row)
            numbers.append(position)
    values = zip(*rows, strict=True) if rows else ([] for _ in layout.columns)
    columns = {
        name: pa.array(column, field.arrow)
        for (name, field), column in zip(layout.columns.items(), values, strict=True)
    }
    return pa.table(columns), np.array(numbers, dtype=np.int64), errors


def _read_line(position: int, line: bytes, layout: Layout) -> list[Any] | ParseError:
    """The values of a line's fields, or why it is not a row."""
    # Bytes that are not UTF-8 invalidate their own field only.
    fields = _fields(line.decode("utf-8", errors="surrogateescape"), layout.separator)
    if fields is None or len(fields) != len(layout.names):
        return _parse_error(position, line, Reason.UNREADABLE)
    texts = dict(zip(layout.names, fields, strict=True))
    values: list[Any] = []
    for name, field in layout.columns.items():
        try:
            values.append(field.read(texts[name]))
        except ValueError:
            error = _parse_error(position, line, Reason.WRONG_TYPE)
            event_type = texts.get(layout.event_type or "")
            return replace(error, field=name, event_type=event_type)
    return values


def _parse_error(position: int, line: bytes, reason: Reason) -> ParseError:
    try:
        return ParseError(position, reason, line.decode("utf-8").strip("\r"))
    except UnicodeDecodeError:
        return ParseError(position, Reason.NOT_TEXT, repr(line))


def _fields(line: str, separator: str) -> list[str] | None:
    """The fields of a line; None if a quote is not closed, or is followed by text."""
    line = line.strip("\r")
    if '"' not in line:
        return None if "\r" in line else line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return None

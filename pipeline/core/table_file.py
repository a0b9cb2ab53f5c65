"""Small tables of other programs, read as they are written: no cell becomes a number here.

CSV files of any common separator and encoding, parquet, JSON (an array of objects, or an object of
arrays) and JSON lines. A cell of a text file stays a string, so that the ids ``01`` and ``1`` differ.
"""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.errors import DataError
from pipeline.core.file_content import BYTE_ORDER_MARK, HEAD_BYTES, foreign_content

Cell = Any
"""A string of a text file; a string, number, boolean or None of a typed one."""

MOST_COLUMNS = 5_000

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_BYTE_ORDER_MARKS = {
    BYTE_ORDER_MARK: "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_SPREADSHEETS = {".xlsx", ".xls", ".xlsm", ".ods", ".numbers"}
_EXPECTED = "expected a CSV, parquet, JSON or JSON lines file"


class ReadAs(StrEnum):
    """What was read otherwise than written; :mod:`pipeline.reporting.text.read_as` has the phrases."""

    ENCODING = "encoding"
    SEPARATOR = "separator"
    EMPTY_ROWS = "empty_rows"
    UNNAMED_COLUMN = "unnamed_column"
    DECIMAL_MARK = "decimal_mark"
    THOUSANDS_MARK = "thousands_mark"
    PERCENT = "percent"
    NAME = "name"
    ONE_TRIAL_PER_USER = "one_trial_per_user"
    METRIC_ERRORS = "metric_errors"
    STRINGS_IGNORED = "strings_ignored"
    KPI_IGNORED = "kpi_ignored"
    DUPLICATE_IGNORED = "duplicate_ignored"
    UNCERTAINTY_IGNORED = "uncertainty_ignored"
    UNSELECTED_IGNORED = "unselected_ignored"
    SHARE_OF_USERS = "share_of_users"
    INDEPENDENT_TRIALS = "independent_trials"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNote:
    """One thing that was read otherwise than written, or not read.

    Attributes:
        kind: What it was.
        columns: The columns concerned; none for the whole file.
        value: What it was read as, such as the separator or our name of the column.
    """

    kind: ReadAs
    columns: tuple[str, ...] = ()
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What one row of a table is, for messages, and how many there may be."""

    one_per: str
    most: int
    instead: str = ""


GROUPS = Rows(
    one_per="test group",
    most=10_000,
    instead=" and a few columns (a log of single events is read by paretoscope ingest)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTable:
    """A table of cells.

    Attributes:
        name: Of the file, for messages.
        columns: Cells by column name; all of the same length, at least one.
        notes: How it was read.
    """

    name: str
    columns: Mapping[str, Sequence[Cell]]
    notes: tuple[ReadNote, ...] = ()

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))


def table_of_frame(frame: pl.DataFrame, name: str, rows: Rows = GROUPS) -> CellTable:
    """The cells of a frame; raises :class:`DataError` if it is empty or too large."""
    _check_size(name, frame.height, frame.width, rows)
    return _table(name, [(column, frame[column].to_list()) for column in frame.columns], rows)


def read_table(path: Path, rows: Rows = GROUPS) -> CellTable:
    """Read a file; its name is taken literally, and ``.gz`` is decompressed.

    Raises:
        DataError: if the file cannot be read, is not a table, or has too many rows, or more than
            :data:`MOST_COLUMNS` columns.
    """
    try:
        content = _content(path)
    except (OSError, EOFError) as error:
        problem = "it is a folder" if path.is_dir() else getattr(error, "strerror", None) or error
        msg = f"cannot read {path}: {problem}; {_EXPECTED}"
        raise DataError(msg) from error
    if (kind := _suffix(path)) in _SPREADSHEETS:
        msg = f"{path} is a spreadsheet; save the sheet as CSV (UTF-8) and pass that file"
        raise DataError(msg)
    if kind == ".parquet" or content[:4] == b"PAR1":
        return _read_parquet(content, str(path), rows)
    text, notes = _decode(content, str(path))
    if kind in {".json", ".jsonl", ".ndjson"}:
        return _read_json(text, str(path), rows, lines=kind != ".json")
    return _read_delimited(text, str(path), rows, notes)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _suffix(path: Path) -> str:
    names = [suffix.lower() for suffix in path.suffixes]
    return next((name for name in reversed(names) if name != ".gz"), "")


def _read_parquet(content: bytes, name: str, rows: Rows) -> CellTable:
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = str(error).strip().partition("\n")[0]
        msg = f"{name} is not valid parquet: {problem}; {_EXPECTED}"
        raise DataError(msg) from error
    return table_of_frame(frame, name, rows)


def _decode(content: bytes, name: str) -> tuple[str, list[ReadNote]]:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark."""
    encoding = next((e for mark, e in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x}"
        what = foreign_content(content[:HEAD_BYTES]) or f"line {line} has the {byte}"
        msg = f"{name} is not UTF-8: {what}; save it as CSV UTF-8"
        raise DataError(msg) from error
    if "\0" in text or _is_page(content):
        what = foreign_content(content[:HEAD_BYTES]) or "it contains zero bytes"
        msg = f"{name} is not a table: {what}; {_EXPECTED}"
        raise DataError(msg)
    notes = [ReadNote(kind=ReadAs.ENCODING, value="UTF-16")] if encoding == "utf-16" else []
    return text, notes


def _is_page(content: bytes) -> bool:
    return content.lstrip()[:1] == b"<" and foreign_content(content[:HEAD_BYTES]) is not None


def _read_delimited(text: str, name: str, kind: Rows, notes: list[ReadNote]) -> CellTable:
    first, _, rest = text.partition("\n")
    declared = first.strip().strip('"').lower()
    if declared.startswith("sep=") and len(declared) == len("sep=,"):  # a hint of Excel's
        text = rest
    separator = _separator(text, name)
    rows = _rows(text, separator, name, kind)
    if separator != ",":
        notes.append(ReadNote(kind=ReadAs.SEPARATOR, value=_SEPARATORS[separator]))
    full = [row for row in rows[1:] if any(row)]
    if blank := sum(1 for row in rows[1:] if not any(row) and len(row) > 1):
        notes.append(ReadNote(kind=ReadAs.EMPTY_ROWS, value=str(blank)))
    _check_size(name, len(full), len(rows[0]), kind)
    header = _header(rows[0], full)
    for number, row in enumerate(full, start=1):
        if len(row) != len(header):
            msg = (
                f"{name}: row {number} ({row[0]}) has {len(row)} fields, the header has "
                f"{len(header)}; quote fields that contain the separator ({_SEPARATORS[separator]})"
            )
            raise DataError(msg)
    cells = [[row[at] for row in full] for at in range(len(header))]
    table = _table(name, list(zip(header, cells, strict=True)), kind)
    return CellTable(name=name, columns=table.columns, notes=(*notes, *table.notes))


def _separator(text: str, name: str) -> str:
    """The separator of the header: the one that makes the most fields of it."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    if not header:
        msg = f"{name} is empty; {_EXPECTED}, with a header"
        raise DataError(msg)
    fields = {one: len(next(csv.reader([header], delimiter=one))) for one in _SEPARATORS}
    return max(fields, key=lambda one: fields[one])


def _rows(text: str, separator: str, name: str, kind: Rows) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and (rows or any(map(str.strip, row))):
                rows.append([field.strip() for field in row])
            if len(rows) > kind.most + 1:
                break
    except csv.Error as error:
        msg = f"{name} is not valid CSV: line {reader.line_num}: {error}; {_EXPECTED}"
        raise DataError(msg) from error
    return rows


def _header(names: list[str], rows: list[list[str]]) -> list[str]:
    """The header, as wide as the rows: trailing separators make empty fields on either side."""
    wider = max(len(row) for row in rows) - len(names)
    if wider > 0 and not any(any(row[len(names) :]) for row in rows):
        return [*names, *[""] * wider]
    return names


def _read_json(text: str, name: str, kind: Rows, *, lines: bool) -> CellTable:
    try:
        value: Any = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if lines
            else json.loads(text)
        )
    except (ValueError, RecursionError) as error:
        msg = f"{name} is not valid JSON: {error}; {_EXPECTED}"
        raise DataError(msg) from error
    if isinstance(value, dict) and value and all(isinstance(one, list) for one in value.values()):
        by_name: dict[str, list[Cell]] = value
        if len({len(cells) for cells in by_name.values()}) == 1:
            return _table(name, list(by_name.items()), kind)
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        msg = f"{name}: expected an array of objects, one per {kind.one_per}"
        raise DataError(msg)
    rows: list[dict[str, Cell]] = value
    columns = list(dict.fromkeys(key for row in rows for key in row))
    _check_size(name, len(rows), len(columns), kind)
    return _table(name, [(column, [row.get(column) for row in rows]) for column in columns], kind)


def _check_size(name: str, rows: int, columns: int, kind: Rows) -> None:
    if rows > kind.most or columns > MOST_COLUMNS:
        found = f"more than {kind.most:,} rows" if rows > kind.most else f"{columns:,} columns"
        msg = f"{name} has {found}; expected one row per {kind.one_per}{kind.instead}"
        raise DataError(msg)
    if not rows:
        msg = f"{name}: the table has no rows; expected one per {kind.one_per}"
        raise DataError(msg)


def _table(name: str, columns: list[tuple[str, Sequence[Cell]]], kind: Rows) -> CellTable:
    """The columns that have a name; of the others those with cells are noted."""
    counts = Counter(column for column, _ in columns if column)
    if twice := [column for column, count in counts.items() if count > 1]:
        msg = (
            f"{name}: the column {twice[0]} occurs {counts[twice[0]]} times; expected unique names"
        )
        raise DataError(msg)
    unnamed = [c for c, cells in columns if _is_unnamed(c) and any(map(_is_filled, cells))]
    notes = [ReadNote(kind=ReadAs.UNNAMED_COLUMN, value=str(len(unnamed)))] if unnamed else []
    named = {column: cells for column, cells in columns if not _is_unnamed(column)}
    if not named or not len(next(iter(named.values()))):
        msg = f"{name}: the table has no rows; expected one per {kind.one_per}"
        raise DataError(msg)
    return CellTable(name=name, columns=named, notes=tuple(notes))


def _is_unnamed(column: str) -> bool:
    """Whether a column has no name; pandas writes its index so, and reads it as ``Unnamed: 0``."""
    return not column.strip() or column.startswith(("Unnamed: ", "__index_level_"))


def _is_filled(cell: Cell) -> bool:
    return cell is not None and cell != ""

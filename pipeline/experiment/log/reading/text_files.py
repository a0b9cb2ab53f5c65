"""Load a text file of the log into DuckDB, or say why it cannot be read: its first line at fault."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from pipeline.artifacts.storage import is_full
from pipeline.core.errors import DataError
from pipeline.core.file_content import (
    BYTE_ORDER_MARK,
    HEAD_BYTES,
    foreign_content,
    likely_separator,
)
from pipeline.core.table_file import MOST_COLUMNS
from pipeline.datasets.io.files import duckdb_path, is_compressed, open_stream
from pipeline.experiment.log.log_files import LogFile, LogFormat

_READ_CSV = """
CREATE OR REPLACE TEMP TABLE text_rows AS SELECT * FROM read_csv(
    $path, all_varchar = true, header = true, delim = $separator, quote = '"', escape = '"',
    comment = '', skip = 0, strict_mode = true, null_padding = false, ignore_errors = false,
    compression = 'none', hive_partitioning = false)
"""

_READ_HEADER = """
SELECT * FROM read_csv($path, all_varchar = true, header = false, delim = $separator, quote = '"',
    escape = '"', comment = '', skip = 0, compression = 'none', hive_partitioning = false) LIMIT 1
"""

_READ_JSON = """
CREATE OR REPLACE TEMP TABLE text_rows AS SELECT * FROM read_json(
    $path, format = $format, columns = $columns, ignore_errors = false, compression = 'none',
    hive_partitioning = false)
"""

_UNKNOWN_FAULT = "its quotes, separators or types are not those of one table; export it again"

_CHUNK = 1 << 20


def load_text(
    connection: duckdb.DuckDBPyConnection, file: LogFile, names: list[str], scratch: Path
) -> list[str]:
    """Load a text file as the table ``text_rows``; of JSON, only the named members.

    Returns the names that the header of a CSV repeats.
    """
    path = Path(duckdb_path(file.path, scratch))
    if is_compressed(file.path):  # to its end, whose checksum DuckDB does not verify
        path = scratch / "decompressed"
        with open_stream(file.path) as stream, path.open("wb") as plain:
            while chunk := stream.read(_CHUNK):
                plain.write(chunk)
    with path.open("rb") as stream:
        head = stream.read(_CHUNK).removeprefix(BYTE_ORDER_MARK).lstrip()
    separator = likely_separator(head)
    try:
        if fault := _fault_of_head(path, file.format, head, separator):
            raise DataError(fault)
        if file.format is LogFormat.JSON:
            columns = dict.fromkeys(names, "VARCHAR")
            layout = "array" if head.startswith(b"[") else "newline_delimited"
            parameters = {"path": str(path), "columns": columns, "format": layout}
            connection.execute(_READ_JSON, parameters)
            return []
        parameters = _read_csv(connection, path, separator, scratch / "line_ends")
        return _repeated_columns(connection, parameters, names)
    except duckdb.Error as error:
        if is_full(error):
            raise
        raise DataError(_first_fault(path, file.format, separator) or _UNKNOWN_FAULT) from error
    finally:
        if is_compressed(file.path):
            path.unlink()


def _read_csv(
    connection: duckdb.DuckDBPyConnection, path: Path, separator: str, plain: Path
) -> dict[str, str]:
    """Load a CSV; returns the parameters. ``plain`` is written if its lines end in several ways."""
    parameters = {"path": str(path), "separator": separator}
    try:
        connection.execute(_READ_CSV, parameters)
    except duckdb.Error as error:
        if is_full(error) or not _unify_line_ends(path, plain):
            raise
        parameters["path"] = str(plain)
        connection.execute(_READ_CSV, parameters)
    return parameters


def _unify_line_ends(path: Path, target: Path) -> bool:
    """Write a file whose lines end in CRLF and in LF with LF alone; DuckDB reads one kind only.

    Returns whether it has both.
    """
    with path.open("rb") as stream:
        ends = {line.endswith(b"\r\n") for line in stream if line.endswith(b"\n")}
        if len(ends) < 2:
            return False
        stream.seek(0)
        with target.open("wb") as plain:
            plain.writelines(
                line[:-2] + b"\n" if line.endswith(b"\r\n") else line for line in stream
            )
    return True


def _repeated_columns(
    connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, str], names: Iterable[str]
) -> list[str]:
    """Repeated names in the header of a CSV; DuckDB appends a number to repetitions."""
    types = {name for name, *_ in connection.execute("DESCRIBE text_rows").fetchall()}
    numbered = [name for name in names if f"{name}_1" in types]
    if not numbered:
        return []
    ((*header,),) = connection.execute(_READ_HEADER, dict(parameters)).fetchall()
    return [name for name in numbered if header.count(name) > 1]


def _fault_of_head(path: Path, file_format: LogFormat, head: bytes, separator: str) -> str | None:
    """Why a file should not be given to DuckDB, which would take minutes, or read a part of it."""
    if what := foreign_content(head[:HEAD_BYTES]):
        return what
    if file_format is LogFormat.CSV:
        return _too_wide(head, separator)
    return _unfinished_array(path) if head.startswith(b"[") else None


def _too_wide(head: bytes, separator: str) -> str | None:
    columns = head.split(b"\n", 1)[0].count(separator.encode()) + 1
    if columns <= MOST_COLUMNS:
        return None
    return (
        f"its header has {columns:,} columns; expected at most {MOST_COLUMNS:,}: export those of "
        "docs/experiment-log.md only"
    )


def _unfinished_array(path: Path) -> str | None:
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - HEAD_BYTES, 0))
        ends = stream.read().rstrip().endswith(b"]")
    return None if ends else "its array does not end, so the file is truncated"


def _first_fault(path: Path, file_format: LogFormat, separator: str) -> str | None:
    """The first fault of a decompressed file, with its line; None if Python finds none.

    Args:
        path: The file.
        file_format: CSV or JSON.
        separator: Between the fields of a CSV.
    """
    return _json_fault(path) if file_format is LogFormat.JSON else _csv_fault(path, separator)


def _csv_fault(path: Path, separator: str) -> str | None:
    with path.open("rb") as stream:
        if stream.read(HEAD_BYTES).lstrip()[:1] in {b"{", b"["}:
            return "it is JSON; give it a name that ends in .jsonl or .json"
    width, first = None, 1
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=separator, strict=True)
        try:
            for row in reader:
                width = len(row) if width is None else width
                if fault := _row_fault(row, width, separator):
                    return f"line {first} {fault}"
                first = reader.line_num + 1
        except csv.Error as error:
            long = "field limit" in str(error)
            open_quote = "unexpected end" in str(error)
            what = (
                f"has a field of more than {csv.field_size_limit():,} characters"
                if long
                else "opens a quote that is not closed"
                if open_quote
                else "has text after a closing quote; double the quotes inside a field"
            )
            return f"line {first} {what}"
    return None


def _row_fault(row: list[str], width: int, separator: str) -> str | None:
    if any("\udc80" <= letter <= "\udcff" for field in row for letter in field):
        return "is not UTF-8; save the file as CSV (UTF-8)"
    if row and len(row) != width:
        return (
            f"has {len(row)} fields, the header has {width}; quote fields that contain the separator "
            f"{separator!r}"
        )
    return None


def _json_fault(path: Path) -> str | None:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        if stream.read(1) == "[":
            return _array_fault(path)
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                line.encode()
                is_object = isinstance(json.loads(line, object_pairs_hook=_members), dict)
            except _RepeatedError as error:
                return f"line {number} has the member {error} twice"
            except (ValueError, RecursionError):
                is_object = False
            if not is_object:
                return f"line {number} is not one JSON object in UTF-8: {line.strip()[:60]!r}"
    return None


class _RepeatedError(Exception):
    """A member of an object is there twice."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _RepeatedError(repr(name))
        found[name] = value
    return found


def _array_fault(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except RecursionError:
        return "its arrays or objects are nested too deeply; expected an array of flat objects"
    except ValueError as error:
        return f"it is not a JSON array: {error}"
    return None

"""Read one log file into the view ``staged_rows``: typed, but not validated.

A field of the wrong type sets ``has_wrong_type`` of its row. A malformed file (truncated, a row with an
additional field, invalid UTF-8) is refused as a whole, as is a column without a suitable type.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline.artifacts.storage import is_full
from pipeline.core.errors import DataError, LogError
from pipeline.datasets.io.files import duckdb_path, is_compressed, open_stream
from pipeline.experiment.log.column_mapping import (
    column_sql,
    decimal_id_sql,
    missing_columns,
    quote_identifier,
    resolve_columns,
    with_derived_columns,
)
from pipeline.experiment.log.log_files import (
    COLUMNS,
    OUTCOMES,
    REQUIRED,
    REVENUE,
    LogFile,
    LogFormat,
    LogTable,
)
from pipeline.experiment.log.row_validation import LogRules
from pipeline.study import LogColumns

_SQL_TYPE: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
}

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

_SEPARATORS = ",;\t|"

_OF_ORDERS = ("units", REVENUE)
"""Columns that only ordered impressions have; JSON lines may omit them."""

_NO_HEADER = "column0"
"""DuckDB's name of the column of an empty file."""

_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A staged file.

    Attributes:
        rows: Number of rows.
        columns: Columns of the file, derived ones included.
        inapplicable: Columns that no row of the file could have a value for. The file is compatible
            with files that have them and with files that do not.
    """

    rows: int
    columns: tuple[str, ...]
    inapplicable: tuple[str, ...] = ()


def stage_file(
    connection: duckdb.DuckDBPyConnection, file: LogFile, rules: LogRules, scratch: Path
) -> StagedFile:
    """Create ``staged_rows`` from one file: all columns of its table, and ``has_wrong_type``.

    Args:
        connection: The experiment's database.
        file: The file.
        rules: Column mapping and time zone of the log.
        scratch: A temporary folder, which must exist as long as the rows are read.

    Raises:
        LogError: if the file is malformed, or a column is missing or has the wrong type.
    """
    table, columns = file.table, rules.columns
    names = _contract_columns(table) if columns is None else resolve_columns(table, columns)
    rows, types, repeated = _load(connection, file, names.values(), scratch)
    if file.format.is_text and not rows and list(types) in ([], [_NO_HEADER]):
        _stage(connection, table, {}, "false")
        return StagedFile(0, tuple(COLUMNS[table]))
    present = {name: column for name, column in names.items() if column in types}
    optional = {name: names[name] for name in _OF_ORDERS if name in names}
    optional = optional if file.format is LogFormat.JSON else {}
    mapping = columns or LogColumns()
    typed, problems = column_sql(table, present, types, mapping, time_zone=rules.time_zone)
    if columns is None:
        problems += _missing_of_contract(table, types)
    else:
        problems += missing_columns(table, optional | present, columns)
    problems += [f"{column} occurs twice" for column in repeated]
    if file.format.is_text:
        problems += _decimal_ids(connection, present)
    _refuse(file, types, problems)
    found = typed if columns is None else with_derived_columns(table, typed)
    _stage(connection, table, found, _has_wrong_type(table, typed, present))
    unknown = [name for name in optional if name not in found]
    if unknown and (table is not LogTable.IMPRESSIONS or _any_order(connection)):
        unknown = []
    if columns is not None:
        known = dict.fromkeys(unknown, "") | present
        _refuse(file, types, missing_columns(table, known, columns))
    return StagedFile(rows, tuple(found), tuple(unknown))


def _decimal_ids(connection: duckdb.DuckDBPyConnection, present: Mapping[str, str]) -> list[str]:
    """Columns with ids such as ``12.0``; ``12`` would be another user."""
    columns = [present[name] for name in ("impression", "user", "item") if name in present]
    found = {name: connection.execute(decimal_id_sql(name)).fetchone() for name in columns}
    return [
        f"column {name} has ids that became decimal numbers, such as {row[0]!r}; export them as "
        "integers or text"
        for name, row in found.items()
        if row
    ]


def _contract_columns(table: LogTable) -> dict[str, str]:
    """Columns of a file that follows the contract, which have the contract's names."""
    if table is LogTable.USERS:
        return {name: name for name in COLUMNS[table]}
    optional = () if table is LogTable.CLICKS else (REVENUE,)
    return {name: name for name in (*REQUIRED[table], *optional)}


def _load(
    connection: duckdb.DuckDBPyConnection, file: LogFile, names: Iterable[str], scratch: Path
) -> tuple[int, dict[str, str], list[str]]:
    """Load a file as ``raw``.

    Returns its number of rows, its columns with DuckDB's types, and the wanted columns it has twice.
    """
    repeated: list[str] = []
    with as_log_errors(file):
        if file.format.is_text:
            repeated = _load_text(connection, file, list(names), scratch)
            raw = connection.table("text_rows")
        else:
            path = duckdb_path(file.path, scratch)
            raw = connection.read_parquet(path, hive_partitioning=False)
        connection.register("raw", raw)
        described = connection.execute("DESCRIBE raw").fetchall()
        types = {name: dtype for name, dtype, *_ in described}
        (rows,) = connection.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        if file.format is LogFormat.JSON:
            types = _with_values(connection, types)
    return rows, types, repeated


def _stage(
    connection: duckdb.DuckDBPyConnection,
    table: LogTable,
    found: Mapping[str, str],
    has_wrong_type: str,
) -> None:
    selected = [
        f"{found.get(name, f'NULL::{_SQL_TYPE[dtype]}')} AS {quote_identifier(name)}"
        for name, dtype in COLUMNS[table].items()
    ]
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW staged_rows AS SELECT {', '.join(selected)}, "  # noqa: S608
        f"{has_wrong_type} AS has_wrong_type FROM raw"
    )


def _has_wrong_type(table: LogTable, typed: Mapping[str, str], present: Mapping[str, str]) -> str:
    """SQL of whether a field has a value of the wrong type; strings never have."""
    conditions = [
        f"({sql} IS NULL AND raw.{quote_identifier(present[name])} IS NOT NULL)"
        for name, sql in typed.items()
        if COLUMNS[table][name] != pl.String
    ]
    return " OR ".join(conditions) or "false"


def _any_order(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether any impression was ordered, and so could have units and revenue."""
    found = connection.execute("SELECT bool_or(ordered) FROM staged_rows").fetchone()
    return bool(found and found[0])


@contextmanager
def as_log_errors(file: LogFile) -> Iterator[None]:
    """Convert DuckDB's errors on a file to :class:`LogError`."""
    try:
        yield
    except (duckdb.Error, DataError, OSError, UnicodeDecodeError) as error:
        if is_full(error):
            raise  # the disk of the database, and no fault of the file
        details = " ".join(str(error).split())[:300]
        msg = (
            f"{file.source} cannot be read completely as {file.format.value}, and none of its rows "
            f"are ingested; restore or fix the file. The reader reports: {details}"
        )
        raise LogError(msg) from error


def _load_text(
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
        head = stream.read(_CHUNK).removeprefix(_BYTE_ORDER_MARK).lstrip()
    try:
        if file.format is LogFormat.JSON:
            columns = dict.fromkeys(names, "VARCHAR")
            layout = "array" if head.startswith(b"[") else "newline_delimited"
            parameters = {"path": str(path), "columns": columns, "format": layout}
            connection.execute(_READ_JSON, parameters)
            return []
        parameters = {"path": str(path), "separator": _separator(head)}
        connection.execute(_READ_CSV, parameters)
        return _repeated_columns(connection, parameters, names)
    finally:
        if is_compressed(file.path):
            path.unlink()


def _separator(head: bytes) -> str:
    """The most frequent separator in the header."""
    line = head.split(b"\n", 1)[0].decode("utf-8", errors="replace")
    return max(_SEPARATORS, key=line.count)


def _with_values(connection: duckdb.DuckDBPyConnection, types: dict[str, str]) -> dict[str, str]:
    """The columns of JSON lines that have a value in any row."""
    counts = ", ".join(f"count({quote_identifier(name)})" for name in types)
    found = connection.execute(f"SELECT {counts} FROM raw").fetchone() or ()  # noqa: S608
    return {name: types[name] for name, n in zip(types, found, strict=True) if n}


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


def _refuse(file: LogFile, types: Mapping[str, str], problems: Sequence[str]) -> None:
    if problems:
        msg = (
            f"{file.source}: {'; '.join(problems)}; found {sorted(types)}; it is read as {file.table} by "
            "its name, or name the files of a table in experiment.files; expected columns: see "
            "docs/experiment-log.md"
        )
        raise LogError(msg)


def _missing_of_contract(table: LogTable, types: Mapping[str, str]) -> list[str]:
    """Missing columns of a file that follows the contract."""
    required = REQUIRED[table]
    outcomes = OUTCOMES if table is LogTable.IMPRESSIONS else ()
    if not any(name in types for name in outcomes):  # clicks and orders are in separate files
        required = [name for name in required if name not in outcomes]
    return [f"{name} is missing" for name in required if name not in types]

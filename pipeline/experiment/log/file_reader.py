"""Read one log file into the view ``staged_rows``: typed, but not validated.

Parquet files must have the contract's types (integers of any width). Fields of CSV and JSON lines are
parsed; a field of the wrong type sets ``has_wrong_type`` of its row. A malformed file (truncated, a row
with an additional field, invalid UTF-8) is refused as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.core.errors import LogError
from pipeline.datasets.io.blocks import is_compressed
from pipeline.experiment.log.column_mapping import (
    INTEGERS,
    boolean_sql,
    column_sql,
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
    LogFormat,
    LogTable,
    format_of,
    table_of,
)
from pipeline.study import LogColumns

_SQL_TYPE: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
}

_READ_CSV = """
CREATE OR REPLACE TEMP TABLE text_rows AS SELECT * FROM read_csv(
    $path, all_varchar = true, header = true, delim = ',', quote = '"', escape = '"', comment = '',
    skip = 0, strict_mode = true, null_padding = false, ignore_errors = false,
    hive_partitioning = false)
"""

_READ_HEADER = """
SELECT * FROM read_csv($path, all_varchar = true, header = false, delim = ',', quote = '"',
    escape = '"', comment = '', skip = 0, hive_partitioning = false) LIMIT 1
"""

_READ_JSON = """
CREATE OR REPLACE TEMP TABLE text_rows AS SELECT * FROM read_json(
    $path, format = 'newline_delimited', columns = $columns, ignore_errors = false,
    hive_partitioning = false)
"""

_OF_ORDERS = ("units", REVENUE)
"""Columns that only ordered impressions have; JSON lines may omit them."""

_NO_HEADER = "column0"
"""DuckDB's name of the column of an empty file."""

_CHUNK = 1 << 20


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
    connection: duckdb.DuckDBPyConnection, file: Path, columns: LogColumns | None = None
) -> StagedFile:
    """Create ``staged_rows`` from one file: all columns of its table, and ``has_wrong_type``.

    Args:
        connection: The experiment's database.
        file: The file.
        columns: Column mapping; None for a file that follows the contract.

    Raises:
        LogError: if the file is malformed, or a column is missing or has the wrong type.
    """
    table, file_format = table_of(file), format_of(file)
    names = _contract_columns(table) if columns is None else resolve_columns(table, columns)
    rows, types = _load(connection, file, names.values())
    if file_format.is_text and not rows and list(types) in ([], [_NO_HEADER]):
        _stage(connection, table, {}, "false")
        return StagedFile(0, tuple(COLUMNS[table]))
    present = {name: column for name, column in names.items() if column in types}
    optional = {name: names[name] for name in _OF_ORDERS if name in names}
    optional = optional if file_format is LogFormat.JSON_LINES else {}
    if columns is None:
        typed, problems = _contract_sql(table, types, present, is_text=file_format.is_text)
    else:
        typed, problems = column_sql(table, present, types, columns)
        problems += missing_columns(table, optional | present, columns)
    repeated = _repeated_columns(connection, file, types, present.values())
    problems += [f"{column} occurs twice" for column in repeated]
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


def _contract_columns(table: LogTable) -> dict[str, str]:
    """Columns of a file that follows the contract, which have the contract's names."""
    if table is LogTable.USERS:
        return {name: name for name in COLUMNS[table]}
    optional = () if table is LogTable.CLICKS else (REVENUE,)
    return {name: name for name in (*REQUIRED[table], *optional)}


def _load(
    connection: duckdb.DuckDBPyConnection, file: Path, names: Iterable[str]
) -> tuple[int, dict[str, str]]:
    """Load a file as ``raw``; returns its number of rows and its columns with DuckDB's types."""
    with as_log_errors(file):
        if format_of(file).is_text:
            _load_text(connection, file, names)
            raw = connection.table("text_rows")
        else:
            raw = connection.read_parquet(str(file), hive_partitioning=False)
        connection.register("raw", raw)
        described = connection.execute("DESCRIBE raw").fetchall()
        types = {name: dtype for name, dtype, *_ in described}
        (rows,) = connection.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        if format_of(file) is LogFormat.JSON_LINES:
            types = _with_values(connection, types)
    return rows, types


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
def as_log_errors(file: Path) -> Iterator[None]:
    """Convert DuckDB's errors on a file to :class:`LogError`."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        details = " ".join(str(error).split())[:300]
        msg = (
            f"{file.name} cannot be read completely as {format_of(file).value}, and none of its rows "
            f"are ingested; restore or fix the file. DuckDB reports: {details}"
        )
        raise LogError(msg) from error


def _load_text(connection: duckdb.DuckDBPyConnection, file: Path, names: Iterable[str]) -> None:
    """Load a text file as the table ``text_rows``; of JSON lines, only the named members."""
    if is_compressed(file):
        # DuckDB accepts a truncated zst file, and does not verify the checksum of gz
        with pa.input_stream(str(file), compression="detect") as stream:
            while stream.read(_CHUNK):
                pass
    if format_of(file) is LogFormat.CSV:
        connection.execute(_READ_CSV, {"path": str(file)})
    else:
        columns = dict.fromkeys(names, "VARCHAR")
        connection.execute(_READ_JSON, {"path": str(file), "columns": columns})


def _with_values(connection: duckdb.DuckDBPyConnection, types: dict[str, str]) -> dict[str, str]:
    """The columns of JSON lines that have a value in any row."""
    counts = ", ".join(f"count({quote_identifier(name)})" for name in types)
    found = connection.execute(f"SELECT {counts} FROM raw").fetchone() or ()  # noqa: S608
    return {name: types[name] for name, n in zip(types, found, strict=True) if n}


def _repeated_columns(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    types: Mapping[str, str],
    names: Iterable[str],
) -> list[str]:
    """Repeated names in the header of a CSV; DuckDB appends a number to repetitions."""
    numbered = [name for name in names if f"{name}_1" in types]
    if not numbered or format_of(file) is not LogFormat.CSV:
        return []
    header = connection.execute(_READ_HEADER, {"path": str(file)}).fetchone() or ()
    return [name for name in numbered if header.count(name) > 1]


def _refuse(file: Path, types: Mapping[str, str], problems: Sequence[str]) -> None:
    if problems:
        msg = (
            f"{file.name}: {'; '.join(problems)}; found {sorted(types)}; expected columns: "
            "see docs/experiment-log.md"
        )
        raise LogError(msg)


def _contract_sql(
    table: LogTable, types: Mapping[str, str], present: Mapping[str, str], *, is_text: bool
) -> tuple[dict[str, str], list[str]]:
    """SQL of every column of a file that follows the contract, and the problems of the file."""
    required = REQUIRED[table]
    outcomes = OUTCOMES if table is LogTable.IMPRESSIONS else ()
    if not any(name in types for name in outcomes):  # clicks and orders are in separate files
        required = [name for name in required if name not in outcomes]
    problems = [f"{name} is missing" for name in required if name not in types]
    expected = {name: COLUMNS[table][name] for name in present}
    if not is_text:
        problems += [
            f"{name} is {types[name]}, expected {_SQL_TYPE[dtype]}"
            for name, dtype in expected.items()
            if types[name] != _SQL_TYPE[dtype]
            and not (types[name] in INTEGERS and dtype in {pl.Int64, pl.Int32})
        ]
    typed = {name: _typed(name, dtype, is_text=is_text) for name, dtype in expected.items()}
    return typed, problems


def _typed(name: str, dtype: Any, *, is_text: bool) -> str:
    """SQL of a column in the contract's type; null where a field has another type."""
    column = f'raw."{name}"'
    if dtype == pl.String:
        return column
    if not is_text:
        return column if dtype == pl.Boolean else f"TRY_CAST({column} AS {_SQL_TYPE[dtype]})"
    if dtype == pl.Boolean:
        return boolean_sql(column)
    is_integer = f"regexp_full_match({column}, '-?[0-9]+')"
    return f"CASE WHEN {is_integer} THEN TRY_CAST({column} AS {_SQL_TYPE[dtype]}) END"

"""Read one log file into the view ``staged_rows``: typed, but not validated.

A field of the wrong type sets ``wrong_field`` of its row; ``written`` has the row as in the file. A malformed file (truncated, a row with an
additional field, invalid UTF-8) is refused as a whole, as is a column without a suitable type.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline.artifacts.storage import is_full
from pipeline.core.errors import DataError, LogError
from pipeline.core.table_file import MOST_COLUMNS
from pipeline.datasets.io.files import duckdb_path
from pipeline.experiment.log.log_files import (
    ARM,
    COLUMNS,
    REVENUE,
    LogFile,
    LogFormat,
    LogTable,
)
from pipeline.experiment.log.reading.column_mapping import (
    column_sql,
    contract_columns,
    decimal_id_sql,
    missing_columns,
    missing_of_contract,
    quote_identifier,
    resolve_columns,
    with_derived_columns,
)
from pipeline.experiment.log.reading.text_files import load_text
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.study import LogColumns

_SQL_TYPE: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
    pl.Float64: "DOUBLE",
}

_PARQUET_WIDTH = "SELECT num_children FROM parquet_schema(?) LIMIT 1"
_OF_ORDERS = ("units", REVENUE)
"""Columns that only ordered impressions have; JSON lines may omit them."""

_NO_HEADER = "column0"
"""DuckDB's name of the column of an empty file."""

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A staged file.

    Attributes:
        rows: Number of rows.
        columns: Columns of the file, derived ones included.
        inapplicable: Columns that no row of the file could have a value for. The file is compatible
            with files that have them and with files that do not.
        expected: What is expected in a field, by column.
    """

    rows: int
    columns: tuple[str, ...]
    inapplicable: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict[str, str])


def stage_file(
    connection: duckdb.DuckDBPyConnection, file: LogFile, rules: LogRules, scratch: Path
) -> StagedFile:
    """Create ``staged_rows`` from one file: all columns of its table, ``wrong_field`` and ``written``.

    Args:
        connection: The experiment's database.
        file: The file.
        rules: Column mapping and time zone of the log.
        scratch: A temporary folder, which must exist as long as the rows are read.

    Raises:
        LogError: if the file is malformed, or a column is missing or has the wrong type.
    """
    table, columns = file.table, rules.columns
    names = contract_columns(table) if columns is None else resolve_columns(table, columns)
    rows, types, repeated = load_raw(connection, file, names, scratch)
    if file.format.is_text and not rows and list(types) in ([], [_NO_HEADER]):
        _stage(connection, table, {}, {})
        return StagedFile(0, tuple(COLUMNS[table]))
    present = {name: column for name, column in names.items() if column in types}
    if types.get(present.get(ARM, "")) != "VARCHAR":  # a column of this name, of another system
        present.pop(ARM, None)
    optional = {name: names[name] for name in _OF_ORDERS if name in names}
    optional = optional if file.format is LogFormat.JSON else {}
    mapping = columns or LogColumns()
    typed, problems, expected = column_sql(
        table, present, types, mapping, time_zone=rules.time_zone
    )
    if columns is None:
        problems += missing_of_contract(table, types)
    else:
        problems += missing_columns(table, optional | present, columns, types)
    problems += [f"{column} occurs twice" for column in repeated]
    if file.format.is_text:
        problems += _decimal_ids(connection, present)
    _refuse(file, types, problems)
    found = typed if columns is None else with_derived_columns(table, typed)
    written = {present[name]: (name, sql) for name, sql in typed.items()}
    _stage(connection, table, found, written)
    unknown = [name for name in optional if name not in found]
    if unknown and (table is not LogTable.IMPRESSIONS or _any_order(connection)):
        unknown = []
    if columns is not None:
        known = dict.fromkeys(unknown, "") | present
        _refuse(file, types, missing_columns(table, known, columns, types))
    return StagedFile(rows, tuple(found), tuple(unknown), expected)


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


def load_raw(
    connection: duckdb.DuckDBPyConnection, file: LogFile, names: Mapping[str, str], scratch: Path
) -> tuple[int, dict[str, str], list[str]]:
    """Load a file as ``raw``; ``names`` are those of the contract's columns in it.

    Returns its number of rows, its columns with DuckDB's types, and the wanted columns it has twice.
    """
    repeated: list[str] = []
    with as_log_errors(file):
        if file.format.is_text:
            repeated = load_text(connection, file, list(names.values()), scratch)
            raw = connection.table("text_rows")
        else:
            path = duckdb_path(file.path, scratch)
            ((width,),) = connection.execute(_PARQUET_WIDTH, [path]).fetchall()
            _check_width(file, width)
            # old writers leave out that bytes are text
            raw = connection.read_parquet(path, hive_partitioning=False, binary_as_string=True)
        connection.register("raw", raw)
        described = connection.execute("DESCRIBE raw").fetchall()
        types = {name: dtype for name, dtype, *_ in described}
        (rows,) = connection.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        if file.format is LogFormat.JSON:
            found = _with_values(connection, types)
            # a file may have lists outside the groups only
            of_arms = {names["group"]: "VARCHAR"} if names.get(ARM) in found else {}
            types = of_arms | found
    return rows, types, repeated


def _stage(
    connection: duckdb.DuckDBPyConnection,
    table: LogTable,
    found: Mapping[str, str],
    present: Mapping[str, tuple[str, str]],
) -> None:
    """Create the view; ``present`` has contract name and SQL of each column of the file."""
    selected = [
        f"{found.get(name, f'NULL::{_SQL_TYPE[dtype]}')} AS {quote_identifier(name)}"
        for name, dtype in COLUMNS[table].items()
    ]
    fields = {name: f"raw.{quote_identifier(name)}" for name in present}
    wrong = [
        f"WHEN {sql} IS NULL AND {fields[column]} IS NOT NULL THEN {_literal(column)}"
        for column, (name, sql) in present.items()
        if COLUMNS[table][name] != pl.String  # strings are never of the wrong type
    ]
    wrong_field = f"CASE {' '.join(wrong)} END" if wrong else "NULL::VARCHAR"
    members = ", ".join(f"{quote_identifier(name)} := {sql}" for name, sql in fields.items())
    written = f"struct_pack({members})" if members else "NULL"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW staged_rows AS SELECT {', '.join(selected)}, "  # noqa: S608
        f"{wrong_field} AS wrong_field, {written} AS written FROM raw"
    )


def _literal(text: str) -> str:
    """A string in SQL."""
    return "'" + text.replace("'", "''") + "'"


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
            f"are ingested: {details.rstrip('.')}. Restore or fix the file"
        )
        raise LogError(msg) from error


def _check_width(file: LogFile, columns: int) -> None:
    if columns > MOST_COLUMNS:
        msg = (
            f"{file.source} has {columns:,} columns; expected at most {MOST_COLUMNS:,}. Export those of "
            "docs/experiment-log.md only, or name the log's files in experiment.files"
        )
        raise LogError(msg)


def _with_values(connection: duckdb.DuckDBPyConnection, types: dict[str, str]) -> dict[str, str]:
    """The columns of JSON lines that have a value in any row."""
    counts = ", ".join(f"count({quote_identifier(name)})" for name in types)
    found = connection.execute(f"SELECT {counts} FROM raw").fetchone() or ()  # noqa: S608
    return {name: types[name] for name, n in zip(types, found, strict=True) if n}


def _refuse(file: LogFile, types: Mapping[str, str], problems: Sequence[str]) -> None:
    if problems:
        more = f" and {len(types) - _SHOWN} more" if len(types) > _SHOWN else ""
        found = ", ".join(sorted(types)[:_SHOWN]) or "none of the columns of this table"
        msg = (
            f"{file.source}: {'; '.join(problems)}; found {found}{more}. It is "
            f"read as {file.table} by its name (experiment.files names the files of a table). Rename its "
            "columns, or map them in experiment.columns (docs/experiment-log.md)"
        )
        raise LogError(msg)

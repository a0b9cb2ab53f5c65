"""One file of the log as the table ``incoming``, whatever its format: typed, nothing judged yet.

Parquet must have the contract's types (whole numbers of any width). CSV and JSON lines are texts
that are read here; a field that is not of its type makes its row ``unreadable``. What is no such
file at all (cut short, a row with a field too many, bad UTF-8) is refused whole.
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
    column_sql,
    missing_columns,
    quote_identifier,
    resolve_columns,
    with_derived_columns,
)
from pipeline.experiment.log.log_files import (
    COLUMNS,
    OUTCOMES,
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
_WHOLE = {f"{sign}{width}INT" for sign in ("", "U") for width in ("TINY", "SMALL", "BIG")} | {
    "INTEGER",
    "UINTEGER",
}

_READ_CSV = """
CREATE OR REPLACE TEMP TABLE texts AS SELECT * FROM read_csv(
    $path, all_varchar = true, header = true, delim = ',', quote = '"', escape = '"', comment = '',
    skip = 0, strict_mode = true, null_padding = false, ignore_errors = false,
    hive_partitioning = false)
"""

_READ_HEADER = """
SELECT * FROM read_csv($path, all_varchar = true, header = false, delim = ',', quote = '"',
    escape = '"', comment = '', skip = 0, hive_partitioning = false) LIMIT 1
"""

_READ_JSON = """
CREATE OR REPLACE TEMP TABLE texts AS SELECT * FROM read_json(
    $path, format = 'newline_delimited', columns = $columns, ignore_errors = false,
    hive_partitioning = false)
"""

_MAYBE_SILENT = ("units", REVENUE)
"""What an impression has only if it was ordered. A line of JSON may leave it out."""

_NO_HEADER = "column0"
"""What DuckDB calls the column of a file without a byte."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of the log, as it was read.

    Attributes:
        rows: How many it has.
        told: The columns it tells, those that follow from others included.
        silent: Columns that no row of it could have a value for. It fits files that have them, and
            files that lack them.
    """

    rows: int
    told: tuple[str, ...]
    silent: tuple[str, ...] = ()


def stage_file(
    connection: duckdb.DuckDBPyConnection, file: Path, columns: LogColumns | None = None
) -> StagedFile:
    """Make ``incoming`` of one file: all columns a log may have and ``unreadable``, a row a row.

    Args:
        connection: Where.
        file: One of the log's.
        columns: How a log is to be read that is not in the contract; None for one that is.

    Raises:
        LogError: if the file cannot be read to its end, or lacks a column, or one has another type.
    """
    table, written = table_of(file), format_of(file)
    wanted = _contract(table) if columns is None else resolve_columns(table, columns)
    rows, got = _load(connection, file, wanted.values())
    if written.is_text and not rows and list(got) in ([], [_NO_HEADER]):
        _make_incoming(connection, table, {}, "false")
        return StagedFile(0, tuple(COLUMNS[table]))
    there = {name: place for name, place in wanted.items() if place in got}
    maybe = {name: wanted[name] for name in _MAYBE_SILENT if name in wanted}
    maybe = maybe if written is LogFormat.JSON_LINES else {}
    if columns is None:
        typed, problems = _of_contract(table, got, there, is_text=written.is_text)
    else:
        typed, problems = column_sql(table, there, got, columns)
        problems += missing_columns(table, maybe | there, columns)
    problems += [f"{place} stands twice" for place in _twice(connection, file, got, there.values())]
    _refuse(file, got, problems)
    found = typed if columns is None else with_derived_columns(table, typed)
    _make_incoming(connection, table, found, _unreadable(table, typed, there))
    silent = [name for name in maybe if name not in found]
    if silent and (table is not LogTable.IMPRESSIONS or _any_order(connection)):
        silent = []
    if columns is not None:
        _refuse(file, got, missing_columns(table, dict.fromkeys(silent, "") | there, columns))
    return StagedFile(rows, tuple(found), tuple(silent))


def _contract(table: LogTable) -> dict[str, str]:
    """The columns of a log that is in the contract, which calls them what they are."""
    if table is LogTable.USERS:
        return {name: name for name in COLUMNS[table]}
    more = () if table is LogTable.CLICKS else (REVENUE,)
    return {name: name for name in (*table.contract.columns, *more)}


def _load(
    connection: duckdb.DuckDBPyConnection, file: Path, names: Iterable[str]
) -> tuple[int, dict[str, str]]:
    """Make ``raw`` of a file; returns how many rows it has, and its columns with DuckDB's types."""
    with as_log_errors(file):
        if format_of(file).is_text:
            _load_text(connection, file, names)
            raw = connection.table("texts")
        else:
            raw = connection.read_parquet(str(file), hive_partitioning=False)
        connection.register("raw", raw)
        described = connection.execute("DESCRIBE raw").fetchall()
        got = {name: dtype for name, dtype, *_ in described}
        (rows,) = connection.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        if format_of(file) is LogFormat.JSON_LINES:
            got = _seen_in(connection, got)
    return rows, got


def _make_incoming(
    connection: duckdb.DuckDBPyConnection,
    table: LogTable,
    found: Mapping[str, str],
    unreadable: str,
) -> None:
    selected = [
        f"{found.get(name, f'NULL::{_SQL_TYPE[dtype]}')} AS {quote_identifier(name)}"
        for name, dtype in COLUMNS[table].items()
    ]
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW incoming AS SELECT {', '.join(selected)}, "  # noqa: S608
        f"{unreadable} AS unreadable FROM raw"
    )


def _unreadable(table: LogTable, typed: Mapping[str, str], there: Mapping[str, str]) -> str:
    """SQL of whether a field is there, but not of its type; a text is of its type."""
    faults = [
        f"({sql} IS NULL AND raw.{quote_identifier(there[name])} IS NOT NULL)"
        for name, sql in typed.items()
        if COLUMNS[table][name] != pl.String
    ]
    return " OR ".join(faults) or "false"


def _any_order(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether some impression was ordered, and so could have units and revenue."""
    found = connection.execute("SELECT bool_or(ordered) FROM incoming").fetchone()
    return bool(found and found[0])


@contextmanager
def as_log_errors(file: Path) -> Iterator[None]:
    """Turn what DuckDB says of a file into what the user can do about it."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        said = " ".join(str(error).split())[:300]
        msg = (
            f"{file.name} cannot be read to its end as {format_of(file).value}; nothing of it is taken "
            f"in, restore or mend it. DuckDB says: {said}"
        )
        raise LogError(msg) from error


def _load_text(connection: duckdb.DuckDBPyConnection, file: Path, names: Iterable[str]) -> None:
    """Load a text file as the table ``texts``; of JSON, the members with these names."""
    if is_compressed(file):
        # DuckDB takes the end of a cut zst for its end, and does not look at a gz's checksum
        with pa.input_stream(str(file), compression="detect") as stream:
            while stream.read(_CHUNK):
                pass
    if format_of(file) is LogFormat.CSV:
        connection.execute(_READ_CSV, {"path": str(file)})
    else:
        columns = dict.fromkeys(names, "VARCHAR")
        connection.execute(_READ_JSON, {"path": str(file), "columns": columns})


def _seen_in(connection: duckdb.DuckDBPyConnection, got: dict[str, str]) -> dict[str, str]:
    """The columns that some line of JSON has a value for."""
    counts = ", ".join(f"count({quote_identifier(name)})" for name in got)
    found = connection.execute(f"SELECT {counts} FROM raw").fetchone() or ()  # noqa: S608
    return {name: got[name] for name, n in zip(got, found, strict=True) if n}


def _twice(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    got: Mapping[str, str],
    names: Iterable[str],
) -> list[str]:
    """Columns that a CSV's header has twice; DuckDB numbers the further ones."""
    numbered = [name for name in names if f"{name}_1" in got]
    if not numbered or format_of(file) is not LogFormat.CSV:
        return []
    header = connection.execute(_READ_HEADER, {"path": str(file)}).fetchone() or ()
    return [name for name in numbered if header.count(name) > 1]


def _refuse(file: Path, got: Mapping[str, str], problems: Sequence[str]) -> None:
    if problems:
        msg = (
            f"{file.name}: {'; '.join(problems)}; its columns are {sorted(got)}, the contract is "
            "in docs/experiment-log.md"
        )
        raise LogError(msg)


def _of_contract(
    table: LogTable, got: Mapping[str, str], there: Mapping[str, str], *, is_text: bool
) -> tuple[dict[str, str], list[str]]:
    """SQL of every column of a log that is in the contract, and what is missing or ill-typed."""
    needed = list(table.contract.columns)
    outcomes = OUTCOMES if table is LogTable.IMPRESSIONS else ()
    if not any(name in got for name in outcomes):  # clicks and orders have files of their own
        needed = [name for name in needed if name not in outcomes]
    problems = [f"{name} is missing" for name in needed if name not in got]
    types = {name: COLUMNS[table][name] for name in there}
    if not is_text:
        problems += [
            f"{name} is {got[name]}, expected {_SQL_TYPE[dtype]}"
            for name, dtype in types.items()
            if got[name] != _SQL_TYPE[dtype]
            and not (got[name] in _WHOLE and dtype in {pl.Int64, pl.Int32})
        ]
    typed = {name: _typed(name, dtype, is_text=is_text) for name, dtype in types.items()}
    return typed, problems


def _typed(name: str, dtype: Any, *, is_text: bool) -> str:
    """SQL of a column in the contract's type; null where a field is not of it."""
    column = f'raw."{name}"'
    if dtype == pl.String:
        return column
    if not is_text:
        return column if dtype == pl.Boolean else f"TRY_CAST({column} AS {_SQL_TYPE[dtype]})"
    if dtype == pl.Boolean:
        return (
            f"CASE lower({column}) WHEN 'true' THEN true WHEN '1' THEN true "
            "WHEN 'false' THEN false WHEN '0' THEN false END"
        )
    whole = f"regexp_full_match({column}, '-?[0-9]+')"
    return f"CASE WHEN {whole} THEN TRY_CAST({column} AS {_SQL_TYPE[dtype]}) END"

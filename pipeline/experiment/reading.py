"""One file of the log as the table ``incoming``, whatever its format: typed, nothing judged yet.

Parquet must have the contract's types (whole numbers of any width). CSV and JSON lines are texts
that are read here; a field that is not of its type makes its row ``unreadable``. What is no such
file at all (cut short, a row with a field too many, bad UTF-8) is refused whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.errors import LogError
from pipeline.experiment.log import (
    OUTCOMES,
    REVENUE,
    LogFormat,
    LogTable,
    format_of,
    table_of,
)
from pipeline.sessions.reading import is_packed

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

_NO_HEADER = "column0"
"""What DuckDB calls the column of a file without a byte."""

_CHUNK = 1 << 20


def read_incoming(connection: duckdb.DuckDBPyConnection, file: Path) -> tuple[int, list[str]]:
    """Make ``incoming`` of one file: the contract's columns and ``unreadable``, a row a row.

    Returns:
        The rows of the file, and which of the columns that need not be there are.

    Raises:
        LogError: if the file cannot be read to its end, or lacks a column, or one has another type.
    """
    table, written = table_of(file), format_of(file)
    with refusing(file):
        if written.is_text:
            _load_text(connection, file, table)
            raw = connection.table("texts")
        else:
            raw = connection.read_parquet(str(file), hive_partitioning=False)
        connection.register("raw", raw)
        described = connection.execute("DESCRIBE raw").fetchall()
        got = {name: dtype for name, dtype, *_ in described}
        (rows,) = connection.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        if written is LogFormat.JSON_LINES:
            got = _seen_in(connection, got)
    wanted = dict(table.contract.columns) | _may_have(table)
    there = {name: dtype for name, dtype in wanted.items() if name in got}
    blank = written.is_text and not rows and list(got) in ([], [_NO_HEADER])
    if not blank:
        _check(file, table, got, there, is_text=written.is_text)
    typed = {name: _typed(name, dtype, is_text=written.is_text) for name, dtype in there.items()}
    selected = [f'{sql} AS "{name}"' for name, sql in typed.items()]
    selected += [
        f'NULL::{_SQL_TYPE[dtype]} AS "{name}"'
        for name, dtype in wanted.items()
        if name not in there
    ]
    unreadable = " OR ".join(
        f'({sql} IS NULL AND raw."{name}" IS NOT NULL)'
        for name, sql in typed.items()
        if wanted[name] != pl.String
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW incoming AS SELECT {', '.join(selected)}, "  # noqa: S608
        f"{unreadable or 'false'} AS unreadable FROM raw"
    )
    optional = (*OUTCOMES, REVENUE) if table is LogTable.EXPOSURES else (REVENUE,)
    return rows, [name for name in optional if name in there]


@contextmanager
def refusing(file: Path) -> Iterator[None]:
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


def _may_have(table: LogTable) -> dict[str, Any]:
    return {} if table is LogTable.CLICKS else {REVENUE: pl.Int64}


def _load_text(connection: duckdb.DuckDBPyConnection, file: Path, table: LogTable) -> None:
    """Load a text file as the table ``texts``."""
    if is_packed(file):
        # DuckDB takes the end of a cut zst for its end, and does not look at a gz's checksum
        with pa.input_stream(str(file), compression="detect") as stream:
            while stream.read(_CHUNK):
                pass
    if format_of(file) is LogFormat.CSV:
        connection.execute(_READ_CSV, {"path": str(file)})
        return
    names = (*table.contract.columns, *_may_have(table))
    columns = ", ".join(f"\"{name}\": 'VARCHAR'" for name in names)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE texts AS SELECT * FROM read_json($path, "  # noqa: S608
        f"format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = false, "
        "hive_partitioning = false)",
        {"path": str(file)},
    )


def _seen_in(connection: duckdb.DuckDBPyConnection, got: dict[str, str]) -> dict[str, str]:
    """The columns that some line of JSON has a value for."""
    counts = ", ".join(f'count("{name}")' for name in got)
    found = connection.execute(f"SELECT {counts} FROM raw").fetchone() or ()  # noqa: S608
    return {name: got[name] for name, n in zip(got, found, strict=True) if n}


def _check(
    file: Path,
    table: LogTable,
    got: dict[str, str],
    there: dict[str, Any],
    *,
    is_text: bool,
) -> None:
    """Raise if a column is missing, stands twice, or has another type."""
    needed = table.contract.columns
    outcomes = OUTCOMES if table is LogTable.EXPOSURES else ()
    if not any(name in got for name in outcomes):  # clicks and orders have files of their own
        needed = {name: dtype for name, dtype in needed.items() if name not in outcomes}
    problems = [f"{name} is missing" for name in needed if name not in got]
    problems += [f"{name} stands twice" for name in there if is_text and f"{name}_1" in got]
    if not is_text:
        problems += [
            f"{name} is {got[name]}, expected {_SQL_TYPE[dtype]}"
            for name, dtype in there.items()
            if got[name] != _SQL_TYPE[dtype]
            and not (got[name] in _WHOLE and dtype in {pl.Int64, pl.Int32})
        ]
    if problems:
        msg = (
            f"{file.name}: {'; '.join(problems)}; its columns are {sorted(got)}, the contract is "
            "in docs/experiment-log.md"
        )
        raise LogError(msg)


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

"""The experiment's database, opened to be read; its errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipeline.core.errors import LogError

_REBUILD = "paretoscope ingest"


@contextmanager
def database_errors(database: Path, *of_reader: type[Exception]) -> Iterator[None]:
    """Convert errors of reading a database to :class:`LogError`: damaged, foreign, locked or unreadable.

    ``of_reader`` are errors that a reader other than DuckDB raises.
    """
    try:
        yield
    except (duckdb.Error, *of_reader) as error:
        msg = (
            f"{database} cannot be read: {str(error).splitlines()[0]}. Wait if another process is "
            f"writing to it; otherwise rebuild it: {_REBUILD}"
        )
        raise LogError(msg, _REBUILD) from error


@contextmanager
def open_database(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that only reads; raises LogError if the database cannot be read."""
    with (
        database_errors(database),
        duckdb.connect(str(database), read_only=True) as connection,
    ):
        yield connection

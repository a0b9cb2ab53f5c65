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


def has_rows(connection: duckdb.DuckDBPyConnection, catalog: str | None = None) -> bool:
    """Whether a database has the log's impressions; that of a log in a warehouse has sums only.

    ``catalog`` is the name under which it is attached; None for the database of the connection.
    """
    found = connection.execute(
        "SELECT 1 FROM duckdb_views() WHERE view_name = 'impressions' "
        "AND database_name = coalesce($catalog, current_database())",
        {"catalog": catalog},
    )
    return bool(found.fetchall())

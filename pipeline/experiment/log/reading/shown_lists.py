"""The lists of an experiment's log: what was shown for which session, and what was clicked.

Lists are optional columns of the files of impressions (:data:`LIST_COLUMNS`), as the serving endpoint and the
simulator write them. The database has outcomes only, so lists are read from the files, for the impressions
that it has accepted.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from pipeline.core.errors import LogError
from pipeline.core.frame_contract import Contract
from pipeline.datasets.io.files import duckdb_path
from pipeline.experiment.log.database import database_errors
from pipeline.experiment.log.log_files import LIST_COLUMNS, LogFile, LogFormat, LogTable
from pipeline.experiment.log.reading.column_mapping import quote_identifier
from pipeline.experiment.log.reading.file_reader import as_log_errors

SHOWN_LISTS = Contract(
    name="shown_lists",
    row="one impression with its list",
    columns={
        "impression": pl.String,
        "user": pl.String,
        "group": pl.String,
        "ts": pl.Int64,
        "clicked": pl.Boolean,
        "ordered": pl.Boolean,
        "units": pl.Int64,
        "revenue": pl.Int64,
        **LIST_COLUMNS,
        "fallback": pl.String,
    },
)
"""Outcomes are those of the database; an outcome that the log does not have is null. ``clicked_item`` is null
without a click, or if the log does not name it; ``fallback`` says why the list is not the model's, and is null
if it is."""

_REQUIRED = ("session", "items")
_OPTIONAL = {
    **dict.fromkeys(("clicked_item", "model", "fallback"), "VARCHAR"),
    "position_propensities": "DOUBLE[]",
    "temperature": "DOUBLE",
    "candidates": "BIGINT",
}

_LISTS = """
INSERT INTO lists SELECT DISTINCT ON (impression) impression, $source AS source, session::VARCHAR[] AS session,
    items::VARCHAR[] AS items, {optional} FROM {source}
"""

_CLICKS = """
INSERT INTO clicked_items SELECT impression, arg_min(item::VARCHAR, ts), min(ts) FROM {source} GROUP BY impression
"""

_JOINED = """
SELECT {columns} FROM {view} JOIN (
    SELECT * EXCLUDE (clicked_item), coalesce(lists.clicked_item, c.item) AS clicked_item
    FROM lists LEFT JOIN (
        SELECT impression, arg_min(item, ts) AS item FROM clicked_items GROUP BY impression
    ) AS c USING (impression)
) USING (impression, source)
ORDER BY ts, impression
"""


class NoListsError(LogError):
    """The log does not say what was shown."""


def read_shown_lists(files: Sequence[LogFile], database: Path) -> pl.DataFrame:
    """The lists of the accepted impressions, in order of time; see :data:`SHOWN_LISTS`.

    Args:
        files: The files of the log.
        database: The experiment's database, up to date with them.

    Raises:
        NoListsError: if no file of impressions has lists.
        LogError: if a file or the database cannot be read.
    """
    return open_lists(files, database, "impressions", SHOWN_LISTS)


def open_lists(
    files: Sequence[LogFile], database: Path, view: str, contract: Contract
) -> pl.DataFrame:
    """The impressions of a view of the database, with what the files say of their lists, clicks and draws.

    Args:
        files: The files of the log.
        database: The experiment's database, up to date with them.
        view: A view with ``impression``, ``source`` and ``ts``.
        contract: The columns, in order of time.

    Raises:
        LogError: as :func:`read_shown_lists`.
    """
    with (
        TemporaryDirectory(prefix="paretoscope-") as scratch,
        database_errors(database),
        duckdb.connect(str(database), read_only=True) as connection,
    ):
        found = _create(connection, files, Path(scratch))
        if not found:
            msg = (
                "the log has no lists: no file of impressions has the columns session and items, which are "
                "lists of item ids (docs/experiment-log.md); log them, or serve with paretoscope serve"
            )
            raise NoListsError(msg)
        columns = ", ".join(map(quote_identifier, contract.columns))
        found = connection.sql(_JOINED.format(columns=columns, view=view)).pl()
        amounts = {"units", "revenue"} & contract.columns.keys()
        return contract.validate(found.cast(dict.fromkeys(amounts, pl.Int64)))


def _create(connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile], scratch: Path) -> bool:
    """Create the tables of lists and clicks; returns whether any file has lists."""
    optional = ", ".join(f"{name} {kind}" for name, kind in _OPTIONAL.items())
    connection.execute(
        "CREATE TEMP TABLE lists (impression VARCHAR, source VARCHAR, session VARCHAR[], items VARCHAR[], "
        f"{optional})"
    )
    connection.execute(
        "CREATE TEMP TABLE clicked_items (impression VARCHAR, item VARCHAR, ts BIGINT)"
    )
    found = False
    for file in files:
        if file.format is LogFormat.CSV or file.table not in {
            LogTable.IMPRESSIONS,
            LogTable.CLICKS,
        }:
            continue
        source = _source(file, scratch)
        with as_log_errors(file):
            described = connection.execute(f"DESCRIBE FROM {source}").fetchall()
            columns = {name for name, *_ in described}
            if file.table is LogTable.CLICKS and {"impression", "item", "ts"} <= columns:
                connection.execute(_CLICKS.format(source=source))
            elif file.table is LogTable.IMPRESSIONS and columns.issuperset(_REQUIRED):
                optional = ", ".join(
                    f"{name}::{kind} AS {name}" if name in columns else f"NULL::{kind} AS {name}"
                    for name, kind in _OPTIONAL.items()
                )
                lists = _LISTS.format(source=source, optional=optional)
                connection.execute(lists, {"source": file.source})
                found = True
    return found


def _source(file: LogFile, scratch: Path) -> str:
    """The table function that reads a file."""
    path = duckdb_path(file.path, scratch).replace("'", "''")
    if file.format is LogFormat.PARQUET:
        return f"read_parquet('{path}', hive_partitioning=false)"
    return f"read_json('{path}', sample_size=-1)"

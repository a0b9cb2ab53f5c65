"""The lists of an experiment's log: what was shown for which session, and what was clicked.

Lists are optional columns of the files of impressions (:data:`LIST_COLUMNS`), as the serving endpoint and the
simulator write them. The database has outcomes only, so lists are read from the files, for the impressions
that it has accepted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from pipeline.core.errors import LogError
from pipeline.core.frame_contract import Contract
from pipeline.experiment.log.database import open_database
from pipeline.experiment.log.log_files import LIST_COLUMNS, LogFile, LogFormat, LogTable
from pipeline.experiment.log.reading.column_mapping import quote_identifier
from pipeline.experiment.log.reading.file_reader import as_log_errors, load_raw

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

_REQUIRED = {"session": "VARCHAR[]", "items": "VARCHAR[]"}
_COLUMNS = _REQUIRED | {
    **dict.fromkeys(("clicked_item", "model", "fallback"), "VARCHAR"),
    "position_propensities": "DOUBLE[]",
    "temperature": "DOUBLE",
    "candidates": "BIGINT",
}

_CLICKED = ("impression", "item", "ts")

_LISTS = """
INSERT INTO lists SELECT DISTINCT ON (impression) impression, $source AS source, {columns} FROM raw
"""

_CLICKS = """
INSERT INTO clicked_items SELECT impression, arg_min(item::VARCHAR, ts::BIGINT), min(ts::BIGINT) FROM raw
GROUP BY impression
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


class UnpairableListsError(LogError):
    """The log has no lists, or none that a model can be held to: evaluations of its lists are skipped."""


def read_shown_lists(files: Sequence[LogFile], database: Path) -> pl.DataFrame:
    """The lists of the accepted impressions, in order of time; see :data:`SHOWN_LISTS`.

    Args:
        files: The files of the log.
        database: The experiment's database, up to date with them.

    Raises:
        UnpairableListsError: if no file of impressions has lists.
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
        open_database(database) as connection,
    ):
        found = _create(connection, files, Path(scratch))
        if not found:
            msg = (
                "the log has no lists: no file of impressions has the columns session and items, which are "
                "lists of item ids (docs/experiment-log.md); log them, or serve with paretoscope serve"
            )
            raise UnpairableListsError(msg)
        columns = ", ".join(map(quote_identifier, contract.columns))
        found = connection.sql(_JOINED.format(columns=columns, view=view)).pl()
        amounts = {"units", "revenue"} & contract.columns.keys()
        return contract.validate(found.cast(dict.fromkeys(amounts, pl.Int64)))


def _create(connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile], scratch: Path) -> bool:
    """Create the tables of lists and clicks; returns whether any file has lists."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    connection.execute(f"CREATE TEMP TABLE lists (impression VARCHAR, source VARCHAR, {columns})")
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
        wanted = _CLICKED if file.table is LogTable.CLICKS else ("impression", *_COLUMNS)
        _, columns, _ = load_raw(connection, file, {name: name for name in wanted}, scratch)
        with as_log_errors(file):
            if file.table is LogTable.CLICKS and columns.keys() >= set(_CLICKED):
                connection.execute(_CLICKS)
            elif file.table is LogTable.IMPRESSIONS and columns.keys() >= _REQUIRED.keys():
                selected = ", ".join(_typed(name, columns, file.format) for name in _COLUMNS)
                connection.execute(_LISTS.format(columns=selected), {"source": file.source})
                found = True
    return found


def _typed(name: str, columns: Mapping[str, str], file_format: LogFormat) -> str:
    """SQL of a column in its type; null if the file does not have it."""
    kind = _COLUMNS[name]
    if name not in columns:
        return f"NULL::{kind}"
    is_text = file_format is LogFormat.JSON and kind.endswith("[]")
    return f"{name}::JSON::{kind}" if is_text else f"{name}::{kind}"

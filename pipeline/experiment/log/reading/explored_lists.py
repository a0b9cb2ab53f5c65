"""The explored lists of an experiment's log: what was drawn, how likely it was, and what was clicked.

They are no impressions of the experiment, since a random list says nothing of its group's preference: ingestion
counts them as out of scope, and keeps them in the view ``explored``.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from pipeline.core.errors import LogError
from pipeline.core.frame_contract import Contract
from pipeline.experiment.log.log_coverage import LogCoverage
from pipeline.experiment.log.log_files import (
    DRAW_COLUMNS,
    EXPLORED_COLUMNS,
    LIST_COLUMNS,
    LogFile,
    LogTable,
)
from pipeline.experiment.log.reading.shown_lists import open_lists
from pipeline.experiment.log.validation.row_validation import LogRules

EXPLORED_LISTS = Contract(
    name="explored_lists",
    row="one explored impression with its list",
    columns={
        "impression": pl.String,
        "user": pl.String,
        "group": pl.String,
        "ts": pl.Int64,
        "clicked": pl.Boolean,
        **LIST_COLUMNS,
        "propensity": EXPLORED_COLUMNS["propensity"],
        **DRAW_COLUMNS,
    },
)
"""``propensity`` is the probability of the list, the product of the ``position_propensities``."""

_TOLERANCE = 1e-6
"""Of the logarithm of a list's propensity, per position."""

_VIEW = """
CREATE OR REPLACE VIEW explored AS
SELECT DISTINCT ON (impression) impression, user, "group", ts, {clicked} AS clicked, propensity, source
FROM explored_impressions AS e ANTI JOIN excluded_users USING (user) ORDER BY impression, source
"""

_CLICKED = """
EXISTS (FROM logged_clicks AS c WHERE c.impression = e.impression
    AND c.ts - e.ts BETWEEN -{tolerance} AND {window})
"""


def create_explored_view(
    connection: duckdb.DuckDBPyConnection, coverage: LogCoverage, rules: LogRules
) -> None:
    """Create the view ``explored``: explored impressions of users in the experiment, with their clicks.

    Raises:
        LogError: if the log has explored lists, and events that do not name their impression.
    """
    clicked = "clicked"
    if coverage.by_events:
        window, tolerance = rules.attribution_ms, rules.tolerance_ms
        clicked = _CLICKED.format(window=window, tolerance=tolerance)
        nameless = [
            table.value
            for table in (LogTable.CLICKS, LogTable.ORDERS)
            if "impression" not in coverage.columns.get(table, {"impression"})
        ]
        (n,) = connection.execute("SELECT count(*) FROM explored_impressions").fetchone() or (0,)
        if n and nameless:
            msg = (
                f"the log has {n:,} explored lists, but its {nameless[0]} do not name their impression: those of "
                "explored lists would count for other lists of their user. Add the column impression"
            )
            raise LogError(msg)
    connection.execute(_VIEW.format(clicked=clicked))


def read_explored_lists(files: Sequence[LogFile], database: Path) -> pl.DataFrame:
    """The explored lists of users in the experiment, in order of time; see :data:`EXPLORED_LISTS`.

    Args:
        files: The files of the log.
        database: The experiment's database, up to date with them.

    Raises:
        LogError: if there are none, one lacks its draw or contradicts itself, or a file or the database
            cannot be read.
    """
    found = open_lists(files, database, "explored", EXPLORED_LISTS)
    if found.is_empty():
        msg = (
            "the log has no explored lists: set serving.exploration (share and temperature) and serve with "
            "paretoscope serve"
        )
        raise LogError(msg)
    _check_draws(found)
    return found


def _check_draws(found: pl.DataFrame) -> None:
    """Raise with the first list whose draw is missing or contradicts itself."""
    each = pl.col("position_propensities")
    total, whole = each.list.eval(pl.element().log()).list.sum(), pl.col("propensity").log()
    faults = {
        "has no position_propensities, temperature or candidates": pl.any_horizontal(
            pl.col(list(DRAW_COLUMNS)).is_null()
        ),
        "has not one of the position_propensities per item": each.list.len()
        != pl.col("items").list.len(),
        "has position_propensities that are not above 0 and at most 1": ~each.list.eval(
            (pl.element() > 0) & (pl.element() <= 1)
        ).list.all(),
        "has a propensity that is not the product of its position_propensities, which are P(item | the items "
        "above it)": (total - whole).abs() > _TOLERANCE * pl.col("items").list.len(),
        "is clicked, and its clicked_item is not one of its items": pl.col("clicked")
        & ~pl.col("items").list.contains(pl.col("clicked_item")).fill_null(value=False),
    }
    for problem, condition in faults.items():
        wrong = found.filter(condition)
        if wrong.height:
            msg = (
                f"explored list {wrong['impression'][0]} {problem}, as {wrong.height:,} of {found.height:,} do; "
                "log what was drawn (docs/experiment-log.md)"
            )
            raise LogError(msg)

"""What the files of a log tell together: of clicks, orders and units, and by rows or by events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import OUTCOMES, LogTable

SILENT = "?"
"""Behind a column's name in ``ingested_files``: no row of the file could have a value for it."""

_CLICKED, _ORDERED, _UNITS = OUTCOMES
_ORDERS = LogTable.ORDERS.contract.name

_TOLD_BY_THE_ROWS = """
CREATE OR REPLACE VIEW impressions AS
SELECT impression, user, "group", ts, clicked, ordered, units, revenue, source
FROM shown ANTI JOIN excluded_users USING (user)
"""

_TOLD_BY_EVENTS = """
CREATE OR REPLACE VIEW impressions AS
SELECT impression, user, "group", ts, coalesce(outcomes.clicked, false) AS clicked,
    {ordered} AS ordered, {units} AS units, outcomes.revenue, source
FROM shown ANTI JOIN excluded_users USING (user) LEFT JOIN outcomes USING (impression)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCoverage:
    """What a log tells.

    Attributes:
        columns: Those of each table that has a row.
        by_events: Whether clicks and orders have files of their own.
        ordered: Whether it tells orders; else nothing is known of them, which is not none.
        units: Whether it tells how much was ordered.
    """

    columns: Mapping[LogTable, frozenset[str]]
    by_events: bool
    ordered: bool
    units: bool

    @property
    def view(self) -> str:
        """SQL of the view ``impressions``, in which null is what is not known."""
        if not self.by_events:
            return _TOLD_BY_THE_ROWS
        return _TOLD_BY_EVENTS.format(
            ordered="coalesce(outcomes.ordered, false)" if self.ordered else "NULL::BOOLEAN",
            units="coalesce(outcomes.units, 0)" if self.units else "NULL::INTEGER",
        )


def detect_log_coverage(connection: duckdb.DuckDBPyConnection, plan: Plan) -> LogCoverage:
    """What the files that were taken in tell.

    Raises:
        LogError: if files of a table differ in their columns, both ways of telling are mixed, or
            groups on a front are to be judged by orders that are not told.
    """
    found = connection.execute(
        'SELECT "table", source, columns, rows FROM ingested_files ORDER BY "table", source'
    ).fetchall()
    first = _agreed([(table, file, columns.split(", ")) for table, file, columns, n in found if n])
    _, shown = first.get(LogTable.IMPRESSIONS, ("", frozenset[str]()))
    by_events = _CLICKED not in shown
    _check_ways(first, by_events=by_events)
    orders = [columns.split(", ") for table, *_, columns, _ in found if table == _ORDERS]
    # who serves groups on a front writes no file of orders as long as there is none
    ours = isinstance(plan, TrafficPlan)
    ordered = bool(orders) or ours if by_events else _ORDERED in shown
    units = all(_UNITS in columns for columns in orders) if by_events else _UNITS in shown
    if ours and shown and not (ordered and units):
        msg = (
            f"the log tells nothing of {_UNITS if ordered else _ORDERED}, and the groups of a front "
            "are judged by clicks, orders and units; add the column, or give the groups as "
            "experiment.variants, of which clicks alone may be known"
        )
        raise LogError(msg)
    return LogCoverage(
        columns={table: columns for table, (_, columns) in first.items()},
        by_events=by_events,
        ordered=ordered,
        units=ordered and units,
    )


def _agreed(
    files: Iterable[tuple[str, str, Sequence[str]]],
) -> dict[LogTable, tuple[str, frozenset[str]]]:
    """The first file of each table, and the columns that all of them have."""
    tables = {table.contract.name: table for table in LogTable}
    first: dict[LogTable, tuple[str, frozenset[str]]] = {}
    examined = [
        (
            tables[table],
            file,
            frozenset(name for name in columns if not name.endswith(SILENT)),
            {name.removesuffix(SILENT) for name in columns if name.endswith(SILENT)},
        )
        for table, file, columns in files
    ]
    for table, file, columns, silent in sorted(examined, key=lambda one: len(one[3])):
        one, expected = first.setdefault(table, (file, columns))
        if differing := (columns ^ expected) - silent:
            msg = (
                f"{file} and {one} differ in {', '.join(sorted(differing))}; files of one table have "
                "the same columns. Add it to all of them, or take it out of all"
            )
            raise LogError(msg)
    return first


def _check_ways(first: Mapping[LogTable, tuple[str, frozenset[str]]], *, by_events: bool) -> None:
    """Raise if clicks and orders are told twice, or not at all."""
    one, _ = first.get(LogTable.IMPRESSIONS, ("", frozenset[str]()))
    events = [file for table, (file, _) in first.items() if table.is_of_events]
    if one and not by_events and events:
        msg = (
            f"{one} says what was clicked and ordered, and so does {min(events)}; take "
            f"{', '.join(OUTCOMES)} out of the impressions, or the files of events away"
        )
        raise LogError(msg)
    if one and by_events and LogTable.CLICKS not in first:
        msg = (
            f"{one} has no {', '.join(OUTCOMES)}, and no file named clicks… has a row; give one or "
            "the other (docs/experiment-log.md)"
        )
        raise LogError(msg)

"""What an ingested log contains: clicks, orders and units, in impressions or in files of events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import OUTCOMES, LogTable

INAPPLICABLE = "?"
"""Suffix in ``ingested_files.columns`` of a column that no row of the file could have a value for."""

_CLICKED, _ORDERED, _UNITS = OUTCOMES

_OUTCOMES_IN_ROWS = """
CREATE OR REPLACE VIEW impressions AS
SELECT impression, user, "group", ts, clicked, ordered, units, revenue, source
FROM logged_impressions ANTI JOIN excluded_users USING (user)
"""

_OUTCOMES_FROM_EVENTS = """
CREATE OR REPLACE VIEW impressions AS
SELECT impression, user, "group", ts, coalesce(outcomes.clicked, false) AS clicked,
    {ordered} AS ordered, {units} AS units, outcomes.revenue, source
FROM logged_impressions ANTI JOIN excluded_users USING (user) LEFT JOIN outcomes USING (impression)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCoverage:
    """What a log contains.

    Attributes:
        columns: Columns of each table that has rows.
        by_events: Whether clicks and orders are in files of their own.
        ordered: Whether the log has orders; otherwise they are unknown, not zero.
        units: Whether the log has units.
    """

    columns: Mapping[LogTable, frozenset[str]]
    by_events: bool
    ordered: bool
    units: bool

    @property
    def view(self) -> str:
        """SQL of the view ``impressions``; unknown outcomes are null."""
        if not self.by_events:
            return _OUTCOMES_IN_ROWS
        return _OUTCOMES_FROM_EVENTS.format(
            ordered="coalesce(outcomes.ordered, false)" if self.ordered else "NULL::BOOLEAN",
            units="coalesce(outcomes.units, 0)" if self.units else "NULL::INTEGER",
        )


def detect_log_coverage(connection: duckdb.DuckDBPyConnection, plan: Plan) -> LogCoverage:
    """Detect what the ingested files contain.

    Raises:
        LogError: if files of a table have different columns, outcomes are logged both in
            impressions and in files of events, or groups on a front of a shop with orders have no
            orders or units.
    """
    found = connection.execute(
        'SELECT "table", source, columns, rows FROM ingested_files ORDER BY "table", source'
    ).fetchall()
    tables = _common_columns(
        [(LogTable(table), file, columns.split(", ")) for table, file, columns, n in found if n]
    )
    _, impressions = tables.get(LogTable.IMPRESSIONS, ("", frozenset[str]()))
    by_events = _CLICKED not in impressions
    _check_outcome_source(tables, by_events=by_events)
    orders = [columns.split(", ") for table, _, columns, _ in found if table == LogTable.ORDERS]
    # a serving endpoint writes no file of orders before the first order
    has_orders = isinstance(plan, TrafficPlan) and plan.has_orders
    ordered = bool(orders) or has_orders if by_events else _ORDERED in impressions
    units = all(_UNITS in columns for columns in orders) if by_events else _UNITS in impressions
    if has_orders and impressions and not (ordered and units):
        msg = (
            f"the log has no {_UNITS if ordered else _ORDERED}, but groups on the Pareto front of a "
            "shop with orders are compared by clicks, orders and units; add the column, or define "
            "the groups by experiment.variants, which need clicks only"
        )
        raise LogError(msg)
    return LogCoverage(
        columns={table: columns for table, (_, columns) in tables.items()},
        by_events=by_events,
        ordered=ordered,
        units=ordered and units,
    )


def _common_columns(
    files: Iterable[tuple[LogTable, str, Sequence[str]]],
) -> dict[LogTable, tuple[str, frozenset[str]]]:
    """A file of each table, and the columns that all files of the table have."""
    found: dict[LogTable, tuple[str, frozenset[str]]] = {}
    parsed = [
        (
            table,
            file,
            frozenset(name for name in columns if not name.endswith(INAPPLICABLE)),
            {name.removesuffix(INAPPLICABLE) for name in columns if name.endswith(INAPPLICABLE)},
        )
        for table, file, columns in files
    ]
    for table, file, columns, inapplicable in sorted(parsed, key=lambda one: len(one[3])):
        other, expected = found.setdefault(table, (file, columns))
        if differing := (columns ^ expected) - inapplicable:
            msg = (
                f"{file} and {other} differ in the column {', '.join(sorted(differing))}; all files "
                "of a table need the same columns. Add it to all files, or remove it from all"
            )
            raise LogError(msg)
    return found


def _check_outcome_source(
    tables: Mapping[LogTable, tuple[str, frozenset[str]]], *, by_events: bool
) -> None:
    """Raise if outcomes are logged twice, or not at all."""
    file, _ = tables.get(LogTable.IMPRESSIONS, ("", frozenset[str]()))
    events = [name for table, (name, _) in tables.items() if table.is_of_events]
    if file and not by_events and events:
        msg = (
            f"outcomes are logged twice, in {file} and in {min(events)}; drop the columns "
            f"{', '.join(OUTCOMES)} of the impressions, or remove the files of events"
        )
        raise LogError(msg)
    if file and by_events and LogTable.CLICKS not in tables:
        msg = (
            f"{file} has no {', '.join(OUTCOMES)}, and no file named clicks… has rows; add either "
            "(docs/experiment-log.md)"
        )
        raise LogError(msg)

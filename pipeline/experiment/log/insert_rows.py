"""Insert the rows of one file into the experiment's database, or count them as rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.log_coverage import INAPPLICABLE
from pipeline.experiment.log.log_files import EVENT, FREE_COLUMNS, OUTCOMES, LogFile, LogTable
from pipeline.experiment.log.reading.file_reader import StagedFile, as_log_errors, stage_file
from pipeline.experiment.log.reasons import EXPLORED, RowKind, kind_of
from pipeline.experiment.log.validation.faulty_examples import describe_row, unit_hint
from pipeline.experiment.log.validation.row_validation import OUTSIDE_TIMES, LogRules, rejection_sql
from pipeline.study import LogTime

_REJECTED = """
CREATE OR REPLACE TEMP TABLE rejected_now AS
SELECT reason, {impression} AS impression, user, {group} AS "group" {validated} WHERE reason IS NOT NULL
"""

_OUTSIDE = """
INSERT INTO outside_impressions
SELECT hash(impression) FROM rejected_now WHERE list_contains($reasons, reason)
"""

_EXPLORED = """
INSERT INTO explored_impressions SELECT impression, user, "group", ts, clicked, propensity, $source {validated}
WHERE reason = '{reason}'
"""

_INSERT = {
    LogTable.IMPRESSIONS: 'INSERT INTO logged_impressions SELECT impression, user, "group", item, ts, '
    "clicked, ordered, units, revenue, $source",
    LogTable.CLICKS: f"INSERT INTO logged_clicks SELECT impression, user, item, ts, nullif({EVENT}, ''), $source",
    LogTable.ORDERS: "INSERT INTO logged_orders SELECT impression, user, item, ts, units, revenue, "
    f"nullif({EVENT}, ''), $source",
    LogTable.USERS: "INSERT INTO user_covariates SELECT user, segment, impressions, clicks, orders, "
    "units, revenue, $source",
}


@dataclass(frozen=True, slots=True)
class Staging:
    """Where files are staged: the database, the log's rules, and a temporary folder."""

    connection: duckdb.DuckDBPyConnection
    rules: LogRules
    scratch: Path


@dataclass(frozen=True, slots=True)
class _Validated:
    """The staged rows of a file with their ``reason``: SQL and its parameters."""

    file: LogFile
    staged: StagedFile
    sql: str
    parameters: Mapping[str, Any]


def insert_file(staging: Staging, file: LogFile, plan: Plan, *, entry: tuple[str, str]) -> int:
    """Insert the valid rows of one file, and count the others by reason; returns all its rows."""
    connection, table = staging.connection, file.table
    staged = stage_file(connection, file, staging.rules, staging.scratch)
    reason, parameters = rejection_sql(table, plan, staging.rules, columns=staged.columns)
    columns = [name for name in staged.columns if name not in FREE_COLUMNS]
    columns += [f"{name}{INAPPLICABLE}" for name in staged.inapplicable]
    sql = f"FROM (SELECT *, {reason} AS reason FROM staged_rows)"  # noqa: S608 - own SQL
    with as_log_errors(file):
        connection.execute("BEGIN")
        (inserted,) = connection.execute(
            f"{_INSERT[table]} {sql} WHERE reason IS NULL",
            parameters | {"source": file.source},
        ).fetchone() or (0,)
        if inserted < staged.rows:
            by_events = table is LogTable.IMPRESSIONS and OUTCOMES[0] not in staged.columns
            if "explored" in staged.columns:
                explored = _EXPLORED.format(validated=sql, reason=EXPLORED)
                connection.execute(explored, parameters | {"source": file.source})
            _reject(staging, _Validated(file, staged, sql, parameters))
            if by_events:
                connection.execute(
                    _OUTSIDE, {"reasons": _reasons_now(connection).get(RowKind.OUT_OF_SCOPE, [])}
                )
        connection.execute(
            "INSERT INTO ingested_files VALUES (?, ?, ?, ?, ?, ?)",
            [file.source, table.value, *entry, staged.rows, ", ".join(columns)],
        )
        connection.execute("COMMIT")
    return staged.rows


def _reject(staging: Staging, rows: _Validated) -> None:
    """Count the rejected rows of a file; keep what faulty ones say of their user and group."""
    connection, file, table = staging.connection, rows.file, rows.file.table
    impression = "NULL::VARCHAR" if table is LogTable.USERS else "impression"
    group = '"group"' if table is LogTable.IMPRESSIONS else "NULL::VARCHAR"
    query = _REJECTED.format(validated=rows.sql, impression=impression, group=group)
    connection.execute(query, dict(rows.parameters))
    for kind, these in _reasons_now(connection).items():
        connection.execute(
            'INSERT INTO rejected_rows SELECT ?, ?, reason, "group", count(*) FROM rejected_now '
            "WHERE list_contains(?, reason) GROUP BY ALL",
            [file.source, kind, these],
        )
        if kind is RowKind.INVALID and table is not LogTable.USERS:
            connection.execute(
                'INSERT INTO faulty_rows SELECT ?, reason, impression, user, "group", count(*) '
                "FROM rejected_now WHERE list_contains(?, reason) GROUP BY ALL",
                [table, these],
            )
        if kind is RowKind.INVALID:
            for reason in these:
                _keep_example(staging, rows, reason)


def _keep_example(staging: Staging, rows: _Validated, reason: str) -> None:
    """Keep a row of the file that is rejected for a reason, as a sentence."""
    ts = "NULL" if rows.file.table is LogTable.USERS else "ts"
    row = staging.connection.execute(
        f"SELECT written, wrong_field, {ts} {rows.sql} WHERE reason = $reason LIMIT 1",
        dict(rows.parameters) | {"reason": reason},
    ).fetchone()
    if row:
        written, wrong_field, ts = row
        example = describe_row(rows.file, written, wrong_field, rows.staged.expected)
        if reason == OUTSIDE_TIMES:
            columns = staging.rules.columns
            example += unit_hint(ts, columns.time if columns else LogTime.MILLISECONDS)
        staging.connection.execute(
            "INSERT INTO faulty_examples VALUES (?, ?, ?)", [rows.file.source, reason, example]
        )


def _reasons_now(connection: duckdb.DuckDBPyConnection) -> dict[RowKind, list[str]]:
    """The reasons of the file's rejected rows, by what they mean."""
    found: dict[RowKind, list[str]] = {}
    for (reason,) in connection.execute("SELECT DISTINCT reason FROM rejected_now").fetchall():
        found.setdefault(kind_of(reason), []).append(reason)
    return found

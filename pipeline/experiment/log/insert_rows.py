"""Insert the rows of one file into the experiment's database, or count them as rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.file_reader import as_log_errors, stage_file
from pipeline.experiment.log.log_coverage import INAPPLICABLE
from pipeline.experiment.log.log_files import OUTCOMES, LogFile, LogTable
from pipeline.experiment.log.reasons import RowKind, kind_of
from pipeline.experiment.log.row_validation import LogRules, rejection_sql

_REJECTED = """
CREATE OR REPLACE TEMP TABLE rejected_now AS
SELECT reason, {impression} AS impression, user, {group} AS "group" {validated} WHERE reason IS NOT NULL
"""

_OUTSIDE = """
INSERT INTO outside_impressions
SELECT hash(impression) FROM rejected_now WHERE list_contains($reasons, reason)
"""

_INSERT = {
    LogTable.IMPRESSIONS: 'INSERT INTO logged_impressions SELECT impression, user, "group", item, ts, '
    "clicked, ordered, units, revenue, $source",
    LogTable.CLICKS: "INSERT INTO logged_clicks SELECT impression, user, item, ts, $source",
    LogTable.ORDERS: "INSERT INTO logged_orders SELECT impression, user, item, ts, units, revenue, "
    "$source",
    LogTable.USERS: "INSERT INTO user_covariates SELECT user, segment, impressions, clicks, orders, "
    "units, revenue, $source",
}


@dataclass(frozen=True, slots=True)
class Staging:
    """Where files are staged: the database, the log's rules, and a temporary folder."""

    connection: duckdb.DuckDBPyConnection
    rules: LogRules
    scratch: Path


def insert_file(staging: Staging, file: LogFile, plan: Plan, *, entry: tuple[str, str]) -> None:
    """Insert the valid rows of one file, and count the others by reason."""
    connection, table = staging.connection, file.table
    staged = stage_file(connection, file, staging.rules, staging.scratch)
    reason, parameters = rejection_sql(table, plan, staging.rules, columns=staged.columns)
    columns = [*staged.columns, *(f"{name}{INAPPLICABLE}" for name in staged.inapplicable)]
    validated = f"FROM (SELECT *, {reason} AS reason FROM staged_rows)"  # noqa: S608 - own SQL
    with as_log_errors(file):
        connection.execute("BEGIN")
        (inserted,) = connection.execute(
            f"{_INSERT[table]} {validated} WHERE reason IS NULL",
            parameters | {"source": file.source},
        ).fetchone() or (0,)
        if inserted < staged.rows:
            by_events = table is LogTable.IMPRESSIONS and OUTCOMES[0] not in staged.columns
            _reject(connection, file, validated, parameters)
            if by_events:
                connection.execute(
                    _OUTSIDE, {"reasons": _reasons_now(connection).get(RowKind.OUT_OF_SCOPE, [])}
                )
        connection.execute(
            "INSERT INTO ingested_files VALUES (?, ?, ?, ?, ?, ?)",
            [file.source, table.value, *entry, staged.rows, ", ".join(columns)],
        )
        connection.execute("COMMIT")


def _reject(
    connection: duckdb.DuckDBPyConnection,
    file: LogFile,
    validated: str,
    parameters: Mapping[str, Any],
) -> None:
    """Count the rejected rows of a file; keep what faulty ones say of their user and group."""
    table = file.table
    impression = "NULL::VARCHAR" if table is LogTable.USERS else "impression"
    group = '"group"' if table is LogTable.IMPRESSIONS else "NULL::VARCHAR"
    query = _REJECTED.format(validated=validated, impression=impression, group=group)
    connection.execute(query, dict(parameters))
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


def _reasons_now(connection: duckdb.DuckDBPyConnection) -> dict[RowKind, list[str]]:
    """The reasons of the file's rejected rows, by what they mean."""
    found: dict[RowKind, list[str]] = {}
    for (reason,) in connection.execute("SELECT DISTINCT reason FROM rejected_now").fetchall():
        found.setdefault(kind_of(reason), []).append(reason)
    return found

"""What became of every row of the log, by table and group.

A row that is not used may be lost in one group only, which biases its KPIs. Rows without a group of
their own have that of the impression they name, or else of their user; others are of an unknown group.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl

from pipeline.core.errors import LogError
from pipeline.core.labels import counted
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.database import open_database
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.reasons import LOST, OUTSIDE_GROUPS, UNKNOWN_GROUP, RowKind

_UNKNOWN_GROUP_SHARE = 0.05
_UNKNOWN_GROUP_ROWS = 10

FATES = """
CREATE OR REPLACE TABLE row_fates ("table" VARCHAR, "group" VARCHAR, kind VARCHAR, reason VARCHAR,
    rows BIGINT);
CREATE OR REPLACE TABLE loss_sums ("table" VARCHAR, "group" VARCHAR, users BIGINT, rows BIGINT,
    lost BIGINT, sum_nn HUGEINT, sum_nr HUGEINT, sum_rr HUGEINT);
"""

_LOST_ROWS = """
CREATE OR REPLACE TEMP TABLE lost_rows AS
SELECT "table", if(starts_with(reason, 'duplicate'), 'duplicate', 'invalid') AS kind, reason, impression, user, "group", rows FROM faulty_rows;
"""

_LOST_EVENTS = """
INSERT INTO lost_rows
SELECT '{table}', kind, reason, impression, coalesce(owner, user), "group", count(*)
FROM attributed_{table} JOIN event_kinds USING (reason) GROUP BY ALL
"""

_BY_IMPRESSION = """
UPDATE lost_rows SET user = coalesce(lost_rows.user, named.user), "group" = named."group"
FROM (SELECT impression, user, "group" FROM logged_impressions WHERE impression IN (
    SELECT impression FROM lost_rows WHERE "group" IS NULL)) AS named
WHERE lost_rows."group" IS NULL AND lost_rows.impression = named.impression
"""

_BY_FAULTY_IMPRESSION = """
UPDATE lost_rows SET user = named.user
FROM (SELECT impression, min(user) AS user FROM lost_rows WHERE "table" = 'impressions'
    GROUP BY impression) AS named
WHERE lost_rows."group" IS NULL AND lost_rows.user IS NULL AND lost_rows.impression = named.impression
"""

_BY_USER = """
UPDATE lost_rows SET "group" = assigned."group"
FROM ({assigned}) AS assigned
WHERE lost_rows."group" IS NULL AND lost_rows.user = assigned.user
"""

_USERS_WITH_ONE_GROUP = """
SELECT user, min("group") AS "group" FROM user_groups GROUP BY user HAVING count(*) = 1
"""

_OF_EXCLUDED_USERS = """
UPDATE lost_rows SET kind = '{scope}' WHERE user IN (SELECT user FROM excluded_users)
"""

_FATES = """
INSERT INTO row_fates
SELECT 'impressions', "group", '{used}', NULL, sum(impressions)
FROM user_groups ANTI JOIN excluded_users USING (user) GROUP BY "group"
UNION ALL
SELECT "table", CASE WHEN list_contains($groups, "group") THEN "group" END, kind, reason, sum(rows)
FROM lost_rows GROUP BY ALL
UNION ALL
SELECT f."table", CASE WHEN list_contains($groups, "group") THEN "group" END, kind, reason, sum(r.rows)
FROM rejected_rows AS r JOIN ingested_files AS f USING (source)
WHERE kind NOT IN ('invalid', 'duplicate') OR f."table" = 'users' GROUP BY ALL
UNION ALL
SELECT f."table", "group", kind, reason, sum(r.rows)
FROM excluded_rows AS r JOIN ingested_files AS f USING (source)
WHERE f."table" = 'impressions' AND kind <> 'duplicate' OR f."table" = 'users' GROUP BY ALL
UNION ALL
SELECT 'users', NULL, '{used}', NULL, n FROM (SELECT count(*) AS n FROM user_covariates) WHERE n > 0
"""

_USED_EVENTS = """
INSERT INTO row_fates SELECT '{table}', "group", '{used}', NULL, count(*)
FROM attributed_{table} WHERE reason IS NULL GROUP BY "group"
"""

_SUMS = """
INSERT INTO loss_sums
WITH lost AS (
    SELECT "group", user, sum(rows)::HUGEINT AS r FROM lost_rows
    WHERE "table" = '{table}' AND list_contains($kinds, kind) AND list_contains($groups, "group")
    GROUP BY ALL),
both_rows AS (
    SELECT "group", coalesce(n, 0) + coalesce(r, 0) AS n, coalesce(r, 0) AS r
    FROM ({used}) FULL JOIN lost USING ("group", user))
SELECT '{table}', "group", count(*), sum(n), sum(r), sum(n * n), sum(n * r), sum(r * r)
FROM both_rows GROUP BY "group"
"""

_OUTCOMES = """
CREATE OR REPLACE TABLE group_outcomes AS
SELECT "group", count(*) AS impressions, count(*) FILTER (clicked) AS clicks,
    count(*) FILTER (ordered) AS orders
FROM impressions GROUP BY ALL ORDER BY ALL
"""

_READ_FATES = """
SELECT "table", "group", kind, reason, sum(rows)::BIGINT AS rows FROM row_fates GROUP BY ALL ORDER BY ALL
"""

_READ_SUMS = """
SELECT "table", "group", users, rows, lost, sum_nn::DOUBLE AS sum_nn, sum_nr::DOUBLE AS sum_nr,
    sum_rr::DOUBLE AS sum_rr
FROM loss_sums ORDER BY ALL
"""

_USED_ROWS = {
    LogTable.IMPRESSIONS: 'SELECT "group", user, impressions::HUGEINT AS n FROM user_groups '
    "ANTI JOIN excluded_users USING (user)",
    **{
        table: f'SELECT "group", owner AS user, count(*)::HUGEINT AS n FROM attributed_{table} '  # noqa: S608
        "WHERE reason IS NULL GROUP BY ALL"
        for table in (LogTable.CLICKS, LogTable.ORDERS)
    },
}


@dataclass(frozen=True, slots=True)
class RowFates:
    """What became of the rows of a log.

    Attributes:
        fates: table, group (null if unknown), kind, reason (null if used), rows.
        sums: For each table and group: users with a row, used and lost rows, lost ones, and the sums
            over users of n², n·r and r², where a user has r lost of n rows.
        outcomes: For each group: usable impressions, and those with a click and an order.
    """

    fates: pl.DataFrame
    sums: pl.DataFrame
    outcomes: pl.DataFrame

    def funnel(self) -> pl.DataFrame:
        """Rows read, usable and attributed, by table and group (null if unknown)."""
        rows, kind = pl.col("rows"), pl.col("kind")
        out = [RowKind.INVALID.value, RowKind.DUPLICATE.value, RowKind.OUT_OF_SCOPE.value]
        return (
            self.fates.group_by("table", "group")
            .agg(
                read=rows.sum(),
                usable=rows.filter(~kind.is_in(out)).sum(),
                attributed=rows.filter(kind == RowKind.USED.value).sum(),
            )
            .sort("table", "group", nulls_last=True)
        )


def read_row_fates(database: Path) -> RowFates:
    """Read what became of the rows of an ingested log; raises LogError if the database has no such table."""
    with open_database(database) as connection:
        return RowFates(
            fates=connection.sql(_READ_FATES).pl(),
            sums=connection.sql(_READ_SUMS).pl(),
            outcomes=connection.sql("FROM group_outcomes").pl(),
        )


def write_row_fates(connection: duckdb.DuckDBPyConnection, plan: Plan, *, by_events: bool) -> None:
    """Write the tables ``row_fates``, ``loss_sums`` and ``group_outcomes``, after the view ``impressions``."""
    connection.execute(_OUTCOMES)
    events = (LogTable.CLICKS, LogTable.ORDERS) if by_events else ()
    connection.execute(FATES + _LOST_ROWS)
    for table in events:
        connection.execute(_LOST_EVENTS.format(table=table))
    _resolve_groups(connection, plan)
    connection.execute(_OF_EXCLUDED_USERS.format(scope=RowKind.OUT_OF_SCOPE))
    groups = {"groups": [group.name for group in plan.groups]}
    connection.execute(_FATES.format(used=RowKind.USED), groups)
    for table in events:
        connection.execute(_USED_EVENTS.format(table=table, used=RowKind.USED))
    lost = connection.execute('SELECT DISTINCT "table" FROM lost_rows').fetchall()
    for (table,) in lost:
        if table in (LogTable.IMPRESSIONS, *events):
            query = _SUMS.format(table=table, used=_USED_ROWS[LogTable(table)])
            connection.execute(query, groups | {"kinds": [kind.value for kind in LOST]})


def _resolve_groups(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Give lost rows without a group of the plan that of the impression they name, or of their user."""
    connection.execute(
        'UPDATE lost_rows SET "group" = NULL WHERE NOT list_contains($groups, "group")',
        {"groups": [group.name for group in plan.groups]},
    )
    (open_rows,) = connection.execute(
        'SELECT count(*) FROM lost_rows WHERE "group" IS NULL'
    ).fetchone() or (0,)
    if not open_rows:
        return
    connection.execute(_BY_IMPRESSION)
    connection.execute(_BY_FAULTY_IMPRESSION)
    if not isinstance(plan, TrafficPlan):  # external variants were assigned by another system
        connection.execute(_BY_USER.format(assigned=_USERS_WITH_ONE_GROUP))
        return
    users = connection.sql(
        'SELECT DISTINCT user FROM lost_rows WHERE "group" IS NULL AND user IS NOT NULL'
    ).pl()["user"]
    if len(users):
        assigned = replace(plan, enabled=True).assign_many(users).with_columns(user=users)
        connection.register("assigned_users", assigned.select("user", "group").to_arrow())
        connection.execute(_BY_USER.format(assigned="FROM assigned_users"))
        connection.unregister("assigned_users")


def check_unknown_groups(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Raise if many impressions are of groups that the plan does not have.

    Raises:
        LogError: with the groups, and the key that leaves them out.
    """
    unknown = connection.execute(
        'SELECT "group", sum(rows)::BIGINT FROM rejected_rows WHERE reason = ? GROUP BY ALL '
        "ORDER BY 2 DESC, 1",
        [UNKNOWN_GROUP],
    ).fetchall()
    (rows,) = connection.execute(
        "SELECT coalesce((SELECT sum(rows) FROM ingested_files WHERE \"table\" = 'impressions'), 0) - "
        "coalesce((SELECT sum(rows) FROM rejected_rows WHERE reason = ?), 0)",
        [OUTSIDE_GROUPS],
    ).fetchone() or (0,)
    count = sum(n for _, n in unknown)
    if count < _UNKNOWN_GROUP_ROWS or count <= _UNKNOWN_GROUP_SHARE * rows:
        return
    known = ", ".join(group.name for group in plan.groups)
    names = [name for name, _ in unknown]
    listed = ", ".join(f"{name!r} ({counted(n, 'impression')})" for name, n in unknown[:5])
    where = "traffic plan" if isinstance(plan, TrafficPlan) else "table experiment.variants"
    msg = (
        f"the log has groups that the {where} does not have: {listed}; it has {known}. Add them to it, "
        f"correct their names, or leave them out with experiment.ignored_groups: {names[:5]}"
    )
    raise LogError(msg)

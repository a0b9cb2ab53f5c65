"""Duplicate impressions, users who are not part of the experiment, and the random batches of users.

All are computed again from the whole log, so the order in which the files arrive does not matter.
"""

from dataclasses import replace

import duckdb
import polars as pl

from pipeline.experiment.design.assignment import batches_of
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.reasons import (
    TWO_GROUPS,
    WRONG_GROUP,
    RowKind,
    bot_reason,
    kind_of,
)
from pipeline.experiment.log.validation.row_validation import LogRules

_RESTORE = """
INSERT INTO logged_impressions FROM duplicate_impressions;
DELETE FROM duplicate_impressions;
DELETE FROM faulty_rows WHERE reason = 'duplicate impression';
"""

_DUPLICATES = """
CREATE OR REPLACE TEMP TABLE duplicates AS
SELECT "row", source, user, "group" FROM (
    SELECT rowid AS "row", source, user, "group", row_number() OVER (
        PARTITION BY impression ORDER BY source, ts, user, clicked, ordered, units, revenue) AS n
    FROM logged_impressions WHERE hash(impression) IN (SELECT "hash" FROM repeated_hashes))
WHERE n > 1
"""

_SET_APART = """
INSERT INTO duplicate_impressions FROM logged_impressions WHERE rowid IN (SELECT "row" FROM duplicates);
DELETE FROM logged_impressions WHERE rowid IN (SELECT "row" FROM duplicates);
"""

_REJECT_DUPLICATES = """
INSERT INTO excluded_rows
SELECT source, $kind, 'duplicate impression', "group", count(*) FROM duplicates GROUP BY ALL
"""

_FAULTY_DUPLICATES = """
INSERT INTO faulty_rows
SELECT 'impressions', 'duplicate impression', NULL, user, "group", count(*) FROM duplicates
GROUP BY ALL
"""

_USER_GROUPS = """
CREATE OR REPLACE TEMP TABLE user_groups AS
SELECT user, "group", count(*) AS impressions FROM logged_impressions GROUP BY user, "group"
"""

_BOTS = """
SELECT DISTINCT user FROM logged_impressions
WHERE user IN (SELECT user FROM user_groups WHERE impressions > $most)
GROUP BY user, ts // 3600000 HAVING count(*) > $most
"""


_IN_TWO_GROUPS = """
INSERT INTO faulty_examples
SELECT '', $reason, format('user {} is in {}', user, string_agg("group", ' and ' ORDER BY "group"))
FROM user_groups GROUP BY user HAVING count(*) > 1 ORDER BY sum(impressions) DESC, user LIMIT 1
"""
"""The one with the most impressions; it may stand for everybody whose id is not known."""


def draw_batches(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the batch of every user of :func:`exclude_users`, which comes first, to ``user_batches``."""
    found = connection.sql("SELECT DISTINCT user FROM user_groups")
    users = pl.DataFrame(found.to_arrow_table())
    connection.register("batches", users.with_columns(batch=batches_of(users["user"])).to_arrow())
    connection.execute(
        "DELETE FROM user_batches; INSERT INTO user_batches SELECT user, batch FROM batches"
    )
    connection.unregister("batches")


def drop_duplicates(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the first row of every impression, by file and then by time.

    Repeated ids are detected by their 64-bit hashes, which takes a fraction of the memory and time.
    Only rows with a repeated hash are compared by id.
    """
    connection.execute(_RESTORE)
    found = connection.sql('SELECT hash(impression) AS "hash" FROM logged_impressions')
    hashes = pl.DataFrame(found.to_arrow_table())["hash"].sort()
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    if repeated.is_empty():
        return
    connection.register("repeated_hashes", repeated.to_frame().to_arrow())
    connection.execute(_DUPLICATES)
    connection.unregister("repeated_hashes")
    connection.execute(_SET_APART)
    connection.execute(_REJECT_DUPLICATES, {"kind": RowKind.DUPLICATE})
    connection.execute(_FAULTY_DUPLICATES)


def exclude_users(connection: duckdb.DuckDBPyConnection, plan: Plan, rules: LogRules) -> None:
    """Exclude bots, users in several groups, and users outside the experiment.

    Impressions from before the kill switch was used stay in the experiment.
    """
    connection.execute(_USER_GROUPS)
    users = pl.DataFrame(connection.sql('SELECT user, "group" FROM user_groups').to_arrow_table())
    in_two = users.filter(pl.col("user").is_duplicated())
    found = [in_two.select("user", reason=pl.lit(TWO_GROUPS))]
    if isinstance(plan, TrafficPlan):  # external variants were assigned by another system
        assigned = replace(plan, enabled=True).assign_many(users["user"])
        users = users.with_columns(assigned.rename({"group": "assigned"}))
        outside = users.filter(pl.col("reason").is_not_null()).select("user", "reason")
        differing = users.filter(pl.col("group").ne_missing(pl.col("assigned")))
        reason = pl.lit(WRONG_GROUP)
        found = [outside, *found, differing.select("user", reason=reason)]
    most = rules.impressions_per_hour
    busy = connection.execute(_BOTS, {"most": most}).fetchall()
    bots = pl.DataFrame({"user": [user for (user,) in busy]}, schema={"user": pl.String})
    found.append(bots.select("user", reason=pl.lit(bot_reason(most))))
    excluded = pl.concat(found).unique("user", keep="first", maintain_order=True)
    connection.execute("DELETE FROM faulty_examples WHERE reason = $reason", {"reason": TWO_GROUPS})
    if in_two.height:
        connection.execute(_IN_TWO_GROUPS, {"reason": TWO_GROUPS})
    connection.execute("DELETE FROM excluded_users")
    if excluded.height:
        kinds = {reason: kind_of(reason).value for reason in excluded["reason"].unique()}
        excluded = excluded.with_columns(kind=pl.col("reason").replace_strict(kinds))
        connection.register("excluded", excluded.to_arrow())
        connection.execute("INSERT INTO excluded_users SELECT user, reason, kind FROM excluded")
        connection.unregister("excluded")
        connection.execute(
            'INSERT INTO excluded_rows SELECT source, kind, reason, "group", count(*) '
            "FROM logged_impressions JOIN excluded_users USING (user) GROUP BY ALL"
        )

"""What makes a usable row of the log none of the experiment's, seen beside all the others.

Each of these looks at the whole log, so it does not matter in which order its files came.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import duckdb
import polars as pl

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.last_touch import attribute_clicks, attribute_orders
from pipeline.experiment.log.log_files import (
    CLICK_WITHOUT_IMPRESSION,
    FURTHER_CLICK,
    ORDER_WITHOUT_CLICK,
    LogTable,
)
from pipeline.experiment.log.row_validation import LogRules

_REPEATED = """
CREATE OR REPLACE TEMP TABLE repeated AS
SELECT "row", source FROM (
    SELECT rowid AS "row", source, row_number() OVER (
        PARTITION BY impression ORDER BY source, ts, user, clicked, ordered, units, revenue) AS place
    FROM shown WHERE hash(impression) IN (SELECT "hash" FROM suspects))
WHERE place > 1
"""

_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS
SELECT user, "group", count(*) AS impressions FROM shown GROUP BY user, "group"
"""

_BUSY = """
SELECT DISTINCT user FROM shown
WHERE user IN (SELECT user FROM seen WHERE impressions > $most)
GROUP BY user, ts // 3600000 HAVING count(*) > $most
"""

_JUDGE_CLICKS = """
CREATE OR REPLACE TEMP TABLE judged_clicks AS
WITH examined AS (
    SELECT clicks.*, CASE
        WHEN shown.impression IS NULL THEN $lost
        WHEN clicks.ts < shown.ts THEN 'click before its impression'
        WHEN clicks.ts - shown.ts > $window THEN 'click after the attribution window'
        END AS fault
    FROM clicks LEFT JOIN shown USING (impression))
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (PARTITION BY impression, fault IS NULL ORDER BY ts, source) > 1
        THEN $further
    END AS reason
FROM examined
"""

_JUDGE_ORDERS = """
CREATE OR REPLACE TEMP TABLE judged_orders AS
WITH examined AS (
    SELECT orders.*, CASE
        WHEN clicked.impression IS NULL THEN $lost
        WHEN orders.ts < clicked.ts THEN 'order before its click'
        WHEN orders.ts - clicked.ts > $window THEN 'order after the attribution window'
        END AS fault
    FROM orders LEFT JOIN (SELECT impression, ts FROM judged_clicks WHERE reason IS NULL) AS clicked
        USING (impression))
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (
        PARTITION BY impression, ts, units, revenue, fault IS NULL ORDER BY source) > 1
        THEN 'duplicate order'
    END AS reason
FROM examined
"""

_OUTCOMES = """
INSERT INTO outcomes
SELECT c.impression, true, o.impression IS NOT NULL, o.units, o.revenue
FROM (SELECT impression FROM judged_clicks WHERE reason IS NULL) AS c LEFT JOIN (
    SELECT impression, sum(units)::INTEGER AS units, sum(revenue)::BIGINT AS revenue
    FROM judged_orders WHERE reason IS NULL GROUP BY impression) AS o USING (impression)
"""


def drop_duplicates(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the first row of every impression: by the order of files, then of time.

    Repeated ids are looked for among their 64-bit hashes, which takes a fraction of the memory and
    time; only the rows whose hash occurs twice are compared by their ids.
    """
    found = connection.sql('SELECT hash(impression) AS "hash" FROM shown').to_arrow_table()
    hashes = pl.DataFrame(found)["hash"].sort()
    twice = hashes.filter(hashes == hashes.shift()).unique()
    if twice.is_empty():
        return
    connection.register("suspects", twice.to_frame().to_arrow())
    connection.execute(_REPEATED)
    connection.unregister("suspects")
    connection.execute('DELETE FROM shown WHERE rowid IN (SELECT "row" FROM repeated)')
    connection.execute(
        "INSERT INTO unusable SELECT source, 'duplicate impression', count(*) FROM repeated "
        "GROUP BY source"
    )


def exclude_users(connection: duckdb.DuckDBPyConnection, plan: Plan, rules: LogRules) -> None:
    """Find the users that are none of the experiment's: outside of it, in two groups, or bots.

    The kill switch ends an experiment, but what was shown before it stays the experiment's.
    """
    connection.execute(_SEEN)
    seen = pl.DataFrame(connection.sql('SELECT user, "group" FROM seen').to_arrow_table())
    in_two = seen.filter(pl.col("user").is_duplicated())
    found = [in_two.select("user", reason=pl.lit("user in two groups"))]
    if isinstance(plan, TrafficPlan):  # variants were assigned by whoever served them
        placed = replace(plan, enabled=True).assign_many(seen["user"])
        seen = seen.with_columns(placed.rename({"group": "assigned"}))
        outside = seen.filter(pl.col("reason").is_not_null()).select("user", "reason")
        elsewhere = seen.filter(pl.col("group").ne_missing(pl.col("assigned")))
        reason = pl.lit("group differs from the assignment")
        found = [outside, *found, elsewhere.select("user", reason=reason)]
    most = rules.impressions_per_hour
    busy = connection.execute(_BUSY, {"most": most}).fetchall()
    bots = pl.DataFrame({"user": [user for (user,) in busy]}, schema={"user": pl.String})
    found.append(bots.select("user", reason=pl.lit(f"more than {most} impressions per hour")))
    aside = pl.concat(found).unique("user", keep="first", maintain_order=True)
    connection.execute("DELETE FROM excluded_users")
    if aside.height:
        connection.register("aside", aside.to_arrow())
        connection.execute("INSERT INTO excluded_users SELECT user, reason FROM aside")
        connection.unregister("aside")
        connection.execute(
            "INSERT INTO set_aside SELECT source, reason, count(*) FROM shown "
            "JOIN excluded_users USING (user) GROUP BY source, reason"
        )


def attribute_outcomes(
    connection: duckdb.DuckDBPyConnection, rules: LogRules, told: Mapping[LogTable, Collection[str]]
) -> None:
    """Say what came of each impression, by the clicks and orders that have files of their own.

    Args:
        connection: Where.
        rules: What the experiment asks of its log.
        told: The columns that each table has.
    """
    connection.execute("DELETE FROM outcomes")
    window = rules.attribution_ms
    named = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS)
    shown, clicks, orders = (told.get(table, ()) for table in named)
    if "impression" in clicks or not clicks:
        reasons = {"lost": CLICK_WITHOUT_IMPRESSION, "further": FURTHER_CLICK}
        connection.execute(_JUDGE_CLICKS, {"window": window, **reasons})
    else:
        by_item = "item" in shown and "item" in clicks
        attribute_clicks(connection, window=window, by_item=by_item)
    if "impression" in orders or not orders:
        connection.execute(_JUDGE_ORDERS, {"window": window, "lost": ORDER_WITHOUT_CLICK})
    else:
        item_of = "c" if "item" in clicks else "shown" if "item" in shown else None
        item_of = item_of if "item" in orders else None
        attribute_orders(connection, window=window, item_of=item_of)
    connection.execute(_OUTCOMES)
    connection.execute(
        "INSERT INTO set_aside SELECT source, reason, count(*) FROM ("
        "SELECT source, reason FROM judged_clicks UNION ALL SELECT source, reason FROM judged_orders"
        ") WHERE reason IS NOT NULL GROUP BY source, reason"
    )

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
    CLICK_WITHOUT_EXPOSURE,
    FURTHER_CLICK,
    ORDER_WITHOUT_CLICK,
    LogTable,
)
from pipeline.experiment.log.row_validation import LogRules

_REPEATED = """
CREATE OR REPLACE TEMP TABLE repeated AS
SELECT "row", source FROM (
    SELECT rowid AS "row", source, row_number() OVER (
        PARTITION BY exposure ORDER BY source, ts, unit, clicked, ordered, units, revenue) AS place
    FROM shown WHERE hash(exposure) IN (SELECT "hash" FROM suspects))
WHERE place > 1
"""

_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS
SELECT unit, "group", count(*) AS exposures FROM shown GROUP BY unit, "group"
"""

_BUSY = """
SELECT DISTINCT unit FROM shown
WHERE unit IN (SELECT unit FROM seen WHERE exposures > $most)
GROUP BY unit, ts // 3600000 HAVING count(*) > $most
"""

_JUDGE_CLICKS = """
CREATE OR REPLACE TEMP TABLE judged_clicks AS
WITH examined AS (
    SELECT clicks.*, CASE
        WHEN shown.exposure IS NULL THEN $lost
        WHEN clicks.ts < shown.ts THEN 'a click before its exposure'
        WHEN clicks.ts - shown.ts > $window THEN 'a click after the attribution window'
        END AS fault
    FROM clicks LEFT JOIN shown USING (exposure))
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (PARTITION BY exposure, fault IS NULL ORDER BY ts, source) > 1
        THEN $further
    END AS reason
FROM examined
"""

_JUDGE_ORDERS = """
CREATE OR REPLACE TEMP TABLE judged_orders AS
WITH examined AS (
    SELECT orders.*, CASE
        WHEN clicked.exposure IS NULL THEN $lost
        WHEN orders.ts < clicked.ts THEN 'an order before its click'
        WHEN orders.ts - clicked.ts > $window THEN 'an order after the attribution window'
        END AS fault
    FROM orders LEFT JOIN (SELECT exposure, ts FROM judged_clicks WHERE reason IS NULL) AS clicked
        USING (exposure))
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (
        PARTITION BY exposure, ts, units, revenue, fault IS NULL ORDER BY source) > 1
        THEN 'duplicate order'
    END AS reason
FROM examined
"""

_OUTCOMES = """
INSERT INTO outcomes
SELECT c.exposure, true, o.exposure IS NOT NULL, o.units, o.revenue
FROM (SELECT exposure FROM judged_clicks WHERE reason IS NULL) AS c LEFT JOIN (
    SELECT exposure, sum(units)::INTEGER AS units, sum(revenue)::BIGINT AS revenue
    FROM judged_orders WHERE reason IS NULL GROUP BY exposure) AS o USING (exposure)
"""


def drop_duplicates(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the first row of every exposure: by the order of files, then of time.

    Repeated ids are looked for among their 64-bit hashes, which takes a fraction of the memory and
    time; only the rows whose hash occurs twice are compared by their ids.
    """
    found = connection.sql('SELECT hash(exposure) AS "hash" FROM shown').to_arrow_table()
    hashes = pl.DataFrame(found)["hash"].sort()
    twice = hashes.filter(hashes == hashes.shift()).unique()
    if twice.is_empty():
        return
    connection.register("suspects", twice.to_frame().to_arrow())
    connection.execute(_REPEATED)
    connection.unregister("suspects")
    connection.execute('DELETE FROM shown WHERE rowid IN (SELECT "row" FROM repeated)')
    connection.execute(
        "INSERT INTO unusable SELECT source, 'duplicate exposure', count(*) FROM repeated "
        "GROUP BY source"
    )


def exclude_users(connection: duckdb.DuckDBPyConnection, plan: Plan, rules: LogRules) -> None:
    """Find the units that are none of the experiment's: outside of it, in two groups, or bots.

    The kill switch ends an experiment, but what was shown before it stays the experiment's.
    """
    connection.execute(_SEEN)
    seen = pl.DataFrame(connection.sql('SELECT unit, "group" FROM seen').to_arrow_table())
    in_two = seen.filter(pl.col("unit").is_duplicated())
    found = [in_two.select("unit", reason=pl.lit("unit seen in two groups"))]
    if isinstance(plan, TrafficPlan):  # variants were assigned by whoever served them
        placed = replace(plan, enabled=True).assign_many(seen["unit"])
        seen = seen.with_columns(placed.rename({"group": "assigned"}))
        outside = seen.filter(pl.col("reason").is_not_null()).select("unit", "reason")
        elsewhere = seen.filter(pl.col("group").ne_missing(pl.col("assigned")))
        reason = pl.lit("another group than the unit is assigned to")
        found = [outside, *found, elsewhere.select("unit", reason=reason)]
    most = rules.exposures_per_hour
    busy = connection.execute(_BUSY, {"most": most}).fetchall()
    bots = pl.DataFrame({"unit": [unit for (unit,) in busy]}, schema={"unit": pl.String})
    found.append(bots.select("unit", reason=pl.lit(f"more than {most} exposures in an hour")))
    aside = pl.concat(found).unique("unit", keep="first", maintain_order=True)
    connection.execute("DELETE FROM units_set_aside")
    if aside.height:
        connection.register("aside", aside.to_arrow())
        connection.execute("INSERT INTO units_set_aside SELECT unit, reason FROM aside")
        connection.unregister("aside")
        connection.execute(
            "INSERT INTO set_aside SELECT source, reason, count(*) FROM shown "
            "JOIN units_set_aside USING (unit) GROUP BY source, reason"
        )


def attribute_outcomes(
    connection: duckdb.DuckDBPyConnection, rules: LogRules, told: Mapping[LogTable, Collection[str]]
) -> None:
    """Say what came of each exposure, by the clicks and orders that have files of their own.

    Args:
        connection: Where.
        rules: What the experiment asks of its log.
        told: The columns that each table has.
    """
    connection.execute("DELETE FROM outcomes")
    window = rules.attribution_ms
    named = (LogTable.EXPOSURES, LogTable.CLICKS, LogTable.ORDERS)
    shown, clicks, orders = (told.get(table, ()) for table in named)
    if "exposure" in clicks or not clicks:
        reasons = {"lost": CLICK_WITHOUT_EXPOSURE, "further": FURTHER_CLICK}
        connection.execute(_JUDGE_CLICKS, {"window": window, **reasons})
    else:
        by_item = "item" in shown and "item" in clicks
        attribute_clicks(connection, window=window, by_item=by_item)
    if "exposure" in orders or not orders:
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

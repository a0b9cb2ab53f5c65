"""Which exposure an event came of that does not say so itself: last touch.

Many shops' clicks and orders know the user (and perhaps the item), not the list. Then

- a click belongs to the last exposure of its unit at or before it, of the clicked item where both
  exposures and clicks tell items;
- an order belongs to the last click of its unit at or before it, of the bought item where orders and
  either clicks or exposures tell items; it counts for the exposure of that click;

and both only within the attribution window. Of exposures at the same moment, the one with the
greatest id is the last. An event that nothing of its unit precedes is no sign of a loss: most orders of
a shop have nothing to do with its recommendations.
"""

import duckdb

from pipeline.experiment.log.log_files import FURTHER_CLICK

_LAST_SHOWN = """
CREATE OR REPLACE TEMP TABLE touches AS
SELECT unit, {item} AS item, ts, max(exposure) AS exposure
FROM shown WHERE unit IN (SELECT unit FROM clicks) GROUP BY ALL
"""

_LAST_CLICKED = """
CREATE OR REPLACE TEMP TABLE touches AS
SELECT shown.unit, {item} AS item, c.ts, max(exposure) AS exposure
FROM judged_clicks AS c JOIN shown USING (exposure)
WHERE (c.reason IS NULL OR c.reason = $further) AND shown.unit IN (SELECT unit FROM orders)
GROUP BY ALL
"""

_JUDGE_CLICKS = """
CREATE OR REPLACE TEMP TABLE judged_clicks AS
WITH examined AS (
    SELECT clicks.* EXCLUDE (exposure), touches.exposure, CASE
        WHEN touches.exposure IS NULL THEN 'a click that no exposure of its unit precedes'
        WHEN clicks.ts - touches.ts > $window THEN 'a click after the attribution window'
        END AS fault
    FROM clicks ASOF LEFT JOIN touches
        ON clicks.unit = touches.unit AND {item} = touches.item
        AND clicks.ts >= touches.ts)
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
    SELECT orders.* EXCLUDE (exposure), touches.exposure, CASE
        WHEN touches.exposure IS NULL THEN 'an order that no click of its unit precedes'
        WHEN orders.ts - touches.ts > $window THEN 'an order after the attribution window'
        END AS fault
    FROM orders ASOF LEFT JOIN touches
        ON orders.unit = touches.unit AND {item} = touches.item
        AND orders.ts >= touches.ts)
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (
        PARTITION BY unit, item, ts, units, revenue, fault IS NULL ORDER BY source) > 1
        THEN 'duplicate order'
    END AS reason
FROM examined
"""


def attribute_clicks(connection: duckdb.DuckDBPyConnection, *, window: int, by_item: bool) -> None:
    """Make ``judged_clicks`` of clicks that name their unit.

    Args:
        connection: Where.
        window: How long after its exposure a click counts, in milliseconds.
        by_item: Whether exposures and clicks tell items.
    """
    item = "item" if by_item else "''"
    connection.execute(_LAST_SHOWN.format(item=item))
    item = "clicks.item" if by_item else "''"
    connection.execute(
        _JUDGE_CLICKS.format(item=item), {"window": window, "further": FURTHER_CLICK}
    )


def attribute_orders(
    connection: duckdb.DuckDBPyConnection, *, window: int, item_of: str | None
) -> None:
    """Make ``judged_orders`` of orders that name their unit, from ``judged_clicks``.

    Args:
        connection: Where.
        window: How long after its click an order counts, in milliseconds.
        item_of: The table that tells a click's item: ``c`` (the click's own) or ``shown``; None to
            look at units alone.
    """
    item = f"{item_of}.item" if item_of else "''"
    connection.execute(_LAST_CLICKED.format(item=item), {"further": FURTHER_CLICK})
    item = "orders.item" if item_of else "''"
    connection.execute(_JUDGE_ORDERS.format(item=item), {"window": window})

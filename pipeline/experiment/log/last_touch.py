"""Which impression an event came of that does not say so itself: last touch.

Many shops' clicks and orders know the user (and perhaps the item), not the list. Then

- a click belongs to the last impression of its user at or before it, of the clicked item where both
  impressions and clicks tell items;
- an order belongs to the last click of its user at or before it, of the bought item where orders and
  either clicks or impressions tell items; it counts for the impression of that click;

and both only within the attribution window. Of impressions at the same moment, the one with the
greatest id is the last. An event that nothing of its user precedes is no sign of a loss: most orders of
a shop have nothing to do with its recommendations.
"""

import duckdb

from pipeline.experiment.log.log_files import FURTHER_CLICK

_LAST_SHOWN = """
CREATE OR REPLACE TEMP TABLE touches AS
SELECT user, {item} AS item, ts, max(impression) AS impression
FROM shown WHERE user IN (SELECT user FROM clicks) GROUP BY ALL
"""

_LAST_CLICKED = """
CREATE OR REPLACE TEMP TABLE touches AS
SELECT shown.user, {item} AS item, c.ts, max(impression) AS impression
FROM judged_clicks AS c JOIN shown USING (impression)
WHERE (c.reason IS NULL OR c.reason = $further) AND shown.user IN (SELECT user FROM orders)
GROUP BY ALL
"""

_JUDGE_CLICKS = """
CREATE OR REPLACE TEMP TABLE judged_clicks AS
WITH examined AS (
    SELECT clicks.* EXCLUDE (impression), touches.impression, CASE
        WHEN touches.impression IS NULL THEN 'click without an earlier impression of the user'
        WHEN clicks.ts - touches.ts > $window THEN 'click after the attribution window'
        END AS fault
    FROM clicks ASOF LEFT JOIN touches
        ON clicks.user = touches.user AND {item} = touches.item
        AND clicks.ts >= touches.ts)
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
    SELECT orders.* EXCLUDE (impression), touches.impression, CASE
        WHEN touches.impression IS NULL THEN 'order without an earlier click of the user'
        WHEN orders.ts - touches.ts > $window THEN 'order after the attribution window'
        END AS fault
    FROM orders ASOF LEFT JOIN touches
        ON orders.user = touches.user AND {item} = touches.item
        AND orders.ts >= touches.ts)
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (
        PARTITION BY user, item, ts, units, revenue, fault IS NULL ORDER BY source) > 1
        THEN 'duplicate order'
    END AS reason
FROM examined
"""


def attribute_clicks(connection: duckdb.DuckDBPyConnection, *, window: int, by_item: bool) -> None:
    """Make ``judged_clicks`` of clicks that name their user.

    Args:
        connection: Where.
        window: How long after its impression a click counts, in milliseconds.
        by_item: Whether impressions and clicks tell items.
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
    """Make ``judged_orders`` of orders that name their user, from ``judged_clicks``.

    Args:
        connection: Where.
        window: How long after its click an order counts, in milliseconds.
        item_of: The table that tells a click's item: ``c`` (the click's own) or ``shown``; None to
            look at users alone.
    """
    item = f"{item_of}.item" if item_of else "''"
    connection.execute(_LAST_CLICKED.format(item=item), {"further": FURTHER_CLICK})
    item = "orders.item" if item_of else "''"
    connection.execute(_JUDGE_ORDERS.format(item=item), {"window": window})

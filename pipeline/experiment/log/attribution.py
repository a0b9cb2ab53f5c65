"""Attribution of clicks to impressions and of orders to clicks, for logs with files of events.

Events that name their impression are matched by its id. Events that name their user (and perhaps the
item) instead are attributed by last touch:

- a click to the last impression of its user at or before it, with the same item if both impressions and
  clicks have items;
- an order to the last click of its user at or before it, with the same item if orders and either clicks
  or impressions have items; the order counts for the click's impression.

Both apply within the attribution window only. Of impressions at the same time, the one with the
greatest id is the last. An order without an earlier click does not indicate data loss: most orders
of a shop do not come from its recommendations.
"""

from collections.abc import Collection, Mapping

import duckdb

from pipeline.experiment.log.log_files import (
    CLICK_WITHOUT_IMPRESSION,
    ORDER_WITHOUT_CLICK,
    REPEATED_CLICK,
    LogTable,
)
from pipeline.experiment.log.row_validation import LogRules

_ATTRIBUTE = """
CREATE OR REPLACE TEMP TABLE attributed_{event}s AS
SELECT * EXCLUDE (rejection), CASE
    WHEN rejection IS NOT NULL THEN rejection
    WHEN row_number() OVER (PARTITION BY {key}, rejection IS NULL ORDER BY {order}) > 1
        THEN '{duplicate}'
    END AS reason
FROM ({matched})
"""

_MATCH_IMPRESSION = """
SELECT event.*, CASE
    WHEN touch.impression IS NULL THEN '{unmatched}'
    WHEN event.ts < touch.ts THEN '{event} before its {touch}'
    WHEN event.ts - touch.ts > $window THEN '{event} after the attribution window'
    END AS rejection
FROM logged_{event}s AS event LEFT JOIN ({touches}) AS touch USING (impression)
"""

_MATCH_LAST_TOUCH = """
SELECT event.* EXCLUDE (impression), touch.impression, CASE
    WHEN touch.impression IS NULL THEN '{event} without an earlier {touch} of the user'
    WHEN event.ts - touch.ts > $window THEN '{event} after the attribution window'
    END AS rejection
FROM logged_{event}s AS event ASOF LEFT JOIN ({touches}) AS touch
    ON event.user = touch.user AND {item} = touch.item AND event.ts >= touch.ts
"""

_LAST_IMPRESSIONS = """
SELECT user, {item} AS item, ts, max(impression) AS impression
FROM logged_impressions WHERE user IN (SELECT user FROM logged_clicks) GROUP BY ALL
"""

_LAST_CLICKS = """
SELECT impressions.user, {item} AS item, clicks.ts, max(impression) AS impression
FROM attributed_clicks AS clicks JOIN logged_impressions AS impressions USING (impression)
WHERE (clicks.reason IS NULL OR clicks.reason = '{repeated}')
    AND impressions.user IN (SELECT user FROM logged_orders)
GROUP BY ALL
"""

_OUTCOMES = """
INSERT INTO outcomes
SELECT c.impression, true, o.impression IS NOT NULL, o.units, o.revenue
FROM (SELECT impression FROM attributed_clicks WHERE reason IS NULL) AS c LEFT JOIN (
    SELECT impression, sum(units)::INTEGER AS units, sum(revenue)::BIGINT AS revenue
    FROM attributed_orders WHERE reason IS NULL GROUP BY impression) AS o USING (impression)
"""

_REJECT = """
INSERT INTO excluded_rows SELECT source, reason, count(*) FROM (
    SELECT source, reason FROM attributed_clicks
    UNION ALL SELECT source, reason FROM attributed_orders)
WHERE reason IS NOT NULL GROUP BY source, reason
"""


def attribute_outcomes(
    connection: duckdb.DuckDBPyConnection,
    rules: LogRules,
    columns: Mapping[LogTable, Collection[str]],
) -> None:
    """Compute the outcome of each impression from clicks and orders; ``columns`` are the log's."""
    connection.execute("DELETE FROM outcomes")
    window = {"window": rules.attribution_ms}
    connection.execute(_attribute_clicks(columns), window)
    connection.execute(_attribute_orders(columns), window)
    connection.execute(_OUTCOMES)
    connection.execute(_REJECT)


def _attribute_clicks(columns: Mapping[LogTable, Collection[str]]) -> str:
    """SQL that creates ``attributed_clicks``."""
    impressions, clicks = (columns.get(t, ()) for t in (LogTable.IMPRESSIONS, LogTable.CLICKS))
    names = {"event": "click", "touch": "impression"}
    if "impression" in clicks or not clicks:
        touches = "SELECT impression, ts FROM logged_impressions"
        matched = _MATCH_IMPRESSION.format(
            unmatched=CLICK_WITHOUT_IMPRESSION, touches=touches, **names
        )
    else:
        by_item = "item" in impressions and "item" in clicks
        touches = _LAST_IMPRESSIONS.format(item="item" if by_item else "''")
        item = "event.item" if by_item else "''"
        matched = _MATCH_LAST_TOUCH.format(item=item, touches=touches, **names)
    return _ATTRIBUTE.format(
        matched=matched, key="impression", order="ts, source", duplicate=REPEATED_CLICK, **names
    )


def _attribute_orders(columns: Mapping[LogTable, Collection[str]]) -> str:
    """SQL that creates ``attributed_orders`` from ``attributed_clicks``."""
    tables = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS)
    impressions, clicks, orders = (columns.get(table, ()) for table in tables)
    names = {"event": "order", "touch": "click"}
    if "impression" in orders or not orders:
        key = "impression"
        touches = "SELECT impression, ts FROM attributed_clicks WHERE reason IS NULL"
        matched = _MATCH_IMPRESSION.format(unmatched=ORDER_WITHOUT_CLICK, touches=touches, **names)
    else:
        key = "user, item"
        owner = "clicks" if "item" in clicks else "impressions" if "item" in impressions else None
        by_item = owner is not None and "item" in orders
        item = f"{owner}.item" if by_item else "''"
        touches = _LAST_CLICKS.format(item=item, repeated=REPEATED_CLICK)
        item = "event.item" if by_item else "''"
        matched = _MATCH_LAST_TOUCH.format(item=item, touches=touches, **names)
    return _ATTRIBUTE.format(
        matched=matched,
        key=f"{key}, ts, units, revenue",
        order="source",
        duplicate="duplicate order",
        **names,
    )

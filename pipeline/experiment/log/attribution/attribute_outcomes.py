"""Attribution of clicks to impressions and of orders to clicks, for logs with files of events.

Events that name their impression are matched by its id. Events that name their user (and perhaps the
item) instead are attributed by last touch:

- a click to the last impression of its user at or before it, with the same item if both impressions and
  clicks have items;
- an order to the last click of its user at or before it, with the same item if orders and either clicks
  or impressions have items; the order counts for the click's impression.

Both apply within the attribution window only; ``experiment.clock_tolerance_seconds`` allows an event to be
that much earlier than its touch. Of impressions at the same time, the one with the greatest id is the
last. An order without an earlier click does not indicate data loss: most orders of a shop do not come
from its recommendations. But an event of an item whose only touch comes seconds later indicates clocks
that differ.

An event that was sent again has the id of another one, of the same impression (or user and item), and counts
once: the earliest that counts is kept, whatever the order of the files.

Refunds are order rows with negative units or revenue. They are added to the orders of their impression,
if they are in its attribution window too and no larger than the orders.
"""

from collections.abc import Collection, Mapping

import duckdb

from pipeline.experiment.log import reasons
from pipeline.experiment.log.attribution.miswritten_ids import find_miswritten_ids
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.validation.row_validation import REFUND, LogRules

_USER_AND_ITEM = "user, item"
"""What an event belongs to that does not name its impression."""

_SOON_MS = 300_000
"""An event without a touch that has one of the same user and item within this time was logged early."""

_ATTRIBUTE = """
CREATE OR REPLACE TEMP TABLE attributed_{event}s AS
SELECT * EXCLUDE (rejection), CASE
    WHEN event_id IS NOT NULL AND row_number() OVER sent > 1 THEN '{resent}'
    WHEN rejection IS NOT NULL THEN rejection
    {duplicates} END AS reason
FROM ({matched})
WINDOW touched AS (PARTITION BY {key}, rejection IS NULL ORDER BY {order}),
    sent AS (PARTITION BY {owner}, event_id ORDER BY rejection IS NOT NULL, {sent})
"""

_DUPLICATE_CLICKS = """
    WHEN lag(ts) OVER touched = ts AND lag(item) OVER touched IS NOT DISTINCT FROM item
        THEN 'duplicate click'
    WHEN row_number() OVER touched > 1 THEN '{repeated}'
"""

_DUPLICATE_ORDERS = "WHEN row_number() OVER touched > 1 THEN 'duplicate order'"

_MATCH_IMPRESSION = """
SELECT event.*, touch.owner, touch."group", CASE
    WHEN (touch.impression IS NULL OR touch.excluded)
        AND hash(event.impression) IN (SELECT "hash" FROM outside_impressions) THEN '{outside}'
    WHEN touch.impression IS NULL THEN '{unmatched}'
    WHEN touch.excluded THEN '{excluded}'
    WHEN touch.late THEN '{late}'
    WHEN event.ts < touch.ts - $tolerance THEN '{early}'
    WHEN event.ts - touch.ts > $window THEN '{late}'
    END AS rejection
FROM logged_{event}s AS event LEFT JOIN ({touches}) AS touch USING (impression)
"""

_IMPRESSIONS = """
SELECT impression, ts, user AS owner, "group", user IN (SELECT user FROM excluded_users) AS excluded,
    false AS late
FROM logged_impressions
"""

_CLICKED = """
SELECT impression, coalesce(min(ts) FILTER (reason IS NULL), min(ts)) AS ts,
    any_value(owner) AS owner, any_value("group") AS "group",
    bool_and(coalesce(reason IN ('{excluded}', '{outside}'), false)) AS excluded,
    bool_and(coalesce(reason = '{late}', false)) AS late
FROM attributed_clicks WHERE reason IS NULL OR reason IN ('{excluded}', '{outside}', '{late}')
GROUP BY impression
"""

_MATCH_LAST_TOUCH = """
SELECT event.* EXCLUDE (impression), touch.impression, event.user AS owner, touch."group", CASE
    WHEN event.user IN (SELECT user FROM excluded_users) THEN '{excluded}'
    {soon}
    WHEN touch.impression IS NULL THEN '{unmatched}'
    WHEN event.ts - touch.ts > $window THEN '{late}'
    END AS rejection
FROM logged_{event}s AS event ASOF LEFT JOIN ({touches}) AS touch
    ON event.user = touch.user AND {item} = touch.item AND event.ts + $tolerance >= touch.ts
{next}
"""

_NEXT = """
ASOF LEFT JOIN ({touches}) AS next
    ON event.user = next.user AND {item} = next.item AND event.ts < next.ts
"""

_LAST_IMPRESSIONS = """
SELECT user, {item} AS item, ts, max(impression) AS impression, any_value("group") AS "group"
FROM logged_impressions WHERE user IN (SELECT user FROM logged_clicks) GROUP BY ALL
"""

_LAST_CLICKS = """
SELECT impressions.user, {item} AS item, clicks.ts, max(impression) AS impression,
    any_value(impressions."group") AS "group"
FROM attributed_clicks AS clicks JOIN logged_impressions AS impressions USING (impression)
WHERE (clicks.reason IS NULL OR clicks.reason IN ('{repeated}', 'duplicate click'))
    AND impressions.user IN (SELECT user FROM logged_orders)
GROUP BY ALL
"""

_REFUNDS_ALONE = """
UPDATE attributed_orders SET reason = CASE WHEN impression IN (
        SELECT impression FROM attributed_orders WHERE reason IS NULL AND {refund} IS NOT TRUE
    ) THEN '{too_large}' ELSE '{alone}' END
WHERE reason IS NULL AND {refund} AND impression IN (
    SELECT impression FROM attributed_orders WHERE reason IS NULL GROUP BY impression
    HAVING coalesce(sum(units), 0) < 0 OR coalesce(sum(revenue), 0) < 0)
"""
"""Refunds beyond what was ordered belong to orders that the log does not have."""

_LATE_REFUNDS = (
    "UPDATE attributed_orders SET reason = '{refund_late}' WHERE reason = '{late}' AND {refund}"
)

_OUTCOMES = """
INSERT INTO outcomes
SELECT c.impression, true, coalesce(o.kept, false), o.units, o.revenue
FROM (SELECT impression FROM attributed_clicks WHERE reason IS NULL) AS c LEFT JOIN (
    SELECT impression, sum(units)::BIGINT AS units, sum(revenue)::BIGINT AS revenue,
        NOT (bool_or(coalesce({refund}, false))
            AND coalesce(sum(units), 0) = 0 AND coalesce(sum(revenue), 0) <= 0) AS kept
    FROM attributed_orders WHERE reason IS NULL GROUP BY impression) AS o
    ON c.impression = o.impression AND o.kept
"""
"""An order that was refunded in full is none."""

_REJECT = """
INSERT INTO excluded_rows SELECT source, kind, reason, "group", count(*) FROM (
    SELECT source, reason, "group" FROM attributed_clicks
    UNION ALL SELECT source, reason, "group" FROM attributed_orders)
JOIN event_kinds USING (reason) GROUP BY ALL
"""


def attribute_outcomes(
    connection: duckdb.DuckDBPyConnection,
    rules: LogRules,
    columns: Mapping[LogTable, Collection[str]],
) -> None:
    """Compute the outcome of each impression from clicks and orders; ``columns`` are the log's."""
    connection.execute("DELETE FROM outcomes")
    parameters = {"window": rules.attribution_ms, "tolerance": rules.tolerance_ms}
    connection.execute(_attribute_clicks(columns), parameters)
    find_miswritten_ids(connection, LogTable.CLICKS, columns)
    connection.execute(_attribute_orders(columns), parameters)
    find_miswritten_ids(connection, LogTable.ORDERS, columns)
    connection.execute(
        _REFUNDS_ALONE.format(
            alone=reasons.REFUND_ALONE, too_large=reasons.REFUND_TOO_LARGE, refund=REFUND
        )
    )
    late = {"late": reasons.late("order"), "refund_late": reasons.REFUND_LATE}
    connection.execute(_LATE_REFUNDS.format(refund=REFUND, **late))
    connection.execute(_OUTCOMES.format(refund=REFUND))
    found = connection.execute(
        "SELECT reason FROM attributed_clicks UNION SELECT reason FROM attributed_orders"
    ).fetchall()
    kinds = [(reason, reasons.kind_of(reason).value) for (reason,) in found if reason]
    connection.execute("CREATE OR REPLACE TEMP TABLE event_kinds (reason VARCHAR, kind VARCHAR)")
    if kinds:
        connection.executemany("INSERT INTO event_kinds VALUES (?, ?)", kinds)
    connection.execute(_REJECT)


def _attribute_clicks(columns: Mapping[LogTable, Collection[str]]) -> str:
    """SQL that creates ``attributed_clicks``."""
    impressions, clicks = (columns.get(t, ()) for t in (LogTable.IMPRESSIONS, LogTable.CLICKS))
    if "impression" in clicks or not clicks:
        owner = "impression"
        matched = _match("click", "impression", _IMPRESSIONS)
    else:
        owner = _USER_AND_ITEM
        by_item = "item" in impressions and "item" in clicks
        touches = _LAST_IMPRESSIONS.format(item="item" if by_item else "''")
        matched = _match_last("click", "impression", touches, by_item=by_item)
    duplicates = _DUPLICATE_CLICKS.format(repeated=reasons.REPEATED_CLICK)
    order = "ts, item, source"
    return _ATTRIBUTE.format(
        event="click",
        matched=matched,
        key="impression",
        order=order,
        owner=owner,
        sent=order,
        resent=reasons.resent("click"),
        duplicates=duplicates,
    )


def _attribute_orders(columns: Mapping[LogTable, Collection[str]]) -> str:
    """SQL that creates ``attributed_orders`` from ``attributed_clicks``."""
    tables = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS)
    impressions, clicks, orders = (columns.get(table, ()) for table in tables)
    if "impression" in orders or not orders:
        owner = "impression"
        touches = _CLICKED.format(
            excluded=reasons.of_excluded_user("click"),
            outside=reasons.of_other_impression("click"),
            late=reasons.late("click"),
        )
        matched = _match("order", "click", touches)
    else:
        owner = _USER_AND_ITEM
        touched = "clicks" if "item" in clicks else "impressions" if "item" in impressions else None
        by_item = touched is not None and "item" in orders
        item = f"{touched}.item" if by_item else "''"
        touches = _LAST_CLICKS.format(item=item, repeated=reasons.REPEATED_CLICK)
        matched = _match_last("order", "click", touches, by_item=by_item)
    return _ATTRIBUTE.format(
        event="order",
        matched=matched,
        key=f"{owner}, ts, units, revenue, event_id",
        order="source",
        owner=owner,
        sent="ts, units, revenue, source",
        resent=reasons.resent("order"),
        duplicates=_DUPLICATE_ORDERS,
    )


def _match(event: str, touch: str, touches: str) -> str:
    """SQL that joins events to the impressions or clicks that they name."""
    return _MATCH_IMPRESSION.format(
        event=event,
        touches=touches,
        outside=reasons.of_other_impression(event),
        unmatched=reasons.without(event, touch),
        excluded=reasons.of_excluded_user(event),
        early=reasons.before(event, touch),
        late=reasons.late(event),
    )


def _match_last(event: str, touch: str, touches: str, *, by_item: bool) -> str:
    """SQL that joins events to the last touch of their user (and item)."""
    item = "event.item" if by_item else "''"
    early = (
        f"WHEN touch.impression IS NULL AND next.ts - event.ts <= {_SOON_MS} "
        f"THEN '{reasons.before(event, touch)}'"
    )
    return _MATCH_LAST_TOUCH.format(
        event=event,
        touches=touches,
        item=item,
        soon=early if by_item else "",
        next=_NEXT.format(touches=touches, item=item) if by_item else "",
        excluded=reasons.of_excluded_user(event),
        unmatched=reasons.without_earlier(event, touch),
        late=reasons.late(event),
    )

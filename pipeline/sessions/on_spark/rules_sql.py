# ruff: noqa: S608 - only numbers and names of this module are formatted into queries
"""The rules of :mod:`pipeline.sessions.prepare` as Spark SQL; a query reads views and is one step of it.

``row`` is a row's number in
``events.parquet``, in which sessions are consecutive and sorted by time, ties by the order of the raw files:
it is the order of events, and the smallest one of a session is the order of sessions.
"""

from pipeline.core.contracts import EventType
from pipeline.sessions.rules import Rules
from pipeline.sessions.temporal_split import CROSSING, SPLITS, Cuts
from pipeline.study import BoundaryPolicy

_SESSION = "session, start, first_ts, last_ts, in_test_file"
"""Columns of a click that are its session's."""


def label_clicks(rules: Rules, cuts: Cuts | None, test_files: list[int]) -> str:
    """One row per click: its labels, and first and last time of its session's events. Reads ``events``.

    Sessions are trimmed, if the rules say so and the boundaries are known. What follows a click is found in
    one pass over the events of its item in its session, from the last one to the first.
    """
    within = "true"
    if rules.boundary_sessions is BoundaryPolicy.TRIM and cuts is not None:
        within = f"{_split_at('ts', cuts)} = {_split_at('first_ts', cuts)}"
    window = rules.order_window_ms
    ordered = "next_order IS NOT NULL" if window is None else f"next_order - ts <= {window}"
    in_test_file = f"file IN ({', '.join(map(str, test_files))})" if test_files else "false"
    return f"""
        WITH placed AS (
            SELECT *, min(row) OVER s AS start, min(ts) OVER s AS first_ts,
                min_by({in_test_file}, row) OVER s AS in_test_file
            FROM events WINDOW s AS (PARTITION BY session)
        ), followed AS (
            SELECT *, max(ts) OVER (PARTITION BY session) AS last_ts,
                min(CASE WHEN event_type = '{EventType.ORDER}' THEN ts END) OVER later AS next_order,
                count_if(event_type = '{EventType.CART}') OVER later AS carts
            FROM placed WHERE {within}
            WINDOW later AS (
                PARTITION BY session, item ORDER BY row DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
        )
        SELECT {_SESSION}, row, item, ts, coalesce({ordered}, false) AS ordered, carts > 0 AS carted
        FROM followed WHERE event_type = '{EventType.CLICK}'
    """


def supported_items(rules: Rules, cuts: Cuts | None, *, filtered: bool) -> str:
    """The items with enough clicks. Reads what :func:`item_counts` reads."""
    counts = item_counts(rules, cuts, filtered=filtered, in_train=rules.support_in_train)
    return f"SELECT item FROM ({counts}) WHERE clicks >= {rules.min_support}"


def item_counts(rules: Rules, cuts: Cuts | None, *, filtered: bool, in_train: bool) -> str:
    """Clicks of each item in sessions that are long enough. Reads ``clicks``.

    Args:
        rules: The rules.
        cuts: The split boundaries.
        filtered: Whether only the items of the view ``kept`` count.
        in_train: Whether to count only sessions whose items form the catalogue.
    """
    parts = [0, 1] if rules.validation_in_catalogue else [0]
    part = _part(rules, cuts, *_span(rules, filtered=filtered))
    asked = f"{part} IN ({', '.join(map(str, parts))})" if in_train else "true"
    return f"""
        SELECT item, count(*) AS clicks FROM (
            SELECT *, count(*) OVER s AS length, min(ts) OVER s AS first_click, max(ts) OVER s AS last_click
            FROM clicks {"LEFT SEMI JOIN kept USING (item)" if filtered else ""}
            WINDOW s AS (PARTITION BY session)
        )
        WHERE length >= {rules.min_length} AND {asked} GROUP BY item
    """


def long_sessions(rules: Rules, *, filtered: bool) -> str:
    """Start and end of the sessions that are long enough, outside the test files. Reads ``clicks``.

    Args:
        rules: The rules.
        filtered: Whether only clicks on items of the view ``kept`` count.
    """
    start, end = _span(rules, filtered=filtered)
    return f"""
        SELECT {start} AS start, {end} AS end FROM (
            SELECT {_SESSION}, count(*) AS length, min(ts) AS first_click, max(ts) AS last_click
            FROM clicks {"LEFT SEMI JOIN kept USING (item)" if filtered else ""} GROUP BY {_SESSION}
        )
        WHERE length >= {rules.min_length} AND NOT in_test_file
    """


def split_sessions(rules: Rules, cuts: Cuts | None) -> str:
    """One row per session with a click: its part, its clicks in the catalogue, whether it stays.

    Reads ``clicks``, ``items`` (the catalogue) and ``kept``. ``tokens`` are the clicks in their order.
    """
    start, end = _span(rules, filtered=True)
    return f"""
        WITH found AS (
            SELECT {_SESSION}, count(*) AS all_clicks, count(index) AS clicks,
                count_if(carted AND index IS NOT NULL) AS carted_clicks,
                count_if(ordered AND index IS NOT NULL) AS ordered_clicks,
                coalesce(min(CASE WHEN is_kept THEN ts END), 0) AS first_click,
                coalesce(max(CASE WHEN is_kept THEN ts END), 0) AS last_click,
                sort_array(collect_list(
                    CASE WHEN index IS NOT NULL THEN struct(row, index AS item, ts, ordered, carted) END
                )) AS tokens
            FROM clicks LEFT JOIN items USING (item) LEFT JOIN (SELECT item, true AS is_kept FROM kept) USING (item)
            GROUP BY {_SESSION}
        ), split AS (SELECT *, {_part(rules, cuts, start, end)} AS part FROM found)
        SELECT *, part < {CROSSING} AND all_clicks >= {rules.min_length} AS is_long,
            part < {CROSSING} AND all_clicks >= {rules.min_length} AND clicks >= {rules.min_length} AS stays
        FROM split
    """


DROPPED_AND_KEPT = f"""
    SELECT count(*) AS sessions_with_click, count_if(part = {CROSSING}) AS boundary_sessions,
        count_if(part < {CROSSING} AND NOT is_long) AS sessions_too_short,
        coalesce(sum(CASE WHEN is_long THEN all_clicks - clicks END), 0) AS clicks_on_unknown_items,
        count_if(is_long AND NOT stays) AS sessions_too_short_without_unknown_items,
        count_if(stays) AS kept
    FROM sessions
"""
"""What each filter drops, and how many sessions stay, of the view ``sessions``, the result of :func:`split_sessions`."""

KEPT_SESSIONS = f"""
    SELECT start, session, element_at(array({", ".join(f"'{split}'" for split in SPLITS)}), part + 1) AS split,
        first_ts, last_ts, CAST(clicks AS INT) AS clicks, CAST(carted_clicks AS INT) AS carted_clicks,
        CAST(ordered_clicks AS INT) AS ordered_clicks, tokens
    FROM sessions WHERE stays ORDER BY start
"""
"""The sessions that stay, in the order of the events."""


def _span(rules: Rules, *, filtered: bool) -> tuple[str, str]:
    """The columns of a session's start and end."""
    return (
        ("first_click", "last_click") if rules.by_clicks and filtered else ("first_ts", "last_ts")
    )


def _split_at(ts: str, cuts: Cuts) -> str:
    """The split of a time, an index of ``SPLITS``."""
    return f"CASE WHEN {ts} >= {cuts.test_from} THEN 2 WHEN {ts} >= {cuts.validation_from} THEN 1 ELSE 0 END"


def _part(rules: Rules, cuts: Cuts | None, start: str, end: str) -> str:
    """The split of a session, as :func:`pipeline.sessions.temporal_split.assign_split` has it."""
    if cuts is None:
        return str(CROSSING)
    first, last = _split_at(start, cuts), _split_at(end, cuts)
    match rules.boundary_sessions:
        case BoundaryPolicy.LATER:
            part = last
        case BoundaryPolicy.EARLIER | BoundaryPolicy.TRIM:
            part = first
        case BoundaryPolicy.DROP:
            part = f"CASE WHEN {first} = {last} THEN {first} ELSE {CROSSING} END"
    return f"CASE WHEN in_test_file THEN 2 ELSE {part} END"


def count_values(column: str, where: str = "true") -> str:
    """How often each value of an expression of ``long_sessions`` occurs."""
    return (
        f"SELECT {column} AS value, count(*) AS n FROM long_sessions WHERE {where} GROUP BY value"
    )

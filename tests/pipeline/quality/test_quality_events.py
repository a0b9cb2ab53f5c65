"""Every rule on events fails on events that break it, and passes on others."""

import polars as pl
import pytest

from pipeline.core.contracts import EVENT_TYPE, EVENTS, REJECTED
from pipeline.core.errors import QualityError
from pipeline.datasets.io.parquet_writer import ROWS_PER_GROUP, TableWriter
from pipeline.datasets.raw_rows import Reason
from pipeline.quality.runner import check_tables, enforce
from pipeline.quality.suites import RULES

TS = 1_757_000_000_000
YEAR_2000, YEAR_2100 = 946_684_800_000, 4_102_444_800_000
LIMITS = {"max_rejected_share": 0.5}
SCHEMAS = {
    "events": EVENTS.schema | dict.fromkeys(("session", "item", "event_type"), pl.String),
    "rejected": REJECTED.schema,
}
"""Ids and event types are strings here, which allows invalid event types."""


def event(event_type="click", **changes):
    return {"session": "s1", "ts": TS, "item": "a", "event_type": event_type, "file": 0} | changes


def rejection(reason=Reason.UNREADABLE):
    return {"source": "log", "position": 1, "reason": reason, "content": "?"}


CLICK, ORDER, CART = event(), event("order"), event("cart")
GOOD = {
    # a session may be earlier than the previous one, and a cart needs no earlier click
    "events": [
        event(ts=YEAR_2000),
        CLICK,
        ORDER,
        event(ts=YEAR_2100 - 1),
        event("cart", session="s2", ts=YEAR_2000),
    ],
    # 5 / (5 + 5) = 0.5 is at the limit; unused event types do not count
    "rejected": [rejection()] * 5 + [rejection(Reason.UNUSED_EVENT_TYPE)] * 9,
}
BAD = [
    ("events", [], {"events_not_empty": 0, "clicks_present": 1, "orders_present": 1}),
    (
        "events",
        [event(session=""), CLICK, event(item=""), event(item=None), ORDER],
        {"event_fields_present": 3},
    ),
    ("events", [CLICK, ORDER, event("view")], {"event_types_known": 1}),
    (
        "events",
        [event(ts=YEAR_2000 - 1), CLICK, ORDER, event(ts=YEAR_2100)],
        {"event_times_in_range": 2},
    ),
    (
        "events",
        [CLICK, ORDER, event(session="s2"), event(item="b")],
        {"sessions_contiguous": 1},
    ),
    (
        "events",
        [CLICK, ORDER, event(ts=TS - 1), event(ts=TS - 2), event(ts=TS - 1, item="b")],
        {"event_times_in_order": 2},
    ),
    # one event twice, and two events three times each, alternating
    ("events", [CLICK, CLICK, *[ORDER, event(item="b")] * 3], {"events_unique": 3}),
    # orders before the click, without a click, and with a click in another session only
    (
        "events",
        [
            event("order", ts=TS - 1),
            CLICK,
            event("order", item="b"),
            event("cart", session="s2"),
            event("order", session="s2"),
        ],
        {"orders_follow_a_click": 3},
    ),
    # ids of a column that became decimals, counted once each; 1.5 may be an id of its own
    (
        "events",
        [CLICK, ORDER, *(event(item=item) for item in ("1.0", "1.0", "2.00", "1.5", "v1.0"))],
        {"item_ids_are_not_decimals": 2, "events_unique": 1},
    ),
    ("events", [ORDER, CART], {"clicks_present": 1, "orders_follow_a_click": 1}),
    ("events", [CLICK, CART], {"orders_present": 1}),
    # 6 / (6 + 5) exceeds 0.5; a row without a reason counts
    ("rejected", [rejection()] * 6, {"rejected_share_within_limit": 1}),
    ("rejected", [rejection()] * 5 + [rejection(None)], {"rejected_share_within_limit": 1}),
]
"""A table, its bad rows, and the number of rows that break each rule."""


def check(folder, **changed):
    """Results of the rules on good events without rejected rows, with some tables replaced."""
    files = {}
    for table, rows in (GOOD | {"rejected": []} | changed).items():
        files[table] = folder / f"{table}.parquet"
        pl.DataFrame(rows, schema=SCHEMAS[table]).write_parquet(files[table])
    return check_tables("events", files, LIMITS)


def broken(outcomes):
    return {outcome.rule.name for outcome in outcomes if not outcome.passed}


@pytest.mark.slow
def test_good_events_pass_all_rules(tmp_path):
    outcomes = check(tmp_path, **GOOD)

    assert [outcome.rule for outcome in outcomes] == list(RULES["events"])
    assert broken(outcomes) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "rows", "counts"), BAD, ids=[f"{n}-{'+'.join(bad[2])}" for n, bad in enumerate(BAD)]
)
def test_bad_events_break_their_rules_only(tmp_path, table, rows, counts):
    outcomes = check(tmp_path, **{table: rows})

    assert {o.rule.name: o.unexpected for o in outcomes if not o.passed} == counts
    assert all(len(outcome.sample) == outcome.unexpected for outcome in outcomes)


def test_every_rule_has_a_bad_table():
    assert {name for _, _, bad in BAD for name in bad} == {rule.name for rule in RULES["events"]}


@pytest.mark.parametrize(
    ("column", "rules"),
    [
        ("session", {"event_fields_present", "sessions_contiguous"}),
        ("ts", {"event_fields_present", "event_times_in_order"}),
        ("item", {"event_fields_present"}),
        ("event_type", {"event_fields_present", "event_types_known"}),
    ],
    ids=["session", "ts", "item", "event_type"],
)
def test_an_event_with_a_null_breaks_every_rule_on_the_field(tmp_path, column, rules):
    last = event(ts=YEAR_2100 - 1, item="b") | {column: None}

    assert broken(check(tmp_path, events=[CLICK, ORDER, last])) == rules


def test_too_many_rejected_rows_are_refused_with_the_counts(tmp_path):
    outcomes = check(tmp_path, rejected=[rejection()] * 6)

    with pytest.raises(QualityError, match=r"rejected_share_within_limit: .*= 0\.5, .*= 5, .*= 6"):
        enforce(outcomes)


def test_duplicates_and_orders_without_a_click_are_only_reported(tmp_path):
    outcomes = check(tmp_path, events=[CLICK, CLICK, event("order", item="b")])

    assert broken(enforce(outcomes)) == {"events_unique", "orders_follow_a_click"}


@pytest.mark.slow
def test_order_is_checked_across_row_groups(tmp_path):
    # 10 rows per session, one second apart; a row group ends within a session
    row = pl.int_range(2 * ROWS_PER_GROUP + 15)
    place, event_types = row % 10, pl.Series(["click"] * 9 + ["order"], dtype=EVENT_TYPE)
    good = pl.select(
        session=row // 10,
        ts=TS + place * 1000,
        item=pl.lit(5, dtype=pl.Int64),
        event_type=pl.lit(event_types).gather(place),
        file=pl.lit(0, dtype=pl.UInt16),
    )
    first_of_group = pl.int_range(pl.len()) == ROWS_PER_GROUP
    bad = good.with_columns(ts=pl.when(first_of_group).then(TS).otherwise("ts"))

    found = [broken(check_written(tmp_path, frame)) for frame in (good, bad)]

    assert ROWS_PER_GROUP % 10 > 1
    assert found == [set(), {"event_times_in_order"}]


def check_written(folder, events):
    """Results on events written by the pipeline."""
    files = {table: folder / f"{table}.parquet" for table in SCHEMAS}
    with TableWriter(files["events"], EVENTS) as table, TableWriter(files["rejected"], REJECTED):
        table.write(events)
    return check_tables("events", files, LIMITS)

"""Last-touch attribution of events that name their user, against a reference implementation."""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.experiment.log.log_files import COLUMNS
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.study import LogColumns
from tests.pipeline.experiment.logs import (
    HOUR,
    PLAN,
    at,
    contents,
    ingest,
    ingest_folder,
    logged_impression,
    outcomes,
    users_in,
)

ANN, BOB = users_in("g1", 2)
NO_OUTCOMES = {"clicked", "ordered", "units", "revenue", "explored", "propensity", "arm"}
NO_COLUMNS = {"impressions": NO_OUTCOMES, "clicks": {"event"}, "orders": {"event"}}

NO_IMPRESSION = "click without an earlier impression of the user"
NO_CLICK = "order without an earlier click of the user"
REPEATED = "repeated click on an impression"
LATE_CLICK = "click after the attribution window"
LATE_ORDER = "order after the attribution window"


def shown(impression, user, hours, item="a"):
    return logged_impression(impression, user=user, item=item, ts=at(hours))


def click(user, hours, item="a"):
    return {"user": user, "item": item, "ts": at(hours)}


def order(user, hours, item="a", units=1, revenue=100):
    return click(user, hours, item) | {"units": units, "revenue": revenue}


def ingested(folder, tables, *, items=("impressions", "clicks", "orders"), step=""):
    """The ingestion of these tables; those in ``items`` have the column item."""
    for name, rows in tables.items():
        schema = {
            column: dtype
            for column, dtype in COLUMNS[name].items()
            if (column != "item" or name in items)
            and (column != "impression" or name == "impressions" or any(column in r for r in rows))
            and column not in NO_COLUMNS[name]
        }
        frame = pl.DataFrame([{c: row[c] for c in schema} for row in rows], schema=schema)
        frame.write_parquet(folder / f"{name}{step}.parquet")
    return ingest_folder(folder, columns=LogColumns())


def test_a_click_is_attributed_to_the_last_impression_of_its_item(tmp_path):
    result = ingested(
        tmp_path,
        {
            "impressions": [
                shown("old", ANN, 0),
                shown("last", ANN, 1),
                shown("other item", ANN, 2, "b"),
                shown("later", ANN, 4),
                shown("other user", BOB, 2),
            ],
            "clicks": [click(ANN, 3), click(ANN, 3.5)],
        },
    )

    assert [
        name for name, (clicked, *_) in outcomes(tmp_path / "log.duckdb").items() if clicked
    ] == ["last"]
    assert result.rejected == {REPEATED: 1}


def test_without_items_a_click_is_attributed_to_the_last_impression_of_its_user(tmp_path):
    impressions = [shown("e1", ANN, 0, "a"), shown("e2", ANN, 1, "b"), shown("e3", BOB, 2)]

    ingested(
        tmp_path,
        {"impressions": impressions, "clicks": [click(ANN, 3, "a")]},
        items=("impressions",),
    )

    assert outcomes(tmp_path / "log.duckdb")["e2"][0]


def test_of_simultaneous_impressions_the_greatest_id_is_the_last(tmp_path):
    impressions = [shown("e2", ANN, 0), shown("e3", ANN, 0), shown("e1", ANN, 0)]

    ingested(tmp_path, {"impressions": impressions, "clicks": [click(ANN, 0)]})

    assert [n for n, (clicked, *_) in outcomes(tmp_path / "log.duckdb").items() if clicked] == [
        "e3"
    ]


@pytest.mark.parametrize(
    ("reason", "events"),
    [
        (NO_IMPRESSION, {"clicks": [click(BOB, 3)]}),
        ("click before its impression", {"clicks": [click(ANN, -0.001)]}),
        (NO_IMPRESSION, {"clicks": [click(ANN, -0.1)]}),
        ("duplicate click", {"clicks": [click(ANN, 1)]}),
        (NO_IMPRESSION, {"clicks": [click(ANN, 3, "b")]}),
        (LATE_CLICK, {"clicks": [click(ANN, 24.001)]}),
        (REPEATED, {"clicks": [click(ANN, 2)]}),
        ("a field is missing", {"clicks": [click(ANN, 3, None)]}),
        ("a field is missing", {"clicks": [click(None, 3)]}),
        (NO_CLICK, {"orders": [order(ANN, 0.5)]}),
        (NO_CLICK, {"orders": [order(ANN, 3, "b")]}),
        (LATE_ORDER, {"orders": [order(ANN, 25.001)]}),
        ("duplicate order", {"orders": [order(ANN, 2)]}),
        ("fewer than one unit", {"orders": [order(ANN, 3, units=0)]}),
    ],
)
def test_an_event_is_rejected_for_its_reason(tmp_path, reason, events):
    result = ingested(
        tmp_path,
        {
            "impressions": [shown("x", ANN, 0)],
            "clicks": [click(ANN, 1), *events.get("clicks", [])],
            "orders": [order(ANN, 2), *events.get("orders", [])],
        },
    )

    assert result.rejected == {reason: 1}
    assert outcomes(tmp_path / "log.duckdb") == {"x": (True, True, 1, 100)}


def test_orders_of_users_are_attributed_to_clicks_with_impression_and_item(tmp_path):
    """Lists of several items: clicks have impression and item, orders have user and item."""
    clicks = [
        click(ANN, 1, "tent") | {"impression": "list 1"},
        click(ANN, 1.5, "stove") | {"impression": "list 1"},
        click(ANN, 2, "lamp") | {"impression": "list 2"},
    ]
    result = ingested(
        tmp_path,
        {
            "impressions": [shown("list 1", ANN, 0), shown("list 2", ANN, 0.5)],
            "clicks": clicks,
            "orders": [order(ANN, 3, "stove", units=2), order(ANN, 3, "shoe")],
        },
        items=("clicks", "orders"),
    )

    # the stove was a repeated click on the first list; its order counts for the list
    assert outcomes(tmp_path / "log.duckdb") == {
        "list 1": (True, True, 2, 100),
        "list 2": (True, False, 0, None),
    }
    assert result.rejected == {REPEATED: 1, NO_CLICK: 1}


def last_touch(event, touches, *, by_item):
    """The last of the touches (time, impression, user, item) at or before an event; None if none."""
    before = [
        (ts, impression)
        for ts, impression, user, item in touches
        if user == event["user"] and ts <= event["ts"] and (not by_item or item == event["item"])
    ]
    return max(before, default=None)


def clicks_by_hand(tables, items):
    """The clicked impressions, the clicks that orders may follow, and the rejection reasons."""
    reasons, clicked, touches = Counter(), {}, []
    shown_before = [(r["ts"], r["impression"], r["user"], r["item"]) for r in tables["impressions"]]
    item_shown = {row["impression"]: row["item"] for row in tables["impressions"]}
    for event in sorted(tables["clicks"], key=lambda one: one["ts"]):
        touch = last_touch(event, shown_before, by_item={"impressions", "clicks"} <= items)
        if touch is None:
            reasons[NO_IMPRESSION] += 1
        elif event["ts"] - touch[0] > 24 * HOUR:
            reasons[LATE_CLICK] += 1
        else:
            times = clicked.setdefault(touch[1], [])
            key = (event["ts"], event["item"] if "clicks" in items else None)
            reasons["duplicate click" if key in times else REPEATED] += bool(times)
            times.append(key)
            item = event["item"] if "clicks" in items else item_shown[touch[1]]
            touches.append((event["ts"], touch[1], event["user"], item))
    return clicked, touches, reasons


def orders_by_hand(orders, touches, items):
    """The accepted orders with their impressions, and the rejection reasons."""
    by_item = "orders" in items and bool({"clicks", "impressions"} & items)
    reasons, accepted = Counter(), []
    for event in orders:
        touch = last_touch(event, touches, by_item=by_item)
        known = event if "orders" in items else event | {"item": None}
        if touch is None:
            reasons[NO_CLICK] += 1
        elif event["ts"] - touch[0] > 24 * HOUR:
            reasons[LATE_ORDER] += 1
        elif (touch[1], known) in accepted:
            reasons["duplicate order"] += 1
        else:
            accepted.append((touch[1], known))
    return accepted, reasons


def attribute_by_hand(tables, items):
    """Reference implementation: every event is compared with all earlier ones."""
    clicked, touches, of_clicks = clicks_by_hand(tables, items)
    orders, of_orders = orders_by_hand(tables["orders"], touches, items)
    found = {}
    for row in tables["impressions"]:
        own = [event for impression, event in orders if impression == row["impression"]]
        units, revenue = sum(e["units"] for e in own), sum(e["revenue"] for e in own)
        found[row["impression"]] = (row["impression"] in clicked, bool(own), units, revenue or None)
    return found, dict(+(of_clicks + of_orders))


users = st.sampled_from([ANN, ANN, BOB])
item_names = st.sampled_from(["a", "a", "b"])
times = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 25.0, 26.0, 49.5, 51.0])


@pytest.mark.slow
@settings(max_examples=7)
@given(
    impressions=st.lists(st.tuples(users, times, item_names), min_size=1, max_size=5),
    clicks=st.lists(st.builds(click, users, times, item_names), min_size=1, max_size=6),
    orders=st.lists(st.builds(order, users, times, item_names, st.integers(1, 2)), max_size=6),
    items=st.sets(st.sampled_from(["impressions", "clicks", "orders"])),
    steps=st.integers(1, 2),
)
def test_incremental_attribution_equals_the_reference(impressions, clicks, orders, items, steps):
    numbers = count()
    rows = [shown(f"x{next(numbers)}", *one) for one in impressions]
    tables = {"impressions": rows, "clicks": clicks, "orders": orders}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # the first file has a row, so that there is an impression and a click
        for step in range(steps):
            part = {table: rows[step::steps] for table, rows in tables.items()}
            result = ingested(folder, part, items=items, step=f"-{step}")
        found, stepwise = outcomes(folder / "log.duckdb"), contents(folder / "log.duckdb")
        rules = LogRules(columns=LogColumns())
        ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "fresh.duckdb", rules=rules)
        assert stepwise == contents(folder / "fresh.duckdb")

    assert (found, result.rejected) == attribute_by_hand(tables, items)

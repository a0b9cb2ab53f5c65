"""Attribution of clicks and orders that name their impression."""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import COLUMNS
from tests.pipeline.experiment.logs import (
    HOUR,
    PLAN,
    TS,
    at,
    contents,
    impression,
    ingest,
    ingest_folder,
    logged_impression,
    outcomes,
    users_in,
    write_impressions,
)

NAMES = {
    "impressions": logged_impression("x"),
    "clicks": ("impression", "ts"),
    "orders": ("impression", "ts", "units", "revenue"),
}


def click(of, hours=1.0):
    return {"impression": of, "ts": at(hours)}


def order(of, hours=2.0, units=1, revenue=100):
    return click(of, hours) | {"units": units, "revenue": revenue}


def write(folder, name, rows):
    table = name.split("-")[0]
    schema = {column: COLUMNS[table][column] for column in NAMES[table]}
    pl.DataFrame(rows, schema=schema).write_parquet(folder / f"{name}.parquet")


def ingested(folder, **tables):
    """The ingestion of these tables, and the outcome of each impression."""
    for name, rows in tables.items():
        write(folder, name, rows)
    return ingest_folder(folder), outcomes(folder / "log.duckdb")


def test_clicks_and_orders_determine_the_outcomes(tmp_path):
    result, found = ingested(
        tmp_path,
        impressions=[logged_impression(name) for name in ("ignored", "clicked", "ordered")],
        clicks=[click("clicked"), click("ordered")],
        orders=[order("ordered", units=2, revenue=500), order("ordered", hours=3, revenue=20)],
    )

    assert result.rejected == {}
    assert found == {
        "clicked": (True, False, 0, None),
        "ignored": (False, False, 0, None),
        "ordered": (True, True, 3, 520),
    }


@pytest.mark.parametrize(
    ("reason", "tables"),
    [
        ("click without impression", {"clicks": [click("y")]}),
        ("click before its impression", {"clicks": [click("x", -0.001)]}),
        ("click after the attribution window", {"clicks": [click("x", 24.001)]}),
        ("repeated click on an impression", {"clicks": [click("c", 2)]}),
        ("a field is missing", {"clicks": [{"impression": None, "ts": TS}]}),
        ("time outside 2000-01-01 to 2100-01-01", {"clicks": [{"impression": "x", "ts": 5}]}),
        ("order without click", {"orders": [order("x")]}),
        ("order before its click", {"orders": [order("c", 0.5)]}),
        ("order after the attribution window", {"orders": [order("c", 25.001)]}),
        ("duplicate order", {"orders": [order("o")]}),
        ("fewer than one unit", {"orders": [order("c", units=0)]}),
        ("negative revenue", {"orders": [order("c", revenue=-1)]}),
        ("a field is missing", {"orders": [order("c") | {"units": None}]}),
    ],
)
def test_an_event_is_rejected_for_its_reason(tmp_path, reason, tables):
    result, found = ingested(
        tmp_path,
        impressions=[logged_impression(name) for name in "xco"],
        clicks=[click("c"), click("o"), *tables.get("clicks", [])],
        orders=[order("o"), *tables.get("orders", [])],
    )

    assert result.rejected == {reason: 1}
    assert result.impressions == 3
    assert found == {
        "c": (True, False, 0, None),
        "o": (True, True, 1, 100),
        "x": (False, False, 0, None),
    }


def test_the_attribution_window_is_configurable(tmp_path):
    write(tmp_path, "impressions", [logged_impression("x")])
    write(tmp_path, "clicks", [click("x", 30)])

    assert ingest_folder(tmp_path).rejected
    assert ingest_folder(tmp_path, attribution_ms=30 * HOUR).rejected == {}
    assert outcomes(tmp_path / "log.duckdb")["x"][0]


def test_a_late_event_updates_its_impression(tmp_path):
    write(tmp_path, "impressions-1", [logged_impression("x1"), logged_impression("x2")])
    write(tmp_path, "clicks-1", [click("x1")])
    ingest_folder(tmp_path)
    write(tmp_path, "impressions-2", [logged_impression("x3", ts=at(1))])
    write(tmp_path, "clicks-2", [click("x2", 20), click("x3", 3)])
    write(tmp_path, "orders-2", [order("x1", 20)])

    late = ingest_folder(tmp_path)

    assert late.files_read == 3
    assert late.rejected == {}
    assert outcomes(tmp_path / "log.duckdb") == {
        "x1": (True, True, 1, 100),
        "x2": (True, False, 0, None),
        "x3": (True, False, 0, None),
    }


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"impressions": [logged_impression("x")]},
            "impressions.parquet has no clicked, ordered, units, and no file",
        ),
        ({"clicks": [click("x")]}, "no usable impression in 1 file"),
    ],
)
def test_incomplete_logs_are_refused(tmp_path, tables, message):
    with pytest.raises(LogError, match=message):
        ingested(tmp_path, **tables)


def test_outcomes_that_are_logged_twice_are_refused(tmp_path):
    write_impressions(tmp_path / "impressions.parquet", [impression("x")])
    write(tmp_path, "clicks", [click("x")])

    message = r"logged twice, in impressions\.parquet and in clicks\.parquet"
    with pytest.raises(LogError, match=message):
        ingest_folder(tmp_path)


def reject_click(event, ts, earlier):
    if ts is None:
        return "click without impression"
    if event["ts"] < ts:
        return "click before its impression"
    if event["ts"] - ts > 24 * HOUR:
        return "click after the attribution window"
    if event["ts"] in earlier:
        return "duplicate click"
    return "repeated click on an impression" if earlier else None


def reject_order(event, clicks, earlier, *, has_late_click):
    if not clicks and has_late_click:
        return "order after the attribution window"
    if not clicks:
        return "order without click"
    if event["ts"] < clicks[0]:
        return "order before its click"
    if event["ts"] - clicks[0] > 24 * HOUR:
        return "order after the attribution window"
    return "duplicate order" if event in earlier else None


def attribute_by_hand(impressions, clicks, orders):
    """Reference implementation: event by event, in order of time."""
    found = {row["impression"]: (row["ts"], [], []) for row in impressions}
    reasons, too_late = Counter(), set()
    for event in sorted(clicks, key=lambda one: one["ts"]):
        ts, accepted, _ = found.get(event["impression"], (None, [], []))
        reasons[reason := reject_click(event, ts, accepted)] += 1
        if reason == "click after the attribution window":
            too_late.add(event["impression"])
        if reason in {None, "repeated click on an impression"}:
            accepted.append(event["ts"])
    for event in orders:
        _, clicked, accepted = found.get(event["impression"], (None, [], []))
        late = event["impression"] in too_late
        reasons[reason := reject_order(event, clicked, accepted, has_late_click=late)] += 1
        if reason is None:
            accepted.append(event)
    reasons.pop(None, None)
    return {
        name: (bool(c), bool(o), sum(e["units"] for e in o), sum(e["revenue"] for e in o) or None)
        for name, (_, c, o) in found.items()
    }, dict(reasons)


hours = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 24.0, 24.5, 48.0])
names = st.sampled_from(["x0", "x1", "x2", "unknown"])


@pytest.mark.slow
@settings(max_examples=10)
@given(
    clicks=st.lists(st.builds(click, names, hours), min_size=1, max_size=8),
    orders=st.lists(st.builds(order, names, hours, st.integers(1, 2)), max_size=8),
    days=st.integers(1, 3),
)
def test_incremental_attribution_equals_the_reference(clicks, orders, days):
    numbers = count()
    impressions = [logged_impression(f"x{next(numbers)}") for _ in range(3)]
    clicks.append(click("x0"))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for day in range(days):
            write(folder, f"impressions-{day}", impressions[day::days])
            write(folder, f"clicks-{day}", clicks[day::days])
            write(folder, f"orders-{day}", orders[day::days])
            result = ingest_folder(folder)
        found = outcomes(folder / "log.duckdb")
        stepwise = contents(folder / "log.duckdb")
        ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "fresh.duckdb")
        assert stepwise == contents(folder / "fresh.duckdb")

    assert (found, result.rejected) == attribute_by_hand(impressions, clicks, orders)


def test_users_in_two_groups_and_bots_are_excluded(tmp_path):
    crossing, bot, human = users_in("g1", 3)
    rows = [
        impression("c1", user=crossing),
        impression("c2", user=crossing, group="g2", ts=at(1)),
        *[impression(f"b{n}", user=bot, ts=TS // HOUR * HOUR + n) for n in range(4)],
        impression("b4", user=bot, ts=at(50)),
        *[impression(f"p{n}", user=human, ts=TS // HOUR * HOUR + n) for n in range(3)],
        impression("p3", user=human, ts=at(50)),
    ]
    write_impressions(tmp_path / "a.parquet", rows)

    result = ingest_folder(tmp_path, impressions_per_hour=3)

    assert result.rejected == {
        "more than 3 impressions per hour": 5,
        "user in two groups": 2,
    }
    assert set(outcomes(tmp_path / "log.duckdb")) == {"p0", "p1", "p2", "p3"}


def test_impressions_of_other_days_are_rejected(tmp_path):
    rows = [impression(f"x{n}", ts=TS + n) for n in range(4)]
    write_impressions(tmp_path / "a.parquet", rows)

    result = ingest_folder(tmp_path, first_ts=TS + 1, end_ts=TS + 3)

    assert result.rejected == {"time outside the experiment": 2}
    assert set(outcomes(tmp_path / "log.duckdb")) == {"x1", "x2"}

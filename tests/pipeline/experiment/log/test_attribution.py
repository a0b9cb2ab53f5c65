"""Clicks and orders in files of their own: what counts for an impression, and what for none."""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import LogError
from pipeline.experiment.log.ingest import ingest
from pipeline.experiment.log.log_files import LOGGED_CLICKS, LOGGED_ORDERS
from pipeline.experiment.log.row_validation import LogRules
from tests.pipeline.experiment.logs import PLAN, TS, contents, impression, outcomes, shown, users_in

HOUR = 3_600_000
SHOWN = {"experiment": pl.String, "impression": pl.String, "user": pl.String, "group": pl.String}
SCHEMAS = {
    "impressions": SHOWN | {"ts": pl.Int64},
    "clicks": dict(LOGGED_CLICKS.columns),
    "orders": dict(LOGGED_ORDERS.columns) | {"revenue": pl.Int64},
}


def click(of, hours=1.0):
    return {"impression": of, "ts": TS + round(hours * HOUR)}


def order(of, hours=2.0, units=1, revenue=100):
    return {"impression": of, "ts": TS + round(hours * HOUR), "units": units, "revenue": revenue}


def write(folder, name, rows):
    pl.DataFrame(rows, schema=SCHEMAS[name.split("-")[0]]).write_parquet(folder / f"{name}.parquet")


def taken_in(folder, **tables):
    """The ingestion of a folder of these tables, and what came of each impression."""
    for name, rows in tables.items():
        write(folder, name, rows)
    result = ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "log.duckdb")
    return result, outcomes(folder / "log.duckdb")


def test_impressions_learn_what_came_of_them_from_clicks_and_orders(tmp_path):
    result, found = taken_in(
        tmp_path,
        impressions=[shown("ignored"), shown("clicked"), shown("ordered")],
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
def test_an_event_is_set_aside_for_its_reason(tmp_path, reason, tables):
    result, found = taken_in(
        tmp_path,
        impressions=[shown("x"), shown("c"), shown("o")],
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


def test_the_window_is_the_study_s(tmp_path):
    write(tmp_path, "impressions", [shown("x")])
    write(tmp_path, "clicks", [click("x", 30)])
    files = sorted(tmp_path.glob("*.parquet"))
    rules = LogRules(attribution_ms=30 * HOUR)

    assert ingest(files, PLAN, tmp_path / "log.duckdb").rejected
    assert ingest(files, PLAN, tmp_path / "log.duckdb", rules=rules).rejected == {}
    assert outcomes(tmp_path / "log.duckdb")["x"][0]


def test_a_late_event_updates_its_impression(tmp_path):
    write(tmp_path, "impressions-1", [shown("x1"), shown("x2")])
    write(tmp_path, "clicks-1", [click("x1")])
    database = tmp_path / "log.duckdb"
    ingest(sorted(tmp_path.glob("*.parquet")), PLAN, database)
    write(tmp_path, "impressions-2", [shown("x3", ts=TS + HOUR)])
    write(tmp_path, "clicks-2", [click("x2", 20), click("x3", 3)])
    write(tmp_path, "orders-2", [order("x1", 20)])

    late = ingest(sorted(tmp_path.glob("*.parquet")), PLAN, database)

    assert late.files_read == 3
    assert late.rejected == {}
    assert outcomes(database) == {
        "x1": (True, True, 1, 100),
        "x2": (True, False, 0, None),
        "x3": (True, False, 0, None),
    }


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"impressions": [shown("x")]},
            "impressions.parquet has no clicked, ordered, units, and no",
        ),
        ({"clicks": [click("x")]}, "no usable impression in 1 files"),
    ],
)
def test_tables_that_do_not_make_a_log_are_refused(tmp_path, tables, message):
    with pytest.raises(LogError, match=message):
        taken_in(tmp_path, **tables)


def test_outcomes_told_twice_are_refused(tmp_path):
    pl.DataFrame([impression("x")]).write_parquet(tmp_path / "impressions.parquet")
    write(tmp_path, "clicks", [click("x")])

    with pytest.raises(
        LogError, match=r"impressions\.parquet says .*, and so does clicks\.parquet"
    ):
        ingest(sorted(tmp_path.glob("*.parquet")), PLAN, tmp_path / "log.duckdb")


def judge_click(event, ts, taken):
    if ts is None:
        return "click without impression"
    if event["ts"] < ts:
        return "click before its impression"
    if event["ts"] - ts > 24 * HOUR:
        return "click after the attribution window"
    return "repeated click on an impression" if taken else None


def judge_order(event, clicks, taken):
    if not clicks:
        return "order without click"
    if event["ts"] < clicks[0]:
        return "order before its click"
    if event["ts"] - clicks[0] > 24 * HOUR:
        return "order after the attribution window"
    return "duplicate order" if event in taken else None


def read_by_hand(impressions, clicks, orders):
    """The slow twin: event by event, in order of time."""
    found = {row["impression"]: (row["ts"], [], []) for row in impressions}
    reasons = Counter()
    for event in sorted(clicks, key=lambda one: one["ts"]):
        ts, taken, _ = found.get(event["impression"], (None, [], []))
        reasons[reason := judge_click(event, ts, taken)] += 1
        if reason is None:
            taken.append(event["ts"])
    for event in orders:
        _, clicked, taken = found.get(event["impression"], (None, [], []))
        reasons[reason := judge_order(event, clicked, taken)] += 1
        if reason is None:
            taken.append(event)
    reasons.pop(None, None)
    return {
        name: (bool(c), bool(o), sum(e["units"] for e in o), sum(e["revenue"] for e in o) or None)
        for name, (_, c, o) in found.items()
    }, dict(reasons)


hours = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 24.0, 24.5, 48.0])
names = st.sampled_from(["x0", "x1", "x2", "nobody's"])


@settings(max_examples=10, deadline=None)
@given(
    clicks=st.lists(st.builds(click, names, hours), min_size=1, max_size=8),
    orders=st.lists(st.builds(order, names, hours, st.integers(1, 2)), max_size=8),
    days=st.integers(1, 3),
)
def test_in_whatever_steps_events_come_they_count_as_by_hand(clicks, orders, days):
    numbers = count()
    impressions = [shown(f"x{next(numbers)}") for _ in range(3)]
    clicks.append(click("x0"))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for day in range(days):
            write(folder, f"impressions-{day}", impressions[day::days])
            write(folder, f"clicks-{day}", clicks[day::days])
            write(folder, f"orders-{day}", orders[day::days])
            result = ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "log.duckdb")
        found = outcomes(folder / "log.duckdb")
        stepwise = contents(folder / "log.duckdb")
        ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "anew.duckdb")
        assert stepwise == contents(folder / "anew.duckdb")

    assert (found, result.rejected) == read_by_hand(impressions, clicks, orders)


def test_units_in_two_groups_and_bots_are_set_aside_whole(tmp_path):
    crossing, bot, person = users_in("g1", 3)
    rows = [
        impression("c1", user=crossing),
        impression("c2", user=crossing, group="g2", ts=TS + HOUR),
        *[impression(f"b{n}", user=bot, ts=TS // HOUR * HOUR + n) for n in range(4)],
        impression("b4", user=bot, ts=TS + 50 * HOUR),
        *[impression(f"p{n}", user=person, ts=TS // HOUR * HOUR + n) for n in range(3)],
        impression("p3", user=person, ts=TS + 50 * HOUR),
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")

    result = ingest(
        [tmp_path / "a.parquet"],
        PLAN,
        tmp_path / "log.duckdb",
        rules=LogRules(impressions_per_hour=3),
    )

    assert result.rejected == {
        "more than 3 impressions per hour": 5,
        "user in two groups": 2,
    }
    assert set(outcomes(tmp_path / "log.duckdb")) == {"p0", "p1", "p2", "p3"}


def test_impressions_of_other_days_are_set_aside(tmp_path):
    rows = [impression(f"x{n}", ts=TS + n) for n in range(4)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    rules = LogRules(first_ts=TS + 1, end_ts=TS + 3)

    result = ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb", rules=rules)

    assert result.rejected == {"time outside the experiment": 2}
    assert set(outcomes(tmp_path / "log.duckdb")) == {"x1", "x2"}

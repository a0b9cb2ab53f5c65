"""A log in another format: other names, time formats and currency units, and missing columns."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.study import ClickColumns, ImpressionColumns, LogColumns, LogTime, OrderColumns
from tests.pipeline.experiment.logs import PLAN, TS, contents, ingest_folder, outcomes, users_in

ANN = users_in("g1", 1)[0]
VARIANTS = VariantPlan(
    experiment="spring", groups=(Variant(name="1", share=0.5), Variant(name="2", share=0.5))
)
COLUMNS = ImpressionColumns(
    impression="list_id",
    user="visitor",
    group="arm",
    ts="shown_at",
    clicked="was_clicked",
    ordered="bought",
    units="pieces",
    revenue="paid",
)


def their_impression(**changes):
    valid = {
        "list_id": 7,
        "visitor": 101,
        "arm": 1,
        "shown_at": TS,
        "was_clicked": 1,
        "bought": 1,
        "pieces": 2,
        "paid": 1999,
    }
    return valid | changes


def write(folder, name, rows):
    """Write rows to a file; the suffix determines the format."""
    file = folder / name
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif file.suffix == ".csv":
        pl.DataFrame(rows).write_csv(file)
    else:
        pl.DataFrame(rows).write_parquet(file)
    return file


def ingested(folder, plan=VARIANTS, *, columns):
    return ingest_folder(folder, plan, columns=columns)


def times_in(folder):
    return [row[4] for row in contents(folder / "log.duckdb")["logged_impressions"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_other_names_and_numeric_ids_are_read(tmp_path, name):
    write(
        tmp_path,
        name,
        [their_impression(), their_impression(list_id=8, arm=2, visitor=102, bought=0, pieces=0)],
    )

    result = ingested(tmp_path, columns=LogColumns(impressions=COLUMNS))

    assert result.rejected == {"revenue without an order": 1}
    assert outcomes(tmp_path / "log.duckdb") == {"7": (True, True, 2, 1999)}
    (row,) = contents(tmp_path / "log.duckdb")["impressions"]
    assert row[:4] == ("7", "101", "1", TS)


MOMENT = datetime(2025, 10, 9, 8, 53, 20, 123456, tzinfo=UTC)
MS = 1_760_000_000_123
TIMES = {
    LogTime.MILLISECONDS: [MS, str(MS), MS + 0.9],
    LogTime.SECONDS: [1_760_000_000.123456, "1760000000.1239"],
    LogTime.MICROSECONDS: [MS * 1000 + 999, f"{MS}999"],
    LogTime.ISO8601: [
        "2025-10-09T08:53:20.123456Z",
        "2025-10-09 10:53:20.1239+02:00",
        "2025-10-09T05:23:20.123-0330",
        MOMENT.astimezone(timezone(timedelta(hours=2))),
    ],
    LogTime.ISO8601_UTC: ["2025-10-09 08:53:20.123999", MOMENT.replace(tzinfo=None)],
}
INVALID_TIMES = {
    LogTime.MILLISECONDS: ["2025-10-09"],
    LogTime.SECONDS: ["1e9", "9" * 30],
    LogTime.ISO8601: [
        "2025-10-09T08:53:20",
        "2025-10-09T25:53:20Z",
        "2025-10-09T08:53:20 Europe/Prague",
    ],
    LogTime.ISO8601_UTC: [
        "2025-10-09T08:53:20Z",
        "2025-10-09",
        "infinity",
        "2025-02-30 00:00:00",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("time", TIMES)
def test_all_time_formats_give_the_same_time(tmp_path, time):
    for number, value in enumerate(TIMES[time]):
        write(tmp_path, f"{number}.parquet", [their_impression(list_id=number, shown_at=value)])

    ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, time=time))

    assert int(MOMENT.timestamp() * 1000) == MS
    assert times_in(tmp_path) == [MS] * len(TIMES[time])


@pytest.mark.slow
@pytest.mark.parametrize("time", INVALID_TIMES)
def test_an_invalid_time_is_rejected(tmp_path, time):
    good = next(value for value in TIMES[time] if isinstance(value, str))
    times = [good, *INVALID_TIMES[time]]
    rows = [their_impression(list_id=n, shown_at=value) for n, value in enumerate(times)]
    write(tmp_path, "a.csv", rows)

    result = ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, time=time))

    assert result.rejected == {"a field has the wrong type": len(INVALID_TIMES[time])}


@pytest.mark.parametrize(
    ("factor", "prices"),
    [(100, [19.99, "19.99", Decimal("20.50"), 5]), (10, ["0.1"]), (1, [1999])],
)
def test_revenue_is_converted_exactly(tmp_path, factor, prices):
    for number, paid in enumerate(prices):
        write(tmp_path, f"{number}.parquet", [their_impression(list_id=number, paid=paid)])

    ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, revenue_unit=factor))

    found = [revenue for *_, revenue in outcomes(tmp_path / "log.duckdb").values()]
    assert found == [Decimal(str(paid)) * factor for paid in prices]


def test_an_invalid_number_is_rejected(tmp_path):
    floats = {"paid": 20.0, "pieces": 2.0, "was_clicked": 1.0}
    wrong = [
        {"paid": 19.999},
        {"paid": float("nan")},
        {"pieces": 1.5},
        {"pieces": float("inf")},
        {"was_clicked": 2.0},
    ]
    rows = [their_impression(list_id=n, **(floats | one)) for n, one in enumerate([{}, *wrong])]
    write(tmp_path, "a.parquet", rows)

    result = ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, revenue_unit=100))

    assert (result.impressions, result.rejected) == (1, {"a field has the wrong type": 5})


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([{"who": 1}], {}, r"visitor \(experiment\.columns\.impressions\.user\) is missing"),
        ([their_impression(visitor=1.0)], {}, "visitor is DOUBLE, expected strings or integers"),
        (
            [their_impression(shown_at=MOMENT.replace(tzinfo=None))],
            {},
            r"shown_at is TIMESTAMP, expected a number .*for dates and timestamps set iso8601",
        ),
        (
            [their_impression(shown_at=MOMENT.replace(tzinfo=None))],
            {"time": LogTime.ISO8601},
            r"shown_at is TIMESTAMP, expected a time with a zone.*for times without set iso8601-utc",
        ),
        (
            [their_impression(was_clicked=[1])],
            {},
            r"was_clicked is BIGINT\[\], expected true and false",
        ),
    ],
)
def test_a_missing_or_unsuitable_column_is_named(tmp_path, rows, columns, message):
    write(tmp_path, "a.parquet", rows)

    with pytest.raises(LogError, match=message):
        ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, **columns))


def test_a_contract_name_may_be_mapped_to_another_column(tmp_path):
    rows = [{"experiment": 1, "user": 5, "who": 9, "ts": TS, "clicked": False}]
    write(tmp_path, "a.parquet", rows)
    columns = LogColumns(impressions=ImpressionColumns(group="experiment", user="who"))

    ingested(tmp_path, columns=columns)

    (row,) = contents(tmp_path / "log.duckdb")["impressions"]
    assert row[1:3] == ("9", "1")


def test_the_default_id_is_user_item_and_time(tmp_path):
    rows = [
        {"user": user, "item": item, "group": 1, "ts": ts, "clicked": False}
        for user, item, ts in [(1, 5, TS), (1, 6, TS), (1, 5, TS + 1), (11, 5, TS), (1, 5, TS)]
    ]
    write(tmp_path, "a.parquet", rows)

    result = ingested(tmp_path, columns=LogColumns())

    assert (result.impressions, result.rejected) == (4, {"duplicate impression": 1})


@pytest.mark.slow
def test_missing_outcomes_are_unknown_unless_they_follow_from_others(tmp_path):
    base = {"group": 1, "ts": TS}
    logs = {
        "clicks alone": [{"clicked": True}, {"clicked": False}],
        "orders, not units": [
            {"clicked": True, "ordered": True},
            {"clicked": True, "ordered": False},
        ],
        "units, not orders": [{"clicked": True, "units": 2}, {"clicked": True, "units": 0}],
        "no units where nothing was ordered": [
            {"clicked": True, "ordered": True, "units": 2},
            {"clicked": True, "ordered": False, "units": None},
        ],
    }
    found = {}
    for kind, rows in logs.items():
        folder = tmp_path / kind
        folder.mkdir()
        write(folder, "a.parquet", [{"user": n} | base | row for n, row in enumerate(rows)])
        assert ingested(folder, columns=LogColumns()).rejected == {}
        found[kind] = [one[:3] for one in outcomes(folder / "log.duckdb").values()]

    assert found == {
        "clicks alone": [(True, None, None), (False, None, None)],
        "orders, not units": [(True, True, None), (True, False, None)],
        "units, not orders": [(True, True, 2), (True, False, 0)],
        "no units where nothing was ordered": [(True, True, 2), (True, False, 0)],
    }


@pytest.mark.slow
def test_outcomes_without_files_are_unknown(tmp_path):
    write(tmp_path, "impressions.parquet", [{"id": 1, "user": 5, "group": 1, "ts": TS}])
    write(tmp_path, "clicks.parquet", [{"id": 1, "at": TS + 1}])
    columns = LogColumns(
        impressions=ImpressionColumns(impression="id"),
        clicks=ClickColumns(impression="id", ts="at"),
        orders=OrderColumns(user="buyer"),
    )

    ingested(tmp_path, columns=columns)
    clicks_alone = outcomes(tmp_path / "log.duckdb")
    write(tmp_path, "orders.parquet", [{"buyer": 5, "ts": TS + 2}])
    ingested(tmp_path, columns=columns)

    assert clicks_alone == {"1": (True, None, None, None)}
    assert outcomes(tmp_path / "log.duckdb") == {"1": (True, True, None, None)}


@pytest.mark.parametrize("more", [{}, {"ordered": False}])
def test_groups_on_a_front_need_orders_and_units(tmp_path, more):
    rows = [{"user": ANN, "group": "g1", "ts": TS, "clicked": False} | more]
    write(tmp_path, "a.parquet", rows)

    missing = "units" if more else "ordered"
    with pytest.raises(LogError, match=f"the log has no {missing}, but groups on the Pareto front"):
        ingested(tmp_path, PLAN, columns=LogColumns())


def test_groups_on_the_front_of_a_shop_without_orders_need_clicks_only(tmp_path):
    rows = [{"user": ANN, "group": "g1", "ts": TS, "clicked": True}]
    write(tmp_path, "a.parquet", rows)

    ingested(tmp_path, replace(PLAN, has_orders=False), columns=LogColumns())

    ((clicked, *orders),) = outcomes(tmp_path / "log.duckdb").values()
    assert (clicked, orders) == (True, [None, None, None])  # unknown, not zero


def test_the_assignment_of_the_log_is_used_except_for_users_in_two_groups(tmp_path):
    rows = [their_impression(list_id=n, visitor=n, arm=1 + n % 2) for n in range(20)]
    rows += [
        their_impression(list_id=20, visitor=3, arm=1),
        their_impression(list_id=21, visitor=21, arm=3),
    ]
    write(tmp_path, "a.parquet", rows)

    result = ingested(tmp_path, columns=LogColumns(impressions=COLUMNS))

    assert result.impressions == 19
    assert result.rejected == {"user in two groups": 2, "unknown group": 1}


@pytest.mark.parametrize(("name", "kept"), [(None, "7"), ("Autumn '26", "8")])
def test_other_experiments_are_rejected_if_the_log_names_them(tmp_path, name, kept):
    rows = [
        their_impression(experiment="spring"),
        their_impression(list_id=8, experiment="Autumn '26"),
    ]
    write(tmp_path, "a.parquet", rows)

    result = ingested(tmp_path, columns=LogColumns(impressions=COLUMNS, experiment=name))

    assert result.rejected == {"another experiment": 1}
    assert list(outcomes(tmp_path / "log.duckdb")) == [kept]


@pytest.mark.parametrize("repeated", [False, True])
def test_a_numbered_csv_column_is_not_a_repeated_one(tmp_path, repeated):
    header = f"user,group,ts,clicked,{'user' if repeated else 'user_1'}"
    (tmp_path / "a.csv").write_text(f"{header}\n5,1,{TS},true,6\n", encoding="utf-8")

    if repeated:
        with pytest.raises(LogError, match=r"a\.csv: user occurs twice"):
            ingested(tmp_path, columns=LogColumns())
    else:
        assert ingested(tmp_path, columns=LogColumns()).impressions == 1


@pytest.mark.slow
def test_another_mapping_reads_every_file_again(tmp_path):
    write(tmp_path, "a.parquet", [their_impression(other=102)])
    ingested(tmp_path, columns=LogColumns(impressions=COLUMNS))
    assert ingested(tmp_path, columns=LogColumns(impressions=COLUMNS)).files_read == 0

    names = {name: getattr(COLUMNS, name) for name in COLUMNS.__slots__} | {"user": "other"}
    result = ingested(tmp_path, columns=LogColumns(impressions=ImpressionColumns(**names)))

    assert result.files_read == 1
    assert contents(tmp_path / "log.duckdb")["impressions"][0][1] == "102"


@pytest.mark.parametrize("name", ['it\'s "so"', "raw.x; --"])
def test_any_column_name_is_quoted(tmp_path, name):
    columns = LogColumns(impressions=ImpressionColumns(user=name))
    for file in ("a.parquet", "b.csv", "c.jsonl"):
        row = {"impression": file, name: "u", "group": 1, "ts": TS, "clicked": False}
        write(tmp_path, file, [row])

    assert ingested(tmp_path, columns=columns).impressions == 3

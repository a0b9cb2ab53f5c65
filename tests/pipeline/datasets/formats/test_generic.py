"""Generic logs with named columns: parquet, CSV and JSON lines give the same events."""

import csv
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EventType
from pipeline.core.errors import DataError
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout, IdType

WORDS = {"view": EventType.CLICK, "add": EventType.CART, "buy": EventType.ORDER, "like": None}
T = 1_659_304_800_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PATTERN = "%d.%m.%Y %H:%M:%S.%f"


def section(**layout):
    named = {
        "item": "item",
        "time": "time",
        "event_type": "event_type",
        "event_types": WORDS,
        **layout,
    }
    if "user" not in named:
        named["session"] = "session"
    layout = GenericLayout(**{name: value for name, value in named.items() if value is not ...})
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def test_retailrocket_by_mapping_equals_its_adapter(load, real_data):
    layout = GenericLayout(
        user="visitorid",
        item="itemid",
        time="timestamp",
        time_unit="ms",
        event_type="event",
        event_types={
            "view": EventType.CLICK,
            "addtocart": EventType.CART,
            "transaction": EventType.ORDER,
        },
        ids=IdType.INTEGER,
    )
    path = real_data / "retailrocket" / "events.csv"

    by_mapping = load(
        DatasetConfig(format=DatasetFormat.GENERIC, path="events.csv", generic=layout), path
    )

    by_adapter = load(DatasetConfig(format=DatasetFormat.RETAILROCKET, path="events.csv"), path)
    assert by_mapping.summary == by_adapter.summary
    assert by_mapping.events.equals(by_adapter.events)
    assert by_mapping.events.height == 33


def plain_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["session", "item", "time", "event_type"], *rows]
        )


def json_lines(path, rows):
    names = ["session", "item", "time", "event_type"]
    text = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def parquet(path, rows, id_type, time_type):
    types = {"session": id_type, "item": id_type, "time": time_type, "event_type": pl.String}
    pl.DataFrame(rows, schema=types, orient="row").write_parquet(path)


MOMENT = st.integers(946_598_400 * 10**6, 4_102_531_200 * 10**6).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)
"""From 1999-12-31 to 2100-01-02."""

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
NAMES = {
    IdType.TEXT: st.none() | st.text(LETTERS, max_size=4) | st.sampled_from(["0x5", "007", '"']),
    IdType.INTEGER: st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2),
}
UNITS = {
    # how a text says it, and how a column of a parquet file does
    "s": (lambda at: (at - EPOCH) // timedelta(seconds=1), pl.Int64),
    "ms": (lambda at: (at - EPOCH) // timedelta(milliseconds=1), pl.UInt64),
    "us": (lambda at: (at - EPOCH) // timedelta(microseconds=1), pl.Int64),
    "iso8601": (lambda at: at.isoformat(), pl.Datetime("us", "UTC")),
    "iso8601-utc": (lambda at: at.replace(tzinfo=None).isoformat(sep=" "), pl.Datetime("ns")),
    PATTERN: (lambda at: at.strftime(PATTERN), pl.Datetime("ms")),
}


def faults(loaded, *, header=0):
    """The reasons of rejected rows by their numbers, which duplicates do not have."""
    found = loaded.rejected.select("position", "reason").rows()
    return Counter((position and position - header, reason) for position, reason in found)


@pytest.mark.parametrize("ids", IdType, ids=str)
@pytest.mark.parametrize("unit", UNITS)
def test_a_log_says_the_same_as_parquet_csv_and_json_lines(load, tmp_path_factory, ids, unit):
    say, time_type = UNITS[unit]
    id_type = pl.Int64 if ids is IdType.INTEGER else pl.String
    row = st.tuples(
        NAMES[ids], NAMES[ids], st.none() | MOMENT, st.sampled_from([*WORDS, "?", None])
    )
    folder = tmp_path_factory.mktemp("log")
    dataset = section(ids=ids, time_unit=unit)

    @given(table=st.lists(row, max_size=12))
    @settings(max_examples=4)
    def same(table):
        good = (1 if ids is IdType.INTEGER else "1", 2 if ids is IdType.INTEGER else "2")
        rows = [(*good, datetime(2022, 8, 1, tzinfo=UTC), "view"), *table]
        said = [(s, i, at and say(at), event_type) for s, i, at, event_type in rows]
        typed = said if time_type.is_integer() else rows
        plain_csv(folder / "log.csv", said)
        json_lines(folder / "log.jsonl", said)
        parquet(folder / "log.parquet", typed, id_type, time_type)
        by_csv, by_json, by_parquet = (
            load(dataset, folder / f"log.{suffix}", max_rejected_share=1.0)
            for suffix in ("csv", "jsonl", "parquet")
        )

        assert by_csv.events.equals(by_json.events)
        assert by_csv.events.equals(by_parquet.events)
        reasons = faults(by_json)
        assert reasons == faults(by_parquet) == faults(by_csv, header=1)
        assert by_csv.events.height + reasons.total() == len(rows)

    same()


def test_seconds_may_have_decimals(load, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("session,item,time\na,b,1659304800.124\na,b,nan\na,b,1e300\na,b,0x5\n")

    dataset = section(time_unit="s", event_type=..., event_types=...)
    _, events, rejected = load(dataset, path, max_rejected_share=0.9)

    assert events.rows() == [("a", T + 124, "b", "click", 0)]
    assert dict(rejected.select("position", "reason").rows()) == {
        3: Reason.TIME_OUT_OF_RANGE.value,
        4: Reason.TIME_OUT_OF_RANGE.value,
        5: Reason.WRONG_TYPE.value,
    }


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "], ids=repr)
def test_any_separator_serves(load, tmp_path, separator):
    path = tmp_path / "log.tsv"
    path.write_text(f"session,item,time,event_type\n1,2,{T},view\n".replace(",", separator))

    assert load(section(separator=separator), path).events.rows() == [("1", T, "2", "click", 0)]


def test_users_are_cut_into_sessions_where_they_rest(load, tmp_path):
    path = tmp_path / "log.csv"
    minutes = [0, 30, 61]  # 30 minutes are no rest yet, 31 are
    rows = "".join(f"u,i{minute},{T + minute * 60_000}\n" for minute in minutes)
    path.write_text(f"who,item,time\n{rows}")

    events = load(section(user="who", event_type=..., event_types=...), path).events

    assert sorted(events.select("session", "item").rows()) == [
        ("u-1", "i0"),
        ("u-1", "i30"),
        ("u-2", "i61"),
    ]


def test_a_folder_may_hold_files_of_all_suffixes_and_others(load, tmp_path):
    plain_csv(tmp_path / "a.csv", [("1", "2", T, "view")])
    json_lines(tmp_path / "b.ndjson", [("1", "2", T + 1, "add")])
    parquet(tmp_path / "c.parquet", [("1", "2", T + 2, "buy")], pl.String, pl.Int64)
    (tmp_path / "readme.md").write_text("no events")

    summary, events, _ = load(section(), tmp_path)

    assert summary["files"] == {"a.csv": 1, "b.ndjson": 1, "c.parquet": 1}
    assert events["event_type"].to_list() == ["click", "cart", "order"]


@pytest.mark.parametrize("name", ["log.txt", "log", "log.csv.xz", "log.parquet.gz"])
def test_a_suffix_that_does_not_say_how_to_read_it_is_refused(load, tmp_path, name):
    path = tmp_path / name
    path.write_text("session,item,time,event_type\n")
    suffixes = r"\.csv, \.tsv, \.inter, \.jsonl, \.ndjson, \.parquet, for text files optionally followed by \.gz"

    with pytest.raises(DataError, match=rf"{name}: unknown suffix; expected one of {suffixes}"):
        load(section(), path)


def test_a_folder_without_any_such_file_says_so(load, tmp_path):
    (tmp_path / "readme.md").write_text("nothing here")

    with pytest.raises(DataError, match=r"has no file that ends in \.csv, .*check dataset\.path"):
        load(section(), tmp_path)


def test_an_id_with_leading_zeros_is_another_id_or_no_integer(load, tmp_path):
    path = tmp_path / "log.csv"
    # more lines than are read one by one
    rows = [f"{n},7,{T + n}\n" for n in range(1, 600)] + [f"700,007,{T}\n", f"701,07,{T}\n"]
    path.write_text("session,item,time\n" + "".join(rows))
    by_text = section(event_type=..., event_types=...)
    by_integer = section(ids=IdType.INTEGER, event_type=..., event_types=...)

    assert load(by_text, path).events["item"].unique().sort().to_list() == ["007", "07", "7"]
    _, events, rejected = load(by_integer, path, max_rejected_share=0.01)
    assert events["item"].unique().to_list() == [7]
    assert rejected.select("position", "reason", "field").rows() == [
        (601, Reason.WRONG_TYPE.value, "item"),
        (602, Reason.WRONG_TYPE.value, "item"),
    ]

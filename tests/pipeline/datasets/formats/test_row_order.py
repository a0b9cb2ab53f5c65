"""Logs with an order and no times, and session files as other tools write them."""

import json
from copy import deepcopy

import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import EARLIEST_TS
from pipeline.core.errors import DataError, StudyError
from pipeline.steps.data import ingest_events
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout, parse_study

ROWS = [("ann", "x"), ("bob", "y"), ("ann", "z"), ("ann", "x"), ("bob", "x")]
CLICKS = {"ann": ["x", "z", "x"], "bob": ["y", "x"]}


def layout(**keys):
    found = GenericLayout(**{"session": "s", "item": "i", "time": "row-order", **keys})
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=found)


def of_log(params, generic):
    """The parameters of a study of the file log.csv."""
    values = deepcopy(params)
    values["dataset"] |= {"format": "generic", "path": "log.csv", "generic": generic}
    values["experiment"] |= {"source": "held-out-replay"}
    return values


def clicks(found):
    """The items of each session, in the order of their times."""
    events = found.events.sort("ts")
    return {
        name: part["item"].to_list()
        for (name,), part in events.partition_by("session", as_dict=True).items()
    }


def write_rows(file, suffix):
    frame = pl.DataFrame(ROWS, schema=["s", "i"], orient="row")
    match suffix:
        case "csv":
            frame.write_csv(file)
        case "inter":
            frame.write_csv(file, separator="\t")
        case "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dicts()))
        case _:
            frame.write_parquet(file)


@pytest.mark.parametrize("suffix", ["csv", "inter", "jsonl", "parquet"])
def test_rows_are_events_in_their_order(load, tmp_path, suffix):
    write_rows(tmp_path / f"log.{suffix}", suffix)
    keys = {"separator": "\t"} if suffix == "inter" else {}

    found = load(layout(**keys), tmp_path / f"log.{suffix}")

    assert clicks(found) == CLICKS  # the second x of ann is no duplicate
    assert found.summary["has_times"] is False
    assert found.summary["rejected"] == 0


def test_a_later_file_is_later(load, tmp_path):
    for name, rows in {"b.csv": "s,i\nann,late\n", "a.csv": "s,i\nann,early\nann,mid\n"}.items():
        (tmp_path / name).write_text(rows)

    found = load(layout(), tmp_path)

    assert clicks(found) == {"ann": ["early", "mid", "late"]}
    assert found.events["ts"].min() > EARLIEST_TS


def test_a_parquet_row_may_be_a_session_with_its_list_of_items(load, tmp_path):
    frame = pl.DataFrame({"s": [7, 8, 9], "i": [[1, 2, 1], [3, 1], []]})
    frame.write_parquet(tmp_path / "log.parquet")

    found = load(layout(), tmp_path / "log.parquet")

    assert clicks(found) == {"7": ["1", "2", "1"], "8": ["3", "1"]}
    assert found.summary["rejected"] == 0  # a session without an item has no event


@pytest.mark.slow
def test_real_sessions_without_times_are_read(load, real_data):
    file = real_data / "retailrocket" / "click_sequences.parquet"

    found = load(layout(session="seq_no", item="items"), file)

    assert found.summary["event_types"] == {"click": 685_984, "cart": 0, "order": 0}
    assert found.summary["sessions"] == 126_168
    sessions = pl.read_parquet(file)
    assert clicks(found)["0"] == [str(item) for item in sessions["items"][0]]


def test_a_list_of_items_with_times_is_refused(load, tmp_path):
    pl.DataFrame({"s": [7], "i": [[1, 2]], "t": [1]}).write_parquet(tmp_path / "log.parquet")

    with pytest.raises(DataError, match=r"column i is (large_)?list.*expected one item per row"):
        load(layout(time="t"), tmp_path / "log.parquet")


def test_text_ids_and_seconds_with_decimals_as_other_tools_write_them(load, tmp_path):
    # the atomic files of RecBole, and the tab-separated ones of GRU4Rec
    head = "session_id:token\titem_id:token\ttimestamp:float\n"
    (tmp_path / "log.inter").write_text(f"{head}s1\ti9\t1396861020.272\ns1\ti8\t1396861021\n")
    names = {"session": "session_id:token", "item": "item_id:token", "time": "timestamp:float"}

    found = load(layout(**names, time_unit="s", separator="\t"), tmp_path / "log.inter")

    assert found.events["ts"].sort().to_list() == [1_396_861_020_272, 1_396_861_021_000]


def test_seconds_with_decimals_that_are_read_as_milliseconds_say_so(small_params, tmp_path):
    (tmp_path / "log.csv").write_text("s,i,t\na,x,1396861020.272\na,y,1396861021.5\n")
    generic = {"session": "s", "item": "i", "time": "t", "time_unit": "ms"}
    values = of_log(small_params, generic)
    study = parse_study(values)

    with pytest.raises(DataError, match=r"seconds: set dataset\.generic\.time_unit: s"):
        ingest_events(study, StudyPaths.of(study, tmp_path))


@pytest.mark.parametrize(
    ("sessions", "words"),
    [
        ({}, "split by a share of the sessions: sessions.test_sessions: 0.1"),
        ({"test_sessions": 0.1}, "sessions.test_sessions is set without the other"),
        ({"test_sessions": 10.5, "validation_sessions": 5}, "expected a share below 1"),
        (
            {"test_sessions": 0.1, "validation_sessions": 0.1, "order_window_minutes": 5.0},
            "sessions.order_window_minutes needs times",
        ),
    ],
)
def test_what_needs_times_is_refused_with_what_to_set(small_params, sessions, words):
    generic = {"session": "s", "item": "i", "time": "row-order"}
    values = of_log(small_params, generic)
    values["sessions"] |= sessions

    with pytest.raises(StudyError) as refused:
        parse_study(values)

    assert words in str(refused.value)


def test_sessions_cannot_be_derived_without_times():
    with pytest.raises(StudyError, match="Name the column of the session"):
        GenericLayout(user="u", item="i", time="row-order")

"""Generic parquet: types of columns, values that do not fit them, and damaged files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS, EventType
from pipeline.core.errors import DataError
from pipeline.datasets.formats import parquet
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout, IdType

T = 1_659_304_800_000
EVENT_TYPES = {"view": EventType.CLICK, "1": EventType.ORDER, "like": None}


def section(unit="ms", ids=IdType.INTEGER):
    columns = {"session": "who", "item": "what", "time": "when", "event_type": "how"}
    layout = GenericLayout(**columns, event_types=EVENT_TYPES, ids=ids, time_unit=unit)
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def write(path, **columns):
    """Three rows, good but for the columns given."""
    good = {"who": [1, 2, 3], "what": [7, 8, 9], "when": [T, T + 1, T + 2], "how": ["view"] * 3}
    pq.write_table(pa.table({**good, **columns}), path)
    return path


def texts_as(*values):
    """A column of texts that holds any bytes."""
    offsets = np.cumsum([0, *(len(value) for value in values)]).astype(np.int32)
    buffers = pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(values))
    return pa.StringArray.from_buffers(len(values), *buffers)


TYPES = {
    "int8": ({"who": pa.array([1, 2, 3], pa.int8())}, IdType.INTEGER, [1, 2, 3]),
    "uint64": ({"who": pa.array([1, 2, 3], pa.uint64())}, IdType.INTEGER, [1, 2, 3]),
    "uint64-as-texts": ({"who": pa.array([2**64 - 1] * 3, pa.uint64())}, IdType.TEXT, [str(2**64 - 1)] * 3),
    "decimals-of-integers": ({"who": pa.array([1, 2, 3]).cast(pa.decimal128(38, 0)), "when": pa.array([T, T + 1, T + 2]).cast(pa.decimal128(38, 0))}, IdType.TEXT, ["1", "2", "3"]),
    "texts": ({"who": ["a", "b", "ä😀"]}, IdType.TEXT, ["a", "b", "ä😀"]),
    "texts-of-numbers": ({"who": ["1", "02", "-3"]}, IdType.INTEGER, [1, 2, -3]),
    "numbers-as-texts": ({"who": [1, 2, -3]}, IdType.TEXT, ["1", "2", "-3"]),
    "dictionary": ({"who": pa.array(["a", "b", "a"]).dictionary_encode()}, IdType.TEXT, ["a", "b", "a"]),
    "dictionary-of-numbers": ({"who": pa.array([1, 2, 1]).dictionary_encode()}, IdType.INTEGER, [1, 2, 1]),
    "large-texts": ({"who": pa.array(["a", "b", "c"], pa.large_string())}, IdType.TEXT, ["a", "b", "c"]),
    "text-views": ({"who": pa.array(["a", "b", "c"], pa.string_view())}, IdType.TEXT, ["a", "b", "c"]),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "ids", "sessions"), TYPES.values(), ids=TYPES)
def test_ids_may_be_whole_numbers_or_texts_of_any_width(
    raw_rows, tmp_path, *, columns, ids, sessions
):
    (rows,) = raw_rows(section(ids=ids), write(tmp_path / "log.parquet", **columns))

    assert rows.frame["session"].to_list() == sessions
    assert rows.positions.tolist() == [1, 2, 3]
    assert rows.errors == []


STAMP = [T // 1000, T // 1000 + 1, T // 1000 + 2]
TIMES = {
    "int32-seconds": ("s", pa.array(STAMP, pa.int32())),
    "float-seconds": ("s", pa.array(STAMP, pa.float64())),
    "int64-milliseconds": ("ms", pa.array([at * 1000 for at in STAMP])),
    "float-milliseconds": ("ms", pa.array([at * 1000.0 for at in STAMP])),
    "uint64-microseconds": ("us", pa.array([at * 10**6 + 999 for at in STAMP], pa.uint64())),
    "timestamp-milliseconds": ("s", pa.array([at * 1000 for at in STAMP], pa.timestamp("ms"))),
    "timestamp-seconds": ("iso8601", pa.array(STAMP, pa.timestamp("s"))),
    "timestamp-nanoseconds": (
        *("us", pa.array([at * 10**9 + 999_999 for at in STAMP], pa.timestamp("ns"))),
    ),
    "timestamp-elsewhere": (
        *("iso8601", pa.array([at * 10**6 for at in STAMP], pa.timestamp("us", "Asia/Tokyo"))),
    ),
}


@pytest.mark.parametrize(("unit", "times"), TIMES.values(), ids=TIMES)
def test_times_may_be_numbers_of_a_unit_or_timestamps_of_any(raw_rows, tmp_path, unit, times):
    (rows,) = raw_rows(section(unit), write(tmp_path / "log.parquet", when=times))

    assert rows.frame["ts"].to_list() == [T, T + 1000, T + 2000]


WRONG_VALUES = {
    "null-item": ({"what": [7, None, 9]}, Reason.MISSING_FIELD),
    "null-time": ({"when": [T, None, T]}, Reason.MISSING_FIELD),
    "null-event_type": ({"how": ["view", None, "view"]}, Reason.MISSING_FIELD),
    "empty-event_type": ({"how": ["view", "", "view"]}, Reason.MISSING_FIELD),
    "item-2**63": ({"what": pa.array([7, 2**63, 9], pa.uint64())}, Reason.WRONG_TYPE),
    "text-of-no-number": ({"what": ["7", "8.0", "9"]}, Reason.WRONG_TYPE),
    "text-of-a-hexadecimal": ({"what": ["7", "0x8", "9"]}, Reason.WRONG_TYPE),
    "bad-utf-8-item": ({"what": texts_as(b"7", b"\xff", b"9")}, Reason.NOT_TEXT),
    "bad-utf-8-event_type": ({"how": texts_as(b"view", b"vi\xc0\x80", b"view")}, Reason.NOT_TEXT),
    "unknown-event_type": ({"how": ["view", "View", "view"]}, Reason.UNKNOWN_EVENT_TYPE),
    "unused-event_type": ({"how": ["view", "like", "view"]}, Reason.UNUSED_EVENT_TYPE),
    "time-2**64": ({"when": pa.array([T, 2**64 - 1, T], pa.uint64())}, Reason.TIME_OUT_OF_RANGE),
    "time--2**63": ({"when": [T, -(2**63), T]}, Reason.TIME_OUT_OF_RANGE),
    "time-not-a-number": ({"when": [T, float("nan"), T]}, Reason.TIME_OUT_OF_RANGE),
    "time-infinite": ({"when": [T, float("-inf"), T]}, Reason.TIME_OUT_OF_RANGE),
    "timestamp-2**62": (
        *({"when": pa.array([T, 2**62, T], pa.timestamp("ms"))}, Reason.TIME_OUT_OF_RANGE),
    ),
}


@pytest.mark.parametrize(("columns", "reason"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_bad_row_is_counted_under_its_reason_and_spoils_no_other(load, tmp_path, columns, reason):
    path = write(tmp_path / "log.parquet", **columns)

    _, events, rejected = load(section(), path, max_rejected_share=0.5)

    assert sorted(events["item"]) == [7, 9]
    ((source, position, named, _, content),) = rejected.rows()
    assert (source, position, named) == ("log.parquet", 2, reason.value)
    assert content.startswith("2,")


@given(when=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**43), min_size=1))
@settings(max_examples=15)
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_no_number_wraps_around_into_the_calendar(raw_rows, tmp_path_factory, unit, when):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    ones = [1] * len(when)
    write(path, who=ones, what=ones, when=when, how=["view"] * len(when))

    (rows,) = raw_rows(section(unit), path)

    exact = {"s": lambda n: n * 1000, "ms": lambda n: n, "us": lambda n: n // 1000}[unit]
    for number, ts in zip(when, rows.frame["ts"], strict=True):
        in_calendar = EARLIEST_TS <= exact(number) < LATEST_TS
        assert (ts == exact(number)) if in_calendar else not EARLIEST_TS <= ts < LATEST_TS


def test_rows_keep_their_numbers_over_batches(load, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS_PER_BATCH", 7)
    items = [str(n) for n in range(20)]
    items[3] = items[16] = "?"
    columns = {"who": [1] * 20, "what": items, "when": [T] * 20, "how": ["view"] * 20}

    path = write(tmp_path / "log.parquet", **columns)
    _, events, rejected = load(section(), path, max_rejected_share=0.5)

    assert rejected["position"].to_list() == [4, 17]
    assert events["item"].to_list() == [n for n in range(20) if n not in {3, 16}]


WRONG_COLUMNS = {
    "no-item": (
        *("ms", {"who": [1], "when": [T], "how": ["view"]}),
        r"exactly once each; missing or repeated: 'what'; got \['who', ",
    ),
    "text-for-a-number": (
        *("ms", {"who": [1], "what": [7], "when": [str(T)], "how": ["view"]}),
        r"column when is string and dataset.generic.time_unit is ms; expected a timestamp, or num",
    ),
    "number-for-a-text": (
        *("iso8601", {"who": [1], "what": [7], "when": [T], "how": ["view"]}),
        r"column when is int64 and dataset.generic.time_unit is iso8601; expected a timestamp, or",
    ),
    "fractional-item": (
        *("ms", {"who": [1], "what": [7.0], "when": [T], "how": ["view"]}),
        r"ids and event types must be integers or strings, but what is double \(1965\.0 is another id than 1965\)",
    ),
    "list-of-items": (
        *("ms", {"who": [1], "what": [[7]], "when": [T], "how": ["view"]}),
        r"what is list<.*>, several events per row.*time: row-order",
    ),
    "boolean-event_type-and-binary-session": (
        *("ms", {"who": [b"1"], "what": [7], "when": [T], "how": [True]}),
        r"integers or strings, but who is binary, how is bool; convert the column, or name another one",
    ),
}


@pytest.mark.parametrize(("unit", "columns", "message"), WRONG_COLUMNS.values(), ids=WRONG_COLUMNS)
def test_columns_that_do_not_fit_the_layout_are_named(load, tmp_path, *, unit, columns, message):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(columns), path)

    with pytest.raises(DataError, match=message):
        load(section(unit), path)


def test_a_column_that_is_there_twice_is_named(load, tmp_path):
    arrays = [pa.array([1]), pa.array([7]), pa.array([T]), pa.array(["view"]), pa.array([8])]
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(arrays, names=["who", "what", "when", "how", "what"]), path)

    with pytest.raises(DataError, match=r"exactly once each; missing or repeated: 'what'; got"):
        load(section(), path)


@pytest.mark.slow
def test_a_damaged_file_is_refused_or_read_as_rows_and_nothing_else(load, tmp_path):
    good = write(
        *[tmp_path / "good.parquet"],
        who=pa.array([f"s{n % 40}" for n in range(400)]).dictionary_encode(),
        what=pa.array([f"item-{n}" for n in range(400)]),
        when=pa.array([T + n for n in range(400)], pa.timestamp("ms")),
        how=["view"] * 400,
    ).read_bytes()
    rng, path, read = np.random.default_rng(20250922), tmp_path / "log.parquet", 0
    for n in range(120):
        wounded = bytearray(good)
        for at in rng.integers(len(good), size=rng.integers(1, 4)):
            wounded[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(wounded if n % 4 else wounded[: int(rng.integers(len(good)))])

        try:
            summary, *_ = load(section(ids=IdType.TEXT), path, max_rejected_share=1.0)
        except DataError:
            continue
        read += 1
        assert summary["events"] + summary["rejected"] == 400

    assert read > 10


@pytest.mark.parametrize("content", [b"", b"PAR1", b"who,what,when,how\n"], ids=repr)
def test_a_file_that_is_no_parquet_is_named(load, tmp_path, content):
    path = tmp_path / "log.parquet"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"cannot read {path} as parquet: .*Restore the file"):
        load(section(), path)


@pytest.mark.slow
def test_a_file_of_20000_columns_is_read_or_refused_in_one_line(load, tmp_path):
    wide = {f"c{n}": pa.array([0]) for n in range(20_000)}
    path = tmp_path / "wide.parquet"
    table = pa.table({"s": ["a"], "i": ["b"], "t": [T], **wide})
    pq.write_table(table, path)
    columns = {"item": "i", "time": "t"}

    def dataset(session):
        layout = GenericLayout(session=session, **columns)
        return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)

    assert load(dataset("s"), path).events.height == 1
    with pytest.raises(DataError, match=r"'c16'\] and 19,983 more"):
        load(dataset("visit"), path)

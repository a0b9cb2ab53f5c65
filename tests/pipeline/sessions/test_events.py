"""Every row ends as an event or as a counted rejection, and nothing else happens to it."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.sessions.events import EARLIEST_TS, LATEST_TS, accept, read_events
from pipeline.sessions.raw import RawRows, Reason
from pipeline.study import DatasetFormat

TS = 1_659_304_800_000
ROW = st.tuples(
    st.sampled_from(["1", "2", "10", "ä", "😀"]),
    st.integers(TS, TS + 2)
    | st.sampled_from([EARLIEST_TS - 1, EARLIEST_TS, LATEST_TS - 1, LATEST_TS, -(2**70), 2**70]),
    st.sampled_from(["5", "6"]),
    st.sampled_from(["click", "order"]),
)


def _rows(table):
    rows = RawRows()
    for position, (session, ts, item, kind) in enumerate(table, start=1):
        rows.add("log", position, session=session, ts=ts, item=item, kind=kind)
    return rows


@given(table=st.lists(ROW, max_size=30), set_aside=st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_rows_are_accepted_unchanged_or_rejected_and_none_is_lost(table, set_aside):
    rows = _rows(table)
    for position in range(set_aside):
        rows.reject("log", position, reason=Reason.UNREADABLE, content="?")

    prepared = accept(rows)

    in_range = [row for row in table if EARLIEST_TS <= row[1] < LATEST_TS]
    kept = sorted(dict.fromkeys(in_range), key=lambda row: (row[0].encode(), row[1]))
    assert prepared.events.rows() == kept
    assert prepared.events.height + prepared.rejected.height == len(table) + set_aside
    counts = prepared.summary()["rejected_by_reason"]
    assert counts.get(Reason.UNREADABLE.value, 0) == set_aside
    assert counts.get(Reason.TIME_OUT_OF_RANGE.value, 0) == len(table) - len(in_range)
    assert counts.get(Reason.DUPLICATE.value, 0) == len(in_range) - len(kept)


def test_a_rejection_says_where_the_row_stands_and_what_it_said():
    prepared = accept(
        _rows([("1", TS, "5", "click"), ("1", 7, "6", "order"), ("1", TS, "5", "click")])
    )

    assert prepared.rejected.rows() == [
        ("log", 2, Reason.TIME_OUT_OF_RANGE.value, "1,7,6,order"),
        ("log", 3, Reason.DUPLICATE.value, f"1,{TS},5,click"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("2", TS, "5", "click"), id="session"),
        pytest.param(("1", TS + 1, "5", "click"), id="time"),
        pytest.param(("1", TS, "6", "click"), id="item"),
        pytest.param(("1", TS, "5", "order"), id="kind"),
    ],
)
def test_rows_that_differ_in_one_column_are_no_duplicates(other):
    assert accept(_rows([("1", TS, "5", "click"), other])).events.height == 2


def test_events_of_one_instant_keep_the_order_of_the_file():
    table = [("1", TS, item, "click") for item in ("9", "3", "7", "1")]

    assert accept(_rows(table)).events["item"].to_list() == ["9", "3", "7", "1"]


def test_the_summary_counts_kinds_and_reasons():
    table = [("1", TS, "5", "click"), ("1", TS, "5", "order"), ("2", TS, "5", "click")]

    summary = accept(_rows([*table, table[0], table[0], ("1", 0, "5", "click")])).summary()

    assert summary == {
        "events": 3,
        "sessions": 2,
        "items": 1,
        "kinds": {"click": 2, "order": 1},
        "rejected": 3,
        "rejected_by_reason": {Reason.DUPLICATE.value: 2, Reason.TIME_OUT_OF_RANGE.value: 1},
    }


def _log_with(tmp_path, good, bad):
    events = ",".join(f'{{"aid":{n},"ts":{TS},"type":"clicks"}}' for n in range(good))
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"session":1,"events":[{events}]}}\n' + "?\n" * bad)
    return path


@pytest.mark.parametrize(
    ("good", "bad", "limit", "refused"),
    [
        (19, 1, 0.05, False),  # 1 / 20 = 0.05: at the limit
        (18, 1, 0.05, True),  # 1 / 19 > 0.05
        (5, 0, 0.0, False),
        (5, 1, 0.0, True),
        (1, 9, 1.0, False),
    ],
)
def test_data_is_refused_above_the_accepted_share_of_bad_rows(tmp_path, good, bad, limit, refused):
    path = _log_with(tmp_path, good, bad)

    if not refused:
        prepared = read_events(path, DatasetFormat.OTTO, max_rejected_share=limit)
        assert (prepared.events.height, prepared.rejected.height) == (good, bad)
        return
    with pytest.raises(DataError) as caught:
        read_events(path, DatasetFormat.OTTO, max_rejected_share=limit)
    assert str(caught.value) == (
        f"{path}: {bad} of {good + bad} rows are unusable (not a row of this format: {bad}, first "
        f"in log.jsonl line 2); at most {limit:.1%} are accepted. Repair the data, or raise "
        "sessions.max_rejected_share"
    )


def test_real_otto_sample_loses_nothing(real_data):
    prepared = read_events(
        real_data / "otto" / "train.jsonl", DatasetFormat.OTTO, max_rejected_share=0.0
    )

    summary = prepared.summary()
    assert summary["kinds"] == {"click": 800, "cart": 52, "order": 10}
    assert (summary["sessions"], summary["items"], summary["rejected"]) == (20, 510, 0)


def test_real_jdata_sample_is_counted_to_the_last_row(real_data):
    folder = real_data / "jdata"

    prepared = read_events(folder, DatasetFormat.JDATA, max_rejected_share=0.001)

    summary = prepared.summary()
    assert summary["kinds"] == {"click": 27_160, "order": 2_163}
    assert set(summary["rejected_by_reason"]) == {Reason.OTHER_KIND.value, Reason.DUPLICATE.value}
    lines = [line for file in folder.glob("*.csv") for line in file.read_bytes().split(b"\n")]
    rows_in = sum(1 for line in lines if line.strip()) - 2  # a header each
    assert summary["events"] + summary["rejected"] == rows_in


def _mutate(content, rng):
    """A copy with one to eight wounds: bytes changed, lines cut short, pieces lost or doubled."""
    wounded = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(wounded)))
        length = int(rng.integers(1, 60))
        match rng.integers(5):
            case 0:
                wounded[at] ^= 1 << int(rng.integers(8))
            case 1:
                wounded[at] = int(rng.integers(256))
            case 2:
                del wounded[at : at + length]
            case 3:
                wounded[at:at] = wounded[at : at + length]
            case _:
                wounded[at : at + length] = rng.bytes(length)
    return bytes(wounded)


def _mutants_that_are_read(tmp_path, content, dataset_format, n):
    """Read ``n`` wounded copies; what is not DataError fails the test. Events read, by mutant."""
    rng = np.random.default_rng(20250922)
    path, heights = tmp_path / "log", []
    for _ in range(n):
        path.write_bytes(_mutate(content, rng))
        with suppress(DataError):
            prepared = read_events(path, dataset_format, max_rejected_share=1.0)
            heights.append(prepared.events.height)
    return heights


def test_wounded_copies_of_the_otto_sample_never_break_the_reader(tmp_path, real_data):
    content = (real_data / "otto" / "train.jsonl").read_bytes()
    largest = max(line.count(b'"aid"') for line in content.split(b"\n"))

    heights = _mutants_that_are_read(tmp_path, content, DatasetFormat.OTTO, 120)

    assert len(heights) == 120
    # a wound spoils the line it is in, or two if it takes the newline between them
    assert min(heights) >= 862 - 8 * 2 * largest
    assert min(heights) < 862


@pytest.mark.parametrize("file", ["train.csv", "test_new_item.csv"])
def test_wounded_copies_of_the_jdata_sample_never_break_the_reader(tmp_path, real_data, file):
    content = (real_data / "jdata" / file).read_bytes()[:8_000]  # some 140 rows

    heights = _mutants_that_are_read(tmp_path, content, DatasetFormat.JDATA, 80)

    assert len(heights) > 60  # the others were hit in the header
    assert max(heights) > 100

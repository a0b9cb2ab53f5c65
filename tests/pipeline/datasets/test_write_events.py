"""Events are the same bytes by whatever pieces they were made, and those of an obvious twin."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import EVENTS, REJECTED, EventType
from pipeline.core.errors import DataError
from pipeline.datasets import ingest_events as writing
from pipeline.datasets import partition_sort
from pipeline.datasets.ingest_events import write_events
from pipeline.datasets.raw_rows import Reason
from pipeline.study import (
    DatasetConfig,
    DatasetFormat,
    Duplicates,
    Expected,
    GenericLayout,
    IdType,
)

TS = 1_659_304_800_000
HOUR = 3_600_000
WORDS = {"c": EventType.CLICK, "a": EventType.CART, "o": EventType.ORDER, "x": None}
NUMBERS = [1, 2, 3, 7, 64]
OUTPUTS = ["events.parquet", "rejected.parquet", "summary.json"]
OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")


def table_of(ids=IdType.INTEGER, *, users=False, **rest):
    """The section of CSV files with the columns session (or user), ts, item and event_type."""
    name = {"user": "session"} if users else {"session": "session"}
    layout = GenericLayout(
        **name, item="item", time="ts", event_type="event_type", event_types=WORDS, ids=ids
    )
    return DatasetConfig(format=DatasetFormat.GENERIC, path="log", generic=layout, **rest)


def write_csv(folder, files):
    """Rows of session, ts, item and event_type's letter, one list a file."""
    folder.mkdir()
    for number, rows in enumerate(files):
        lines = [",".join(map(str, row)) + "\n" for row in rows]
        (folder / f"{number}.csv").write_text("session,ts,item,event_type\n" + "".join(lines))
    return folder


def made(dataset, source, folder, *, partitions=None, on_disk=False, share=1.0):
    """What ``write_events`` leaves in a folder of its own: bytes by name of the file."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        if on_disk:
            patch.setattr(writing, "_EVENTS_BYTES_IN_MEMORY", 0)
        write_events(dataset, source, folder, max_rejected_share=share, partitions=partitions)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def frames(folder):
    found = [pl.read_parquet(folder / f"{name}.parquet") for name in ("events", "rejected")]
    EVENTS.validate(found[0])
    REJECTED.validate(found[1])
    return [frame.rows() for frame in found]


def twin(files, *, keep=False, gap_ms=None):
    """Events and rejections as plain Python makes them of rows whose ids have their types."""
    rejected, sessions = [], {}
    for number, rows in enumerate(files):
        for line, (session, ts, item, word) in enumerate(rows, start=2):  # behind the header
            if WORDS[word] is None:
                content = f"{session},{ts},{item},{word}"
                rejected.append(
                    (f"{number}.csv", line, Reason.UNUSED_EVENT_TYPE, "event_type", content)
                )
            else:
                event = (session, ts, item, WORDS[word], number)
                sessions.setdefault(session, []).append(event)
    order = sorted(
        sessions, key=lambda name: (int(partition_sort.hash_of(pl.Series([name]))[0]), name)
    )
    events = []
    for name in order:
        said, visit, before = set(), 1, None
        for session, ts, item, event_type, number in sorted(
            sessions[name], key=lambda event: event[1]
        ):
            if (ts, item, event_type) in said and not keep:
                content = f"{session},{ts},{item},{event_type}"
                rejected.append((f"{number}.csv", None, Reason.DUPLICATE, None, content))
                continue
            said.add((ts, item, event_type))
            visit += gap_ms is not None and before is not None and ts - before > gap_ms
            before = ts
            shown = session if gap_ms is None else f"{session}-{visit}"
            events.append((shown, ts, item, event_type, number))
    return [events, rejected]


def random_log(rng, *, texts):
    """24,000 rows in three files: sessions interleaved and split, ties, repeats, other event_types."""
    session, item = rng.integers(-900, 900, 24_000), rng.integers(0, 40, 24_000)
    ts, event_type = (
        np.sort(rng.integers(TS, TS + 90 * HOUR, 24_000)),
        rng.choice([*"cccccaox"], 24_000),
    )
    rows = list(zip(session.tolist(), ts.tolist(), item.tolist(), event_type.tolist(), strict=True))
    rows[1::20] = rows[0::20]  # one in twenty says the same as the row before it
    if texts:
        rows = [
            (f"s{session}ä", ts, f"i-{item}", event_type) for session, ts, item, event_type in rows
        ]
    # The last file goes back in time: it holds the first quarter.
    return [rows[6_000:13_000], rows[13_000:], rows[:6_000]]


@pytest.mark.slow
@pytest.mark.parametrize("ids", IdType)
def test_the_same_bytes_for_any_partitions_in_memory_and_on_disk(tmp_path, ids):
    files = random_log(np.random.default_rng(1), texts=ids is IdType.TEXT)
    source, dataset = write_csv(tmp_path / "log", files), table_of(ids)

    first = made(dataset, source, tmp_path / "out")

    assert sorted(first) == OUTPUTS
    assert frames(tmp_path / "out") == twin(files)
    for number in NUMBERS:
        for on_disk in (False, True):
            folder = tmp_path / f"{number}-{on_disk}"
            assert made(dataset, source, folder, partitions=number, on_disk=on_disk) == first


ROW = st.tuples(
    st.sampled_from([0, 1, -1, 2**63 - 1]),
    st.sampled_from([TS, TS + 1, TS + HOUR, TS + HOUR + 1]),
    st.integers(5, 6),
    st.sampled_from([*WORDS]),
)


@pytest.mark.slow
@given(
    files=st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=3).filter(
        lambda files: any(row[3] != "x" for rows in files for row in rows)
    ),
    texts=st.booleans(),
    what=st.fixed_dictionaries({"duplicates": st.sampled_from(Duplicates), "users": st.booleans()}),
    how=st.fixed_dictionaries({"partitions": st.sampled_from(NUMBERS), "on_disk": st.booleans()}),
)
@settings(max_examples=40)
def test_events_are_those_of_the_obvious_twin(tmp_path_factory, files, texts, what, how):
    folder, ids = tmp_path_factory.mktemp("run"), IdType.TEXT if texts else IdType.INTEGER
    if texts:
        files = [[(f"u{user}", ts, str(item), k) for user, ts, item, k in rows] for rows in files]
    dataset = table_of(ids, inactivity_minutes=60.0, **what)
    source = write_csv(folder / "log", files)

    made(dataset, source, folder / "out", **how)

    keep, gap_ms = what["duplicates"] is Duplicates.KEEP, HOUR if what["users"] else None
    assert frames(folder / "out") == twin(files, keep=keep, gap_ms=gap_ms)


def test_texts_that_share_a_hash_stay_apart(tmp_path, monkeypatch):
    # Four hashes, spread over the partitions, for some 1,800 names
    coarse = {"0": 0, "1": 1, "2": 2**63, "3": 2**64 - 1}
    monkeypatch.setattr(
        partition_sort,
        "hash_of",
        lambda names: np.array([coarse.get(name[-2], 1) for name in names], dtype=np.uint64),
    )
    files = random_log(np.random.default_rng(2), texts=True)
    source, dataset = write_csv(tmp_path / "log", files), table_of(IdType.TEXT)

    runs = [
        made(dataset, source, tmp_path / f"{number}", partitions=number, on_disk=number > 2)
        for number in NUMBERS
    ]

    assert frames(tmp_path / "1") == twin(files)
    assert runs == [runs[0]] * len(NUMBERS)


def otto_lines(*sessions):
    """Lines of OTTO's format: a session's name and its events' (item, time) each."""
    return "".join(
        json.dumps(
            {
                "session": session,
                "events": [{"aid": aid, "ts": TS + ts, "type": "clicks"} for aid, ts in events],
            }
        )
        + "\n"
        for session, *events in sessions
    )


def test_a_session_in_several_lines_and_files_is_one_in_order_of_time(tmp_path):
    source = tmp_path / "log"
    source.mkdir()
    (source / "a.jsonl").write_text(otto_lines((7, (1, 50), (2, 10)), (8, (1, 0)), (7, (3, 40))))
    (source / "b.jsonl").write_text("")
    (source / "c.jsonl").write_text(otto_lines((7, (4, 10), (2, 10), (5, 5))))

    made(OTTO, source, tmp_path / "out")

    events, rejected = frames(tmp_path / "out")
    # item 2 before item 4, both at 10: file a is read before file c, which is the third
    expected = [(5, 5, 2), (2, 10, 0), (4, 10, 2), (3, 40, 0), (1, 50, 0)]
    assert [(item, ts - TS, file) for session, ts, item, _, file in events if session == 7] == (
        expected
    )
    assert rejected == [("c.jsonl", None, Reason.DUPLICATE, None, f"7,{TS + 10},2,click")]
    files = read_json(tmp_path / "out" / "summary.json")["files"]
    assert list(files.items()) == [("a.jsonl", 4), ("b.jsonl", 0), ("c.jsonl", 3)]


def test_the_summary_is_returned_and_written(tmp_path):
    source = write_csv(tmp_path / "log", [[(1, TS, 5, "c"), (1, TS, 5, "x"), (1, TS, 5, "c")]])
    (tmp_path / "out").mkdir()

    found = write_events(table_of(), source, tmp_path / "out", max_rejected_share=0.5)

    assert found == read_json(tmp_path / "out" / "summary.json")
    assert found == {
        "events": 1,
        "sessions": 1,
        "event_types": {"click": 1, "cart": 0, "order": 0},
        "first_ts": TS,
        "last_ts": TS,
        "files": {"0.csv": 2},
        "has_times": True,
        "rejected": 2,
        "rejected_by_reason": {Reason.DUPLICATE: 1, Reason.UNUSED_EVENT_TYPE: 1},
    }


def test_the_content_of_a_duplicate_is_kept_up_to_200_characters(tmp_path):
    row = ("s" * 150, TS, "i" * 150, "c")
    source = write_csv(tmp_path / "log", [[row, row]])

    made(table_of(IdType.TEXT), source, tmp_path / "out")

    said = f"{'s' * 150},{TS},{'i' * 150},click"
    assert frames(tmp_path / "out")[1] == [("0.csv", None, Reason.DUPLICATE, None, said[:200])]


GOOD = otto_lines((1, *((n, n) for n in range(19))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"has no usable event \(no rows at all\)\. Check dataset\.format"),
        ("\n\n", r"has no usable event \(no rows at all\)\. Check dataset\.format"),
        (GOOD + "?\n?\n", r"2 of 21 rows are rejected \(not a row of this format: 2, first in log"),
        ("?\n" * 10_000 + GOOD, r"10000 of the first 10019 rows are rejected"),
        (otto_lines((1, (5, -TS), (5, 0))), r"1 of 2 rows are rejected \(time outside"),
    ],
    ids=["blank", "blank-lines", "above-the-limit", "hopeless", "times"],
)
def test_data_that_cannot_be_used_is_refused(tmp_path, text, words):
    source = tmp_path / "log"
    source.write_text(text)

    with pytest.raises(DataError, match=words):
        made(OTTO, source, tmp_path / "out", share=0.05)

    assert not (tmp_path / "out" / "summary.json").exists()


def test_data_at_the_accepted_share_is_used(tmp_path):
    source = tmp_path / "log"
    source.write_text(GOOD + "?\n")  # 1 / 20 = 0.05

    made(OTTO, source, tmp_path / "out", share=0.05)

    assert [len(rows) for rows in frames(tmp_path / "out")] == [19, 1]


def test_data_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*log: No such file or directory"):
        made(OTTO, tmp_path / "log", tmp_path / "out")


def test_data_without_the_expected_counts_is_refused(tmp_path):
    source = write_csv(tmp_path / "log", [[(1, TS, 5, "c"), (1, TS, 5, "c"), (1, TS, 5, "o")]])
    right = Expected(rows=3, sessions=1, clicks=2, carts=0, orders=1)

    made(table_of(expected=right), source, tmp_path / "right")

    with pytest.raises(DataError, match=r"rows: expected 4, got 3; clicks: expected 3, got 2\."):
        made(table_of(expected=Expected(rows=4, clicks=3)), source, tmp_path / "wrong")

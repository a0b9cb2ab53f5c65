"""Events are put in one order, whatever the number of partitions and the room in memory."""

from contextlib import contextmanager
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EVENT_TYPE, EVENTS
from pipeline.datasets import partition_sort
from pipeline.datasets.partition_sort import (
    Partitions,
    SessionRuns,
    duplicate_mask,
    hash_of,
    sort_by_time,
)

INTEGERS = st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), max_size=30)
TEXTS = st.lists(st.sampled_from(["a", "b", "aa", "bb", "ä", "😀", "Z", "a-1"]), max_size=30)
NUMBERS = [1, 2, 3, 7, 64]


def events(rows, ids=pl.Int64):
    """Rows of session, time and item as the frame the partitions hold; item defaults to the row."""
    full = [
        (session, ts, *(rest or (n,)), "click", 0) for n, (session, ts, *rest) in enumerate(rows)
    ]
    return pl.DataFrame(full, schema=EVENTS.schema | {"session": ids}, orient="row")


def ids_of(names):
    return pl.String if any(isinstance(name, str) for name in names) else pl.Int64


def sorted_rows(names, hash_one):
    """The slow, obvious order: by hash, then by name, then as they came."""
    return sorted(range(len(names)), key=lambda row: (hash_one(names[row]), names[row]))


def hash_one(name):
    return int(hash_of(pl.Series([name]))[0])


@contextmanager
def colliding(hash_of_name):
    """Every hash in the module replaced by a coarse one, so that texts share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            partition_sort,
            "hash_of",
            lambda names: np.array([hash_of_name(name) for name in names], dtype=np.uint64),
        )
        yield


@given(number=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50)
def test_a_whole_number_is_hashed_by_the_finaliser_of_splitmix64(number):
    # Steele, Lea & Flood (2014), mix64variant13: each step can be undone, so no two numbers collide.
    x = number % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64

    assert hash_one(number) == x ^ (x >> 31)


@given(names=TEXTS)
@settings(max_examples=50)
def test_the_hash_of_a_text_does_not_depend_on_its_company(names):
    hashes = hash_of(pl.Series(names, dtype=pl.String))

    assert hashes.tolist() == [hash_one(name) for name in names]


@pytest.mark.slow
@given(names=INTEGERS | TEXTS)
@settings(max_examples=100)
def test_rows_are_ordered_by_hash_and_rows_of_a_session_keep_theirs(names):
    runs = SessionRuns.by_hash(pl.Series(names, dtype=ids_of(names)))

    assert rows_of(runs, len(names)) == sorted_rows(names, hash_one)
    each = zip(runs.start.tolist(), runs.length.tolist(), strict=True)
    found = [{names[row] for row in range(start, start + length)} for start, length in each]
    assert [{hash_one(name) for name in run} for run in found] == [{h} for h in runs.hash.tolist()]


@given(names=TEXTS)
@settings(max_examples=50)
def test_texts_that_share_a_hash_are_ordered_by_name(names):
    with colliding(len):
        runs = SessionRuns.by_hash(pl.Series(names, dtype=pl.String))

    assert rows_of(runs, len(names)) == sorted_rows(names, len)


def rows_of(runs, number):
    """The order in which the runs take rows."""
    return runs.take(pl.DataFrame({"row": range(number)}))["row"].to_list()


def through_partitions(folder, pieces, number, memory_bytes):
    """The events of all partitions, one after another."""
    parts = Partitions(number, folder, memory_bytes=memory_bytes)
    for piece in pieces:
        parts.add(piece)
    return [part() for part in parts.close()]


@pytest.mark.slow
@pytest.mark.parametrize("memory_bytes", [0, 200, 1 << 30], ids=["disk", "both", "memory"])
@given(
    pieces=st.lists(INTEGERS, max_size=3) | st.lists(TEXTS, max_size=3),
    number=st.sampled_from(NUMBERS),
    coarse=st.booleans(),
)
@settings(max_examples=20)
def test_partitions_one_after_another_are_all_events_in_order(
    tmp_path_factory, memory_bytes, pieces, number, coarse
):
    names = [name for piece in pieces for name in piece]
    ids, folder = ids_of(names), tmp_path_factory.mktemp("work") / "spill"
    whole = events([(name, 0) for name in names], ids)
    cuts = np.cumsum([0, *map(len, pieces)]).tolist()
    frames = [whole[a:b] for a, b in pairwise(cuts)]

    if coarse and ids == pl.String:
        with colliding(len):
            found = through_partitions(folder, frames, number, memory_bytes)
        expected = sorted_rows(names, len)
    else:
        found = through_partitions(folder, frames, number, memory_bytes)
        expected = sorted_rows(names, hash_one)

    assert len(found) == number
    assert pl.concat(found).rows() == whole[expected].rows()
    owners = [set(part["session"]) for part in found]
    assert sum(map(len, owners)) == len(set(names))  # no session is in two partitions
    assert list(folder.glob("*")) == []


@pytest.mark.parametrize(("memory_bytes", "files"), [(0, 3 * 2), (1 << 30, 0)])
def test_events_beyond_the_memory_limit_spill_to_disk(tmp_path, memory_bytes, files):
    parts = Partitions(3, tmp_path / "spill", memory_bytes=memory_bytes)

    for name in (1, 2):
        parts.add(events([(name, 0)]))

    assert len(list(tmp_path.glob("spill/*"))) == files  # a piece spills one file a partition


def test_without_any_event_every_partition_is_empty(tmp_path):
    found = through_partitions(tmp_path, [], 3, 0)

    assert [part.rows() for part in found] == [[], [], []]
    assert pl.concat(found).columns == list(EVENTS.columns)


SESSIONS_TOGETHER = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 1), st.sampled_from("co")),
    max_size=30,
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


@given(rows=SESSIONS_TOGETHER)
@settings(max_examples=100)
def test_each_session_is_put_in_order_of_time_and_ties_keep_theirs(rows):
    frame = events([(session, ts) for session, ts, *_ in rows])

    # Python's sort is stable; groupby leaves the sessions where they stand.
    sessions = [list(group) for _, group in groupby(frame.rows(), key=lambda row: row[0])]
    expected = [row for session in sessions for row in sorted(session, key=lambda row: row[1])]
    assert sort_by_time(frame).rows() == expected


def test_a_session_is_put_in_order_without_touching_its_neighbours():
    frame = events([(7, 9), (7, 9), (3, 5), (3, 2), (3, 5), (3, 2), (8, 1)])

    assert sort_by_time(frame)["item"].to_list() == [0, 1, 3, 5, 2, 4, 6]


@given(rows=SESSIONS_TOGETHER)
@settings(max_examples=100)
def test_a_row_is_repeated_if_and_only_if_an_earlier_one_says_the_same(rows):
    said = [
        (session, ts, item, {"c": "click", "o": "order"}[event_type])
        for session, ts, item, event_type in sorted(rows, key=lambda row: row[:2])
    ]
    schema = {"session": pl.Int64, "ts": pl.Int64, "item": pl.Int64, "event_type": EVENT_TYPE}

    found = duplicate_mask(pl.DataFrame(said, schema=schema, orient="row"))

    assert found.tolist() == [row in said[:place] for place, row in enumerate(said)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1, 5, 10), (1, 5, 20), (1, 5, 10)], [False, False, True]),
        ([(1, 5, 10), (1, 5, 10), (1, 5, 10)], [False, True, True]),
        ([(1, 5, 10), (1, 6, 10)], [False, False]),
        ([(1, 5, 10), (2, 5, 10)], [False, False]),
        ([(1, 5, 10)], [False]),
        ([], []),
    ],
    ids=["A-B-A", "three-times", "later", "in-another-session", "alone", "nothing"],
)
def test_the_second_and_later_copies_are_the_repeated_ones(rows, expected):
    assert duplicate_mask(events(rows)).tolist() == expected

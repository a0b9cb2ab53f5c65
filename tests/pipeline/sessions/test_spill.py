"""Labelled clicks of whole sessions: by hand, whatever the pieces, in memory and on disk."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EVENT_TYPE
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions import spill
from pipeline.sessions.item_index import ItemIndex
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.spill import (
    SpillBuffer,
    SpilledSessions,
    iter_session_chunks,
    label_sessions,
)
from pipeline.sessions.temporal_split import Cuts
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    SessionsConfig,
    SyntheticConfig,
)
from pipeline.synthetic.generate_log import generate_log

OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
C, A, O = "click", "cart", "order"  # noqa: E741


def events_of(rows):
    """Events from (session, ts, item, event_type, file)."""
    frame = pl.DataFrame(rows, schema=["session", "ts", "item", "event_type", "file"], orient="row")
    return frame.with_columns(pl.col("event_type").cast(EVENT_TYPE), pl.col("file").cast(pl.UInt16))


def opened(frame, path, rows_a_group=1000):
    pq.write_table(frame.to_arrow(), path, row_group_size=rows_a_group)
    return pq.ParquetFile(path)


def stage(rows, folder, *, cuts=None, test_files=(), **keys):
    """(sessions, clicks) of events, as rows."""
    frame = events_of(rows)
    codes = ItemIndex.of(opened(frame, folder / "events.parquet"))
    rules = rules_of(SessionsConfig(**keys), OTTO)
    staged = label_sessions(frame, codes, rules, cuts, list(test_files))
    return staged.sessions.rows(), staged.clicks.rows()


ROWS = [
    (9, 10, 500, C, 0),
    (9, 20, 502, C, 0),
    (9, 30, 500, A, 0),
    (9, 40, 502, O, 1),
    (4, 15, 501, A, 1),
    (7, 12, 501, C, 0),
    (7, 99, 501, O, 0),
]


def test_sessions_keep_their_span_and_number_of_clicks_and_clicks_their_labels(tmp_path):
    sessions, clicks = stage(ROWS, tmp_path, test_files=[1])

    assert sessions == [
        (9, 10, 40, False, 2),  # the file of the first event counts
        (4, 15, 15, True, 0),
        (7, 12, 99, False, 1),
    ]
    # code, ts, ordered, carted; the code of 500 is 0
    assert clicks == [(0, 10, False, True), (2, 20, True, False), (1, 12, True, False)]


def test_trimmed_sessions_end_before_the_cut_and_orders_beyond_it_label_nothing(tmp_path):
    cuts = Cuts(validation_from=35, test_from=90)

    sessions, clicks = stage(ROWS, tmp_path, cuts=cuts, boundary_sessions=BoundaryPolicy.TRIM)

    assert sessions == [(9, 10, 30, False, 2), (4, 15, 15, False, 0), (7, 12, 12, False, 1)]
    assert clicks == [(0, 10, False, True), (2, 20, False, False), (1, 12, False, False)]


def test_a_window_holds_for_orders_and_not_for_carts(tmp_path):
    _, clicks = stage(ROWS, tmp_path, order_window_minutes=19 / 60_000)

    # the order of 502 follows after 20 ms, the cart of 500 after 20 ms, the order of 501 after 87
    assert [click[2:] for click in clicks] == [(False, True), (False, False), (False, False)]


def test_chosen_clicks_are_counted_and_timed_by_session():
    staged = SpilledSessions(
        pl.DataFrame({"clicks": [3, 0, 2]}),
        pl.DataFrame({"ts": [10, 20, 30, 40, 50]}),
    )
    chosen = np.array([False, True, True, False, False])

    assert staged.number.tolist() == [0, 0, 0, 2, 2]
    assert staged.count(chosen).tolist() == [2, 0, 0]
    first, last = staged.span(chosen)
    assert (first.tolist(), last.tolist()) == ([20, 0, 0], [30, 0, 0])


@given(lengths=st.lists(st.integers(1, 7), max_size=12), rows_a_group=st.integers(1, 9))
@settings(max_examples=60)
def test_pieces_hold_whole_sessions_and_nothing_is_lost(lengths, rows_a_group, tmp_path_factory):
    rows = [(n % 3 - n, place, 1, C, 0) for n, size in enumerate(lengths) for place in range(size)]
    frame = events_of(rows or ROWS).head(len(rows))
    path = tmp_path_factory.getbasetemp() / "whole.parquet"

    pieces = list(iter_session_chunks(opened(frame, path, rows_a_group)))

    assert [row for piece in pieces for row in piece.rows()] == rows
    seen = [set(piece["session"]) for piece in pieces]
    assert sum(map(len, seen)) == len({row[0] for row in rows})
    assert all(piece.height for piece in pieces)


def staged_piece(n):
    return SpilledSessions(
        pl.DataFrame({"session": [f"ä-{n}"], "clicks": [n]}),
        pl.DataFrame({"code": np.arange(n, dtype=np.int32), "ts": np.arange(n) + n}),
    )


@pytest.mark.parametrize(
    ("limit", "files"),
    [
        pytest.param(1 << 20, 0, id="all-in-memory"),
        pytest.param(0, 2 * 5, id="all-on-disk"),
        pytest.param(80, 2 * 4, id="the-first-in-memory"),  # an item is 4 + 8 bytes
    ],
)
def test_pieces_come_back_in_their_order_wherever_they_wait(tmp_path, monkeypatch, limit, files):
    monkeypatch.setattr(spill, "_BYTES_IN_MEMORY", limit)
    pieces = [staged_piece(n) for n in (4, 6, 5, 7, 9)]
    kept = SpillBuffer(tmp_path / "stage")

    for piece in pieces:
        kept.add(piece)

    assert len(list(tmp_path.glob("stage/*"))) == files
    for _ in range(2):  # they are gone through several times
        found = [give() for give in kept]
        assert all(a.sessions.equals(b.sessions) for a, b in zip(found, pieces, strict=True))
        assert all(a.clicks.equals(b.clicks) for a, b in zip(found, pieces, strict=True))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    generate_log(SyntheticConfig(items=60, users=50, sessions=600, days=10), folder / "log.jsonl")
    (folder / "events").mkdir()
    write_events(OTTO, folder / "log.jsonl", folder / "events", max_rejected_share=0.0)
    return folder / "events"


@pytest.mark.parametrize("boundary_sessions", [BoundaryPolicy.DROP, BoundaryPolicy.TRIM])
def test_spilled_sessions_give_the_same_bytes(log, tmp_path, monkeypatch, boundary_sessions):
    frame = pl.read_parquet(log / "events.parquet")
    (tmp_path / "events").mkdir()
    opened(frame, tmp_path / "events" / "events.parquet", rows_a_group=500)
    (tmp_path / "events" / "summary.json").write_bytes((log / "summary.json").read_bytes())
    rules = rules_of(
        SessionsConfig(test_days=2.0, validation_days=1.0, boundary_sessions=boundary_sessions),
        OTTO,
    )
    written = {}
    for name, events, limit in (
        ("memory", log, 1 << 29),
        ("disk", tmp_path / "events", 0),
        ("some", tmp_path / "events", 50_000),
    ):
        monkeypatch.setattr(spill, "_BYTES_IN_MEMORY", limit)
        folder = tmp_path / name
        folder.mkdir()
        write_sessions(events, folder, rules)
        written[name] = {file.name: file.read_bytes() for file in folder.iterdir()}

    assert set(written["memory"]) == {
        "items.parquet",
        "sessions.parquet",
        "summary.json",
        "tokens.safetensors",  # and no folder of pieces
    }
    assert written["disk"] == written["memory"]
    assert written["some"] == written["memory"]

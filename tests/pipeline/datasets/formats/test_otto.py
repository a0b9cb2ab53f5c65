"""OTTO's JSON lines: events by hand, and every bad line counted under its reason."""

import gzip
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.datasets.formats.otto import _digits, _read_plain, otto
from pipeline.datasets.io.blocks import line_ends
from pipeline.datasets.io.thread_map import ordered_thread_map
from pipeline.datasets.raw_rows import Reason, validate_rows

GOOD = b'{"session":1,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"}]}'
NEXT = b'{"session":2,"events":[{"aid":6,"ts":1659304800026,"type":"orders"}]}'
EVENTS = [(1, 1659304800025, 5, "click"), (2, 1659304800026, 6, "order")]
DEEP = 100_000


def _event(**changes):
    """A line with one event, good but for the changes; ``...`` leaves a field out."""
    event = {"aid": 7, "ts": 1659304800030, "type": "clicks", **changes}
    return _line(events=[{name: value for name, value in event.items() if value is not ...}])


def _line(**changes):
    line = {"session": 3, "events": [], **changes}
    return json.dumps({name: value for name, value in line.items() if value is not ...}).encode()


def _nested(depth):
    return b"[" * depth + b"]" * depth


def _judged(path):
    """Events and rejections of a path, read in threads as a study reads it."""
    pieces = [
        validate_rows(rows, file.event_types)
        for file in otto(path)
        for rows in ordered_thread_map(file.tasks(), workers=2)
    ]
    return tuple(pl.concat(part) for part in zip(*pieces, strict=True))


def test_every_event_keeps_its_session_item_time_and_kind(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"session":11,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"},'
        '{"aid":5,"ts":1659304900000,"type":"carts"},{"aid":5,"ts":1659304900000,"type":"orders"}'
        ']}\n{"session":-12,"events":[]}\n'
        '{"session":0,"events":[{"aid":0,"ts":1659304800000,"type":"clicks"}]}\n'
    )

    events, rejected = _judged(path)

    assert events.rows() == [
        (11, 1659304800025, 5, "click"),
        (11, 1659304900000, 5, "cart"),
        (11, 1659304900000, 5, "order"),
        (0, 1659304800000, 0, "click"),
    ]
    assert rejected.is_empty()


def test_the_real_sample_has_the_counts_of_its_sources(real_data):
    events, rejected = _judged(real_data / "otto" / "train.jsonl")

    assert events["session"].n_unique() == 20
    assert events["item"].n_unique() == 510
    assert dict(events["event_type"].value_counts().rows()) == {
        "click": 800,
        "cart": 52,
        "order": 10,
    }
    assert events.rows()[:2] == [
        (0, 1659304800025, 1517085, "click"),
        (0, 1659304904511, 1563459, "click"),
    ]
    assert rejected.is_empty()


def test_a_folder_is_read_in_order_of_name_and_other_files_are_left_alone(tmp_path):
    files = {"b.jsonl": NEXT, "a.jsonl.gz": gzip.compress(GOOD), "notes.txt": b"not a session"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    assert [file.path.name for file in otto(tmp_path)] == ["a.jsonl.gz", "b.jsonl"]
    events, rejected = _judged(tmp_path)
    assert events.rows() == EVENTS
    assert rejected.is_empty()


def test_a_folder_without_json_lines_is_refused(tmp_path):
    (tmp_path / "events.csv").write_bytes(GOOD)

    with pytest.raises(
        DataError, match=r"has no file that ends in \.jsonl \(compressed: also \.gz"
    ):
        otto(tmp_path)


LINES = [GOOD, NEXT]
SPELLINGS = {
    "plain": b"\n".join(LINES) + b"\n",
    "no-final-newline": b"\n".join(LINES),
    "crlf": b"\r\n".join(LINES) + b"\r\n",
    "byte-order-mark": b"\xef\xbb\xbf" + b"\n".join(LINES),
    "blank-lines": b"\n\n  \n".join(LINES) + b"\n\n\r\n\t\n",
    "spaces-as-python-writes": b"\n".join(json.dumps(json.loads(line)).encode() for line in LINES),
    "spaces-in-the-second-line": GOOD + b"\n" + json.dumps(json.loads(NEXT)).encode(),
    "indented-by-tabs": b"\n\t".join([b"", *LINES]).replace(b",", b",\t"),
    "other-order-of-fields": b"\n".join(
        json.dumps(json.loads(line), sort_keys=True).encode() for line in LINES
    ),
    "more-fields": b"\n".join(LINES).replace(b'{"aid"', b'{"price": 1.5, "aid"'),
    "escaped-names": b"\n".join(LINES).replace(b"aid", b"\\u0061id").replace(b"cl", b"c\\u006c"),
}


@pytest.mark.parametrize("content", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".zst", lambda data: pa.Codec("zstd").compress(data, asbytes=True)),
    ],
    ids=["uncompressed", "gz", "zst"],
)
def test_how_a_file_is_written_makes_no_difference(tmp_path, content, suffix, pack):
    path = tmp_path / f"log.jsonl{suffix}"
    path.write_bytes(pack(content))

    events, rejected = _judged(path)

    assert events.rows() == EVENTS
    assert rejected.is_empty()


MISSING, WRONG, UNREADABLE = Reason.MISSING_FIELD, Reason.WRONG_TYPE, Reason.UNREADABLE
NOT_TEXT, UNKNOWN, OUT_OF_RANGE = (
    Reason.NOT_TEXT,
    Reason.UNKNOWN_EVENT_TYPE,
    Reason.TIME_OUT_OF_RANGE,
)
BAD_LINES = {
    "truncated-line": (GOOD[:40], UNREADABLE),
    "no-json": (b"session 3 clicked 7", UNREADABLE),
    "two-objects-in-a-line": (GOOD + NEXT, UNREADABLE),
    "single-quotes": (b"{'session': 3, 'events': []}", UNREADABLE),
    "comma-behind-the-last-event": (GOOD.replace(b"}]", b"},]"), UNREADABLE),
    "leading-zero": (GOOD.replace(b"5,", b"05,"), UNREADABLE),
    "bare-carriage-return": (_event().replace(b"clicks", b"cli\rcks"), UNREADABLE),
    "zero-bytes": (b"\x00" * 30, UNREADABLE),
    "byte-order-mark-within": (b"\xef\xbb\xbf" + GOOD, UNREADABLE),
    "bad-utf-8": (_event().replace(b"clicks", b"cli\xffcks"), NOT_TEXT),
    "utf-16": ("\ufeff".encode("utf-16") + b"{}", NOT_TEXT),
    "deep-nesting": (_nested(DEEP), UNREADABLE),
    "deep-nesting-cut": (b"[" * DEEP, UNREADABLE),
    "deep-nesting-in-an-item": (_event(aid="@").replace(b'"@"', _nested(DEEP)), UNREADABLE),
    "deep-nesting-in-a-event_type": (_event(type="@").replace(b'"@"', _nested(DEEP)), UNREADABLE),
    "endless-integer": (_event(ts="@").replace(b'"@"', b"9" * 5000), UNREADABLE),
    "a-list-for-a-session": (b"[1, 2]", MISSING),
    "a-number-for-a-session": (b"17", MISSING),
    "null-for-a-session": (b"null", MISSING),
    "no-session": (_line(session=...), MISSING),
    "no-events": (_line(events=...), MISSING),
    "names-in-capitals": (GOOD.replace(b"session", b"SESSION"), MISSING),
    "null-session": (_line(session=None), WRONG),
    "boolean-session": (_line(session=True), WRONG),
    "fractional-session": (_line(session=3.0), WRONG),
    "text-session": (_line(session="3"), WRONG),
    "session-2**63": (_line(session=2**63), WRONG),
    "null-events": (_line(events=None), WRONG),
    "object-for-events": (_line(events={"aid": 1}), WRONG),
    "text-for-an-event": (_line(events=["clicks"]), MISSING),
    "half-a-surrogate-pair-for-an-event": (_line(events=["\udfff"]), MISSING),
    "no-item": (_event(aid=...), MISSING),
    "no-time": (_event(ts=...), MISSING),
    "no-event_type": (_event(type=...), MISSING),
    "null-item": (_event(aid=None), MISSING),
    "null-time": (_event(ts=None), MISSING),
    "null-event_type": (_event(type=None), MISSING),
    "boolean-item": (_event(aid=True), WRONG),
    "list-item": (_event(aid=[7]), WRONG),
    "text-item": (_event(aid="7"), WRONG),
    "item--2**63-1": (_event(aid=-(2**63) - 1), WRONG),
    "half-a-surrogate-pair-for-item": (_event(aid="a\ud83d"), WRONG),
    "exponent-item": (GOOD.replace(b"5,", b"1e3,"), WRONG),
    "text-time": (_event(ts="1659304800030"), WRONG),
    "boolean-time": (_event(ts=True), WRONG),
    "time-1e30": (_event(ts=1e30), WRONG),
    "time-not-a-number": (_event(ts=float("nan")), WRONG),
    "negative-time": (_event(ts=-1), OUT_OF_RANGE),
    "time-in-seconds": (_event(ts=1659304800), OUT_OF_RANGE),
    "time-before-2000": (_event(ts=946_684_799_999), OUT_OF_RANGE),
    "time-in-2100": (_event(ts=4_102_444_800_000), OUT_OF_RANGE),
    "time-2**70": (_event(ts=2**70), OUT_OF_RANGE),
    "time--2**70": (_event(ts=-(2**70)), OUT_OF_RANGE),
    "unknown-event_type": (_event(type="views"), UNKNOWN),
    "our-own-word-for-a-event_type": (_event(type="click"), UNKNOWN),
    "number-for-a-event_type": (_event(type=1), UNKNOWN),
    "list-for-a-event_type": (_event(type=["clicks"]), UNKNOWN),
    "half-a-surrogate-pair-for-event_type": (_event(type="\ud800"), UNKNOWN),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_counted_under_its_reason_and_spoils_no_other(tmp_path, line, reason):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([GOOD, line, NEXT]))

    events, rejected = _judged(path)

    assert events.rows() == EVENTS
    ((source, position, counted, _, content),) = rejected.rows()
    assert (source, position, counted) == ("log.jsonl", 2, reason.value)
    assert 0 < len(content) <= 200


@pytest.mark.parametrize("content", [b"\xff", b"\xff\n\xc3\n", "{}".encode("utf-16")])
def test_a_file_without_a_line_of_text_is_refused_line_by_line(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)

    events, rejected = _judged(path)

    assert events.is_empty()
    assert set(rejected["reason"]) == {Reason.NOT_TEXT.value}
    assert rejected.height == len(content.splitlines())


def test_one_bad_event_does_not_cost_the_session_its_good_ones(tmp_path):
    path = tmp_path / "log.jsonl"
    events = [{"aid": 1, "ts": 1659304800000 + n, "type": "clicks"} for n in range(3)]
    events[1]["type"] = "hovers"
    path.write_bytes(GOOD + b"\n" + _line(events=events) + b"\n" + NEXT)

    accepted, rejected = _judged(path)

    assert accepted.select("session", "ts").rows() == [
        (1, 1659304800025),
        (3, 1659304800000),
        (3, 1659304800002),
        (2, 1659304800026),
    ]
    assert rejected.rows() == [
        ("log.jsonl", 2, Reason.UNKNOWN_EVENT_TYPE.value, "type", repr(events[1]))
    ]


@pytest.mark.parametrize("depth", [200, 600, 900, 950, *range(960, 1000, 4)])
def test_nesting_near_the_limit_of_the_stack_is_a_rejection_too(tmp_path, depth):
    path = tmp_path / "log.jsonl"
    path.write_bytes(_event(aid="@").replace(b'"@"', _nested(depth)))

    events, rejected = _judged(path)

    assert events.is_empty()
    assert rejected["position"].to_list() == [1]


@pytest.mark.parametrize("spelling", ["plain", "crlf", "spaces-as-python-writes"])
def test_output_of_common_writers_takes_the_fast_path(spelling):
    data = SPELLINGS[spelling] + b"\n" * (not SPELLINGS[spelling].endswith(b"\n"))

    _, _, plain = _read_plain(data, line_ends(data))

    assert plain.all()


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 1000)))
def test_digits_are_what_python_writes(values):
    edges = [0, 9, 10, -9, -10, 10**18, 10**18 - 1, 2**63 - 1, -(2**63), *values]

    assert _digits(np.array(edges)).tolist() == [len(str(value)) for value in edges]

"""OTTO's JSON lines: events by hand, and every bad line counted under its reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.sessions.events import read_events
from pipeline.sessions.otto import read_otto
from pipeline.sessions.raw import Reason
from pipeline.study import DatasetFormat

GOOD = '{"session":1,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"}]}'
NEXT = '{"session":2,"events":[{"aid":6,"ts":1659304800026,"type":"orders"}]}'
DEEP = 2000


def _event(**changes):
    """A line with one event, good but for the changes; ``...`` leaves a field out."""
    event = {"aid": 7, "ts": 1659304800030, "type": "clicks", **changes}
    kept = {name: value for name, value in event.items() if value is not ...}
    return json.dumps({"session": 3, "events": [kept]}).encode()


def _line(**changes):
    line = {"session": 3, "events": [], **changes}
    return json.dumps({name: value for name, value in line.items() if value is not ...}).encode()


def test_every_event_keeps_its_session_item_time_and_kind(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"session":11,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"},'
        '{"aid":5,"ts":1659304900000,"type":"carts"},{"aid":5,"ts":1659304900000,"type":"orders"}'
        ']}\n{"session":"u-12","events":[{"aid":"6","ts":1659304800000,"type":"clicks"}]}\n'
    )

    rows = read_otto(path)

    assert rows.events == [
        ("log.jsonl", 1, "11", 1659304800025, "5", "click"),
        ("log.jsonl", 1, "11", 1659304900000, "5", "cart"),
        ("log.jsonl", 1, "11", 1659304900000, "5", "order"),
        ("log.jsonl", 2, "u-12", 1659304800000, "6", "click"),
    ]
    assert rows.rejected == []


def test_a_folder_is_read_in_order_of_name_and_other_files_are_left_alone(tmp_path):
    for name, text in (("b.jsonl", NEXT), ("a.jsonl", GOOD), ("notes.txt", "not a session")):
        (tmp_path / name).write_text(text)

    rows = read_otto(tmp_path)

    assert [(source, session) for source, _, session, *_ in rows.events] == [
        ("a.jsonl", "1"),
        ("b.jsonl", "2"),
    ]
    assert rows.rejected == []


BAD_LINES = {
    "truncated-line": (GOOD.encode()[:40], Reason.UNREADABLE),
    "no-json": (b"session 3 clicked 7", Reason.UNREADABLE),
    "two-objects-in-a-line": (GOOD.encode() + NEXT.encode(), Reason.UNREADABLE),
    "single-quotes": (b"{'session': 3, 'events': []}", Reason.UNREADABLE),
    "bare-carriage-return": (_event().replace(b"clicks", b"cli\rcks"), Reason.UNREADABLE),
    "zero-bytes": (b"\x00" * 30, Reason.UNREADABLE),
    "bad-utf-8": (_event().replace(b"clicks", b"cli\xffcks"), Reason.NOT_TEXT),
    "utf-16": ("\ufeff".encode("utf-16") + b"{}", Reason.NOT_TEXT),
    "deep-nesting": (b"[" * DEEP + b"]" * DEEP, Reason.UNREADABLE),
    "deep-nesting-in-a-field": (
        _event(aid="@").replace(b'"@"', b"[" * DEEP + b"]" * DEEP),
        Reason.UNREADABLE,
    ),
    "endless-integer": (_event(ts="@").replace(b'"@"', b"9" * 5000), Reason.UNREADABLE),
    "a-list-for-a-session": (b"[1, 2]", Reason.MISSING_FIELD),
    "a-number-for-a-session": (b"17", Reason.MISSING_FIELD),
    "null-for-a-session": (b"null", Reason.MISSING_FIELD),
    "no-session": (_line(session=...), Reason.MISSING_FIELD),
    "no-events": (_line(events=...), Reason.MISSING_FIELD),
    "null-session": (_line(session=None), Reason.WRONG_TYPE),
    "boolean-session": (_line(session=True), Reason.WRONG_TYPE),
    "fractional-session": (_line(session=3.0), Reason.WRONG_TYPE),
    "empty-session": (_line(session=""), Reason.WRONG_TYPE),
    "half-a-surrogate-pair-for-session": (_line(session="\ud800"), Reason.WRONG_TYPE),
    "null-events": (_line(events=None), Reason.WRONG_TYPE),
    "object-for-events": (_line(events={"aid": 1}), Reason.WRONG_TYPE),
    "text-for-an-event": (_line(events=["clicks"]), Reason.MISSING_FIELD),
    "half-a-surrogate-pair-for-an-event": (_line(events=["\udfff"]), Reason.MISSING_FIELD),
    "no-item": (_event(aid=...), Reason.MISSING_FIELD),
    "no-time": (_event(ts=...), Reason.MISSING_FIELD),
    "no-kind": (_event(type=...), Reason.MISSING_FIELD),
    "null-item": (_event(aid=None), Reason.MISSING_FIELD),
    "null-time": (_event(ts=None), Reason.MISSING_FIELD),
    "null-kind": (_event(type=None), Reason.MISSING_FIELD),
    "boolean-item": (_event(aid=True), Reason.WRONG_TYPE),
    "list-item": (_event(aid=[7]), Reason.WRONG_TYPE),
    "empty-item": (_event(aid=""), Reason.WRONG_TYPE),
    "half-a-surrogate-pair-for-item": (_event(aid="a\ud83d"), Reason.WRONG_TYPE),
    "text-time": (_event(ts="1659304800030"), Reason.WRONG_TYPE),
    "boolean-time": (_event(ts=True), Reason.WRONG_TYPE),
    "time-1e30": (_event(ts=1e30), Reason.WRONG_TYPE),
    "time-not-a-number": (_event(ts=float("nan")), Reason.WRONG_TYPE),
    "negative-time": (_event(ts=-1), Reason.TIME_OUT_OF_RANGE),
    "time-in-seconds": (_event(ts=1659304800), Reason.TIME_OUT_OF_RANGE),
    "time-before-2000": (_event(ts=946_684_799_999), Reason.TIME_OUT_OF_RANGE),
    "time-in-2100": (_event(ts=4_102_444_800_000), Reason.TIME_OUT_OF_RANGE),
    "time-2**70": (_event(ts=2**70), Reason.TIME_OUT_OF_RANGE),
    "time--2**70": (_event(ts=-(2**70)), Reason.TIME_OUT_OF_RANGE),
    "unknown-kind": (_event(type="views"), Reason.UNKNOWN_KIND),
    "our-own-word-for-a-kind": (_event(type="click"), Reason.UNKNOWN_KIND),
    "number-for-a-kind": (_event(type=1), Reason.UNKNOWN_KIND),
    "list-for-a-kind": (_event(type=["clicks"]), Reason.UNKNOWN_KIND),
    "half-a-surrogate-pair-for-kind": (_event(type="\ud800"), Reason.UNKNOWN_KIND),
    "duplicate": (GOOD.encode(), Reason.DUPLICATE),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_counted_under_its_reason_and_spoils_no_other(tmp_path, line, reason):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([GOOD.encode(), line, NEXT.encode()]))

    prepared = read_events(path, DatasetFormat.OTTO, max_rejected_share=0.5)

    assert prepared.events.rows() == [
        ("1", 1659304800025, "5", "click"),
        ("2", 1659304800026, "6", "order"),
    ]
    (rejected,) = prepared.rejected.iter_rows(named=True)
    assert (rejected["source"], rejected["position"]) == ("log.jsonl", 2)
    assert rejected["reason"] == reason.value
    assert 0 < len(rejected["content"]) <= 200


def test_one_bad_event_does_not_cost_the_session_its_good_ones(tmp_path):
    path = tmp_path / "log.jsonl"
    events = [{"aid": 1, "ts": 1659304800000 + n, "type": "clicks"} for n in range(3)]
    events[1]["type"] = "hovers"
    path.write_text(json.dumps({"session": 1, "events": events}))

    rows = read_otto(path)

    assert [ts for _, _, _, ts, _, _ in rows.events] == [1659304800000, 1659304800002]
    assert [reason for _, _, reason, _ in rows.rejected] == [Reason.UNKNOWN_KIND.value]


@pytest.mark.parametrize("depth", [200, 400, 600, 800, 900, 950, *range(960, 1000, 2)])
def test_nesting_near_the_limit_of_the_stack_is_a_rejection_too(tmp_path, depth):
    path = tmp_path / "log.jsonl"
    path.write_bytes(_event(aid="@").replace(b'"@"', b"[" * depth + b"]" * depth))

    with pytest.raises(DataError, match="holds no usable event"):
        read_events(path, DatasetFormat.OTTO, max_rejected_share=1.0)


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["aid", "ts", "type", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries(
    {
        "aid": st.integers(0, 9) | NESTED,
        "ts": st.integers(1659304800000, 1659304800009) | NESTED,
        "type": st.sampled_from(["clicks", "carts", "orders"]) | NESTED,
    }
)
LINE = NESTED | st.fixed_dictionaries(
    {"session": st.integers(0, 3) | NESTED, "events": st.lists(EVENT | NESTED) | NESTED}
)


def _n_rows(line):
    """Rows a line stands for: the events of a session that can be told, or the line itself."""
    if not isinstance(line, dict) or not isinstance(line.get("events"), list):
        return 1
    session = line.get("session")
    named = type(session) is int or (isinstance(session, str) and session != "")
    return len(line["events"]) if named else 1


@given(lines=st.lists(LINE, max_size=6))
@settings(deadline=None, max_examples=100)
def test_every_event_of_any_json_ends_as_an_event_or_as_a_rejection(lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("otto") / "log.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in [*lines, json.loads(GOOD)]))

    prepared = read_events(path, DatasetFormat.OTTO, max_rejected_share=1.0)

    rows_in = 1 + sum(_n_rows(line) for line in lines)
    assert prepared.events.height + prepared.rejected.height == rows_in

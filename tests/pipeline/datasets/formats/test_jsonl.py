"""Generic JSON lines: lines by hand, and any JSON against a simple reference."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EventType
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout, IdType

T = 1_659_304_800_000
GOOD = f'{{"who":1,"what":5,"when":{T},"how":"view"}}'


def section(unit="ms"):
    event_types = {"view": EventType.CLICK, "1": EventType.ORDER, "like": None}
    columns = {"session": "who", "item": "what", "time": "when", "event_type": "how"}
    layout = GenericLayout(**columns, event_types=event_types, ids=IdType.INTEGER, time_unit=unit)
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def line(**changes):
    """A good line but for the changes; ``...`` leaves a field out."""
    event = {"who": 2, "what": 7, "when": T + 1, "how": "view", **changes}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


BAD_LINES = {
    "cut-short": (line()[:20], Reason.UNREADABLE),
    "two-objects": (line() + line(), Reason.UNREADABLE),
    "two-objects-by-carriage-return": (line() + b"\r" + line(), Reason.UNREADABLE),
    "csv": (b"2,7,1659304800001,view", Reason.UNREADABLE),
    "a-list": (b"[2, 7]", Reason.UNREADABLE),
    "deep-nesting": (b"[" * 100_000, Reason.UNREADABLE),
    "endless-integer": (line(when="@").replace(b'"@"', b"9" * 5000), Reason.UNREADABLE),
    "zero-bytes": (b"\x00" * 9, Reason.UNREADABLE),
    "bad-utf-8": (line().replace(b"view", b"\xff"), Reason.NOT_TEXT),
    "utf-16": (line().decode().encode("utf-16"), Reason.NOT_TEXT),
    "no-item": (line(what=...), Reason.MISSING_FIELD),
    "null-time": (line(when=None), Reason.MISSING_FIELD),
    "empty-event_type": (line(how=""), Reason.MISSING_FIELD),
    "text-item": (line(what="7"), Reason.WRONG_TYPE),
    "boolean-item": (line(what=True), Reason.WRONG_TYPE),
    "fractional-item": (line(what=7.0), Reason.WRONG_TYPE),
    "item-2**63": (line(what=2**63), Reason.WRONG_TYPE),
    "list-item": (line(what=[7]), Reason.WRONG_TYPE),
    "text-time": (line(when=str(T)), Reason.WRONG_TYPE),
    "fractional-time": (line(when=T + 0.5), Reason.WRONG_TYPE),
    "time-not-a-number": (line(when=float("nan")), Reason.WRONG_TYPE),
    "boolean-event_type": (line(how=True), Reason.WRONG_TYPE),
    "half-a-surrogate-pair": (line(how="\ud800"), Reason.WRONG_TYPE),
    "time-2**70": (line(when=2**70), Reason.TIME_OUT_OF_RANGE),
    "time-in-seconds": (line(when=T // 1000), Reason.TIME_OUT_OF_RANGE),
    "unknown-event_type": (line(how="View"), Reason.UNKNOWN_EVENT_TYPE),
    "unused-event_type": (line(how="like"), Reason.UNUSED_EVENT_TYPE),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_counted_under_its_reason_and_spoils_no_other(load, tmp_path, bad, reason):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([GOOD.encode(), bad, line(how=1)]))

    _, events, rejected = load(section(), path, max_rejected_share=0.5)

    assert sorted(events.rows()) == [(1, T, 5, "click", 0), (2, T + 1, 7, "order", 0)]
    assert rejected.select("position", "reason").rows() == [(2, reason.value)]


SPELLINGS = {
    "spaces": b'\xef\xbb\xbf \t{ "who" : 1 , "what":5,"when" :%d,"how":"view" } ' % T,
    "carriage-return-for-a-space": b'{"who":1,\r"what":5,"when":%d,"how":"view"}\r' % T,
    "other-keys": b'{"x":[{"who":3}],"who":1,"what":5,"when":%d,"how":"view"}' % T,
    "escapes": b'{"\\u0077ho":1,"what":5,"when":%d,"how":"\\u0076iew"}' % T,
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_how_json_is_spelt_makes_no_difference(load, tmp_path, spelling):
    path = tmp_path / "log.jsonl"
    path.write_bytes(spelling + b"\n\n \n" + b"?")

    _, events, rejected = load(section(), path, max_rejected_share=0.5)

    assert events.rows() == [(1, T, 5, "click", 0)]
    assert rejected["position"].to_list() == [4]


@pytest.mark.parametrize(
    ("unit", "when", "ts"),
    [
        pytest.param("s", 1_659_304_800, T, id="seconds"),
        pytest.param("s", 1_659_304_800.124, T + 124, id="decimal-seconds"),
        pytest.param("us", 1_659_304_800_124_999, T + 124, id="microseconds"),
        pytest.param("iso8601", "2022-07-31T22:00:00Z", T, id="zulu"),
        pytest.param("iso8601", "2022-08-01T00:00:00.124999+02:00", T + 124, id="zone"),
        pytest.param("iso8601", "2022-07-31T22:00:00", None, id="zone-lacking"),
        pytest.param("iso8601-utc", "2022-07-31 22:00:00", T, id="clock"),
        pytest.param("iso8601-utc", "2022-07-31T22:00:00Z", None, id="zone-too-many"),
        pytest.param("%d.%m.%y %H:%M", "31.07.22 22:00", T, id="pattern"),
        pytest.param("%d.%m.%y %H:%M %z", "01.08.22 00:00 +0200", T, id="pattern-with-a-zone"),
        pytest.param("%d.%m.%y %H:%M", "30.02.22 22:00", None, id="no-day-of-the-calendar"),
        pytest.param("%d.%m.%y %H:%M", 1_659_304_800, None, id="a-number-for-a-pattern"),
    ],
)
def test_time_is_read_by_its_unit(raw_rows, tmp_path, unit, when, ts):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(when=when))

    (rows,) = raw_rows(section(unit), path)

    assert rows.frame["ts"].to_list() == ([] if ts is None else [ts])
    assert [refusal.reason for refusal in rows.errors] == (
        [Reason.WRONG_TYPE] if ts is None else []
    )


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["who", "what", "when", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries(
    {
        "who": st.integers(0, 3) | st.integers(-(2**65), 2**65) | NESTED,
        "what": st.integers(0, 3) | NESTED,
        "when": st.integers(T, T + 9) | NESTED,
        "how": st.sampled_from(["view", "like", 1, ""]) | NESTED,
    }
)


@pytest.mark.slow
@given(lines=st.lists(EVENT | NESTED, max_size=10))
@settings(max_examples=30)
def test_every_line_of_any_json_ends_as_the_event_it_says_or_as_a_rejection(
    load, tmp_path_factory, lines
):
    path = tmp_path_factory.mktemp("json") / "log.jsonl"
    path.write_text("\n".join([GOOD, *(json.dumps(value) for value in lines)]))

    _, events, rejected = load(section(), path, max_rejected_share=1.0)

    words = {"view": "click", "1": "order"}
    said = {(1, T, 5, "click")}
    for value in lines:
        names = ("who", "when", "what", "how") if isinstance(value, dict) else ()
        who, when, what, how = (*(value.get(name) for name in names), *[None] * 4)[:4]
        numbers = all(type(n) is int and -(2**63) <= n < 2**63 for n in (who, when, what))
        word = str(how) if type(how) in {int, str} else None
        if numbers and T <= when <= T + 9 and word in words:
            said.add((who, when, what, words[word]))
    assert set(events.select("session", "ts", "item", "event_type").rows()) == said
    assert events.height + rejected.height == 1 + len(lines)

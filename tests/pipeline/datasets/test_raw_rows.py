"""The verdict on a row: an event, or a rejection under the first reason that holds."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EVENT_TYPE, EVENTS, EventType
from pipeline.datasets.raw_rows import ParseError, RawRows, Reason, validate_rows

T = 1_519_862_400_000
FIRST, BEHIND_LAST = 946_684_800_000, 4_102_444_800_000
"""2000-01-01 and 2100-01-01 UTC."""

EVENT_TYPES = {
    "view": EventType.CLICK,
    "look": EventType.CLICK,
    "buy": EventType.ORDER,
    "follow": None,
    "remove": None,
}
WORDS = pl.Enum(["view", "look", "buy", "follow", "remove"])
INTEGERS, TEXTS = pl.Int64, pl.String


def _rows(data, *, ids=INTEGERS, event_type=pl.String, errors=()):
    """Rows on lines 11, 12, …"""
    schema = {"session": ids, "ts": pl.Int64, "item": ids, "event_type": event_type}
    return RawRows(
        source="log",
        positions=np.arange(11, 11 + len(data)),
        frame=pl.DataFrame(data, schema=schema, orient="row"),
        errors=list(errors),
    )


@pytest.mark.parametrize(
    "event_type", [pl.String, WORDS], ids=["text-event_types", "enumerated-event_types"]
)
@pytest.mark.parametrize(
    ("ids", "a", "b"),
    [(INTEGERS, 0, -(2**63)), (TEXTS, " ", "Ü0\n")],
    ids=["integer-ids", "text-ids"],
)
def test_a_good_row_passes_unchanged_but_for_our_word_for_its_kind(ids, a, b, event_type):
    good = [(a, T, b, "view"), (b, T, a, "buy"), (a, T - 1, a, "look"), (a, T, b, "view")]

    events, rejected = validate_rows(_rows(good, ids=ids, event_type=event_type), EVENT_TYPES)

    assert events.rows() == [
        (a, T, b, "click"),
        (b, T, a, "order"),
        (a, T - 1, a, "click"),
        (a, T, b, "click"),
    ]
    assert events.schema == {"session": ids, "ts": pl.Int64, "item": ids, "event_type": EVENT_TYPE}
    assert rejected.is_empty()


BAD = {
    "no-session": ((None, T, 2, "view"), Reason.MISSING_FIELD, "session", f",{T},2,view"),
    "no-time": ((1, None, 2, "view"), Reason.MISSING_FIELD, "ts", "1,,2,view"),
    "no-item": ((1, T, None, "view"), Reason.MISSING_FIELD, "item", f"1,{T},,view"),
    "no-event_type": ((1, T, 2, None), Reason.MISSING_FIELD, "event_type", f"1,{T},2,"),
    "empty-event_type": ((1, T, 2, ""), Reason.MISSING_FIELD, "event_type", f"1,{T},2,"),
    "nothing": ((None, None, None, None), Reason.MISSING_FIELD, "session", ",,,"),
    "unknown-event_type": (
        (1, T, 2, "hover"),
        Reason.UNKNOWN_EVENT_TYPE,
        "event_type",
        f"1,{T},2,hover",
    ),
    "our-own-word": ((1, T, 2, "click"), Reason.UNKNOWN_EVENT_TYPE, "event_type", f"1,{T},2,click"),
    "event_type-in-capitals": (
        (1, T, 2, "VIEW"),
        Reason.UNKNOWN_EVENT_TYPE,
        "event_type",
        f"1,{T},2,VIEW",
    ),
    "other-event_type": (
        (1, T, 2, "follow"),
        Reason.UNUSED_EVENT_TYPE,
        "event_type",
        f"1,{T},2,follow",
    ),
    "too-early": (
        (1, FIRST - 1, 2, "view"),
        Reason.TIME_OUT_OF_RANGE,
        "ts",
        f"1,{FIRST - 1},2,view",
    ),
    "too-late": (
        (1, BEHIND_LAST, 2, "buy"),
        Reason.TIME_OUT_OF_RANGE,
        "ts",
        f"1,{BEHIND_LAST},2,buy",
    ),
    "far-too-late": (
        (1, 2**63 - 1, 2, "buy"),
        Reason.TIME_OUT_OF_RANGE,
        "ts",
        "1,9223372036854775807,2,buy",
    ),
    # Where several reasons hold, the first of this order: other event_type, missing, time, unknown event_type.
    "other-event_type-before-missing": (
        (1, 5, None, "follow"),
        Reason.UNUSED_EVENT_TYPE,
        "event_type",
        "1,5,,follow",
    ),
    "missing-before-time": ((None, 5, 2, "view"), Reason.MISSING_FIELD, "session", ",5,2,view"),
    "unknown-before-missing": (
        (1, 5, None, "hover"),
        Reason.UNKNOWN_EVENT_TYPE,
        "event_type",
        "1,5,,hover",
    ),
    "other-event_type-before-time": (
        (1, 5, 2, "remove"),
        Reason.UNUSED_EVENT_TYPE,
        "event_type",
        "1,5,2,remove",
    ),
    "unknown-before-time": (
        (1, 5, 2, "hover"),
        Reason.UNKNOWN_EVENT_TYPE,
        "event_type",
        "1,5,2,hover",
    ),
}


@pytest.mark.parametrize(("row", "reason", "field", "content"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("ids", [INTEGERS, TEXTS], ids=["integer-ids", "text-ids"])
def test_an_invalid_row_is_rejected_by_the_first_reason_and_affects_no_other(
    row, reason, field, content, ids
):
    good = (3, T, 4, "buy")
    data = pl.DataFrame(
        [good, row, good], schema=["session", "ts", "item", "event_type"], orient="row"
    )
    typed = data.with_columns(pl.col("session", "item").cast(ids)).rows()

    events, rejected = validate_rows(_rows(typed, ids=ids), EVENT_TYPES)

    assert events.rows() == [(*typed[0][:3], "order"), (*typed[2][:3], "order")]
    assert rejected.rows() == [("log", 12, reason.value, field, content)]


@pytest.mark.parametrize(
    ("row", "field", "content"),
    [
        (("", T, "2", "view"), "session", f",{T},2,view"),
        (("1", T, "", "view"), "item", f"1,{T},,view"),
    ],
    ids=["session", "item"],
)
def test_an_empty_text_names_nothing(row, field, content):
    events, rejected = validate_rows(_rows([row], ids=TEXTS), EVENT_TYPES)

    assert events.is_empty()
    assert rejected.rows() == [("log", 11, Reason.MISSING_FIELD.value, field, content)]


def test_the_range_of_times_holds_its_first_millisecond_and_not_its_last():
    times = [FIRST - 1, FIRST, BEHIND_LAST - 1, BEHIND_LAST]

    events, rejected = validate_rows(_rows([(1, ts, 2, "view") for ts in times]), EVENT_TYPES)

    assert events["ts"].to_list() == [FIRST, BEHIND_LAST - 1]
    assert rejected["position"].to_list() == [11, 14]


@pytest.mark.parametrize(
    "event_type", [pl.String, WORDS], ids=["text-event_types", "enumerated-event_types"]
)
def test_rows_of_other_kinds_alone_give_no_event(event_type):
    events, rejected = validate_rows(
        _rows([(1, T, 2, "follow"), (1, T, 2, "remove")], event_type=event_type), EVENT_TYPES
    )

    assert events.is_empty()
    assert rejected["reason"].to_list() == [Reason.UNUSED_EVENT_TYPE.value] * 2


@pytest.mark.parametrize("ids", [INTEGERS, TEXTS], ids=["integer-ids", "text-ids"])
def test_no_rows_give_no_events_of_the_right_types(ids):
    events, rejected = validate_rows(_rows([], ids=ids), EVENT_TYPES)

    assert events.schema == {"session": ids, "ts": pl.Int64, "item": ids, "event_type": EVENT_TYPE}
    assert (events.height, rejected.height) == (0, 0)
    assert EVENTS.validate(events.with_columns(file=pl.lit(0, dtype=pl.UInt16))).is_empty()


def test_lines_that_are_no_rows_are_handed_on_with_the_bad_rows():
    errors = [ParseError(4, Reason.NOT_TEXT, "b'\\xff'"), ParseError(9, Reason.UNREADABLE, "{")]

    _, good = validate_rows(_rows([(1, T, 2, "view")], errors=errors), EVENT_TYPES)
    _, mixed = validate_rows(_rows([(1, T, None, "view")], errors=errors), EVENT_TYPES)

    lines = [
        ("log", 4, "not UTF-8 text", None, "b'\\xff'"),
        ("log", 9, "not a row of this format", None, "{"),
    ]
    assert good.rows() == lines
    assert mixed.rows() == [*lines, ("log", 11, "a field is missing", "item", f"1,{T},,view")]


def test_content_of_a_rejection_is_cut_at_200_characters():
    refusal = ParseError(1, Reason.UNREADABLE, "ü" * 200 + "y")
    item = "é" * 300

    _, rejected = validate_rows(
        _rows([("s", T, item, "hover")], ids=TEXTS, errors=[refusal]),
        EVENT_TYPES,
    )

    beginning = f"s,{T},"
    assert rejected["content"].to_list() == [
        "ü" * 200,
        beginning + "é" * (200 - len(beginning)),
    ]


ROW = st.tuples(
    st.sampled_from([1, 2, None]),
    st.sampled_from([T, T + 1, FIRST - 1, FIRST, BEHIND_LAST, None]),
    st.sampled_from([5, 6, None]),
    st.sampled_from(["view", "look", "buy", "follow", "hover", "", None]),
)


def _reason(session, ts, item, event_type):
    """The verdict as it is defined, for one row."""
    if event_type in ("follow", "remove"):
        return Reason.UNUSED_EVENT_TYPE
    if event_type not in (*EVENT_TYPES, None, ""):
        return Reason.UNKNOWN_EVENT_TYPE
    if None in (session, ts, item, event_type) or event_type == "":
        return Reason.MISSING_FIELD
    if not FIRST <= ts < BEHIND_LAST:
        return Reason.TIME_OUT_OF_RANGE
    return None


@given(data=st.lists(ROW, max_size=8))
@settings(max_examples=150)
def test_every_row_ends_in_exactly_one_of_the_two_in_order(data):
    events, rejected = validate_rows(_rows(data), EVENT_TYPES)

    verdicts = [(number, row, _reason(*row)) for number, row in enumerate(data, start=11)]
    assert events.rows() == [
        (*row[:3], EVENT_TYPES[row[3]].value) for _, row, reason in verdicts if reason is None
    ]
    assert rejected.select("position", "reason").rows() == [
        (number, reason.value) for number, _, reason in verdicts if reason is not None
    ]

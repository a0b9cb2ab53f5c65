"""What was read is counted, and data that cannot be used is refused with the reasons."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EVENTS, REJECTED
from pipeline.core.errors import DataError
from pipeline.datasets.ingest_counts import IngestCounts
from pipeline.datasets.raw_rows import Reason
from pipeline.study import Expected

TS = 1_659_304_800_000
TYPE, RANGE, JUNK = Reason.WRONG_TYPE, Reason.TIME_OUT_OF_RANGE, Reason.UNREADABLE


def clicks(number, session=1):
    return events([(session, TS + n, "click") for n in range(number)])


def events(rows):
    """Rows of session, time and event_type."""
    full = [(session, ts, 5, event_type, 0) for session, ts, event_type in rows]
    return pl.DataFrame(full, schema=EVENTS.schema, orient="row")


def rejected(*reasons, source="log", first=1):
    """One row per reason, numbered from ``first``; a duplicate has no line."""
    rows = [
        (source, None if reason is Reason.DUPLICATE else line, reason.value, None, "?")
        for line, reason in enumerate(reasons, start=first)
    ]
    return pl.DataFrame(rows, schema=REJECTED.schema, orient="row")


def tally(*, share=0.05, accepted=None, refused=None):
    """A tally of one piece, whose events are all written."""
    accepted = clicks(0) if accepted is None else accepted
    found = IngestCounts(dataset="data", max_rejected_share=share)
    found.count_read("log", accepted, rejected() if refused is None else refused)
    found.count_written(accepted)
    return found


def test_the_summary_counts_sessions_kinds_files_and_reasons():
    found = IngestCounts(dataset="data", max_rejected_share=0.5, files={"a": 0, "b": 0, "c": 0})
    rows = [(1, TS + 5, "click"), (1, TS + 9, "order"), (2, TS, "cart"), (1, TS + 9, "order")]

    found.count_read("a", events(rows[:1]), rejected(RANGE, source="a"))
    found.count_read("c", events(rows[1:]), rejected(JUNK, RANGE, JUNK, JUNK, source="c"))
    found.count_written(events(rows[:2]))
    found.count_rejected(rejected(Reason.DUPLICATE, source="c"))
    found.count_written(events(rows[2:3]))
    found.count_written(clicks(0))

    assert found.summary() == {
        "events": 3,
        "sessions": 2,
        "event_types": {"click": 1, "cart": 1, "order": 1},
        "first_ts": TS,
        "last_ts": TS + 9,
        "files": {"a": 1, "b": 0, "c": 3},
        "rejected": 6,
        # the most frequent first, of equals the first in the alphabet
        "rejected_by_reason": {JUNK: 3, RANGE: 2, Reason.DUPLICATE: 1},
    }


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
def test_data_is_refused_above_the_accepted_share_of_faulty_rows(good, bad, limit, refused):
    found = tally(share=limit, accepted=clicks(good), refused=rejected(*[JUNK] * bad))

    if not refused:
        found.check()
        return
    with pytest.raises(DataError, match=f"{bad} of {good + bad} rows are rejected"):
        found.check()


def test_the_refusal_names_every_fault_with_its_count_and_first_place():
    found = tally(
        accepted=clicks(7), refused=rejected(RANGE, Reason.UNUSED_EVENT_TYPE, JUNK, RANGE)
    )
    found.count_rejected(rejected(Reason.DUPLICATE, Reason.DUPLICATE, Reason.DUPLICATE))
    found.count_rejected(rejected(RANGE, source="other", first=9))

    with pytest.raises(DataError) as caught:
        found.check()

    # 3 times out of range, 3 duplicates and 1 unreadable; an event type that is not used is not a defect
    assert str(caught.value) == (
        "data: 7 of 14 rows are rejected (duplicate of another event: 3, first in log: '?'; "
        "time outside 2000-01-01 to 2100-01-01: 3, first in log line 1: '?'; "
        "not a row of this format: 1, first in log line 3: '?'); at most 5.0% are accepted. "
        "Fix the data, correct dataset.format, or raise sessions.max_rejected_share"
    )


def test_rows_left_out_on_purpose_do_not_count_against_the_data():
    found = tally(share=0.0, accepted=clicks(1), refused=rejected(*[Reason.UNUSED_EVENT_TYPE] * 99))

    found.check()

    assert found.summary()["rejected"] == 99


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ([], r"no usable event \(no rows at all\)\. Check dataset\.format"),
        ([JUNK], r"no usable event \(not a row of this format: 1, first in log line 1: '\?'\)"),
        ([Reason.UNUSED_EVENT_TYPE], r"\(1 row, all of event types that are not used\)"),
    ],
    ids=["nothing", "junk", "only-other-event_types"],
)
def test_data_without_any_event_is_refused_whatever_the_limit(reasons, words):
    with pytest.raises(DataError, match=words):
        tally(share=1.0, refused=rejected(*reasons)).check()


@pytest.mark.parametrize(
    ("good", "bad", "limit", "refused"),
    [
        (4_999, 5_001, 0.05, True),
        (5_000, 5_000, 0.05, False),  # half of the first rows may be bad: the file may improve
        (0, 9_999, 0.05, False),  # too few rows to decide
        (1_999, 8_001, 0.8, True),
        (2_000, 8_000, 0.8, False),  # the limit itself allows as many
        (0, 20_000, 1.0, False),
    ],
)
def test_hopeless_data_is_refused_after_its_first_rows(good, bad, limit, refused):
    pieces = [(clicks(good), rejected(*[TYPE] * (bad // 2)))]
    pieces += [(clicks(0), rejected(*[TYPE] * (bad - bad // 2)))]
    found = IngestCounts(dataset="data", max_rejected_share=limit)

    def read():
        for accepted, errors in pieces:
            found.count_read("log", accepted, errors)

    if not refused:
        read()
        return
    with pytest.raises(DataError, match=f"data: {bad} of the first {good + bad} rows are rejected"):
        read()


def test_repeated_events_do_not_make_data_hopeless():
    # 8,000 of 10,000 repeated: refused when all is read, where the whole is known, and not before
    found = tally(accepted=clicks(2_000))
    found.count_rejected(rejected(*[Reason.DUPLICATE] * 8_000))

    with pytest.raises(DataError, match="8000 of 10000 rows are rejected"):
        found.check()


ROWS = [(1, TS, "click"), (1, TS, "click"), (1, TS + 1, "order"), (2, TS, "cart")]
COUNTS = {"rows": 5, "sessions": 2, "clicks": 2, "carts": 1, "orders": 1}


def expecting():
    """Counts of 4 events, one of them repeated, and 1 rejected line."""
    found = IngestCounts(dataset="data", max_rejected_share=1.0)
    found.count_read("log", events(ROWS), rejected(JUNK))
    found.count_rejected(rejected(Reason.DUPLICATE))
    found.count_written(events(ROWS[1:]))
    return found


def test_expected_counts_are_those_of_the_file_as_it_lies_there():
    expecting().check_expected(Expected(**COUNTS))
    expecting().check_expected(Expected())


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_differs_from_the_expected_one_is_named(name):
    wrong = Expected(**COUNTS | {name: 9})

    with pytest.raises(DataError) as caught:
        expecting().check_expected(wrong)

    assert f"dataset.expected: {name}: expected 9, got {COUNTS[name]}. " in str(caught.value)


def test_all_differing_counts_are_named_at_once():
    with pytest.raises(DataError, match="rows: expected 6, got 5; carts: expected 0, got 1"):
        expecting().check_expected(Expected(rows=6, carts=0, clicks=2))


@given(
    rows=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["click", "cart", "order"]))),
    cuts=st.lists(st.integers(0, 20), max_size=4),
)
@settings(max_examples=50)
def test_the_counts_do_not_depend_on_the_pieces(rows, cuts):
    table = sorted((session, TS + n, event_type) for n, (session, event_type) in enumerate(rows))
    whole = tally(accepted=events(table))
    inside = sorted({place for place in cuts if place < len(table)})
    # A piece holds whole sessions, so cuts move to where the next session begins.
    starts = [n for n in range(len(table)) if n == 0 or table[n][0] != table[n - 1][0]]
    ends = sorted({max([s for s in starts if s <= cut], default=0) for cut in inside})

    found = IngestCounts(dataset="data", max_rejected_share=0.05)
    for start, end in zip([0, *ends], [*ends, len(table)], strict=True):
        found.count_read("log", events(table[start:end]), rejected())
        found.count_written(events(table[start:end]))

    assert found.summary() == whole.summary()
    assert found.sessions == len({session for session, *_ in table})

"""The split by time, to the millisecond: three splits, two boundaries, and four policies for boundary sessions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import DAY_MS
from pipeline.core.errors import DataError
from pipeline.sessions.rules import rules_of
from pipeline.sessions.temporal_split import (
    CROSSING,
    SPLITS,
    Cuts,
    assign_split,
    check_date_range,
    compute_cuts,
    in_start_split,
    ranks_of_cuts,
)
from pipeline.study import BoundaryPolicy, DatasetConfig, DatasetFormat, SessionsConfig

START = 1_659_304_800_000
END = START + 10 * DAY_MS
"""The data covers ten days: the test part is days 8 and 9, the validation part day 7."""

VALIDATION = START + 7 * DAY_MS
TEST = START + 8 * DAY_MS
CUTS = Cuts(validation_from=VALIDATION, test_from=TEST)
OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
NAMES = [*(split.value for split in SPLITS), "crossing"]

DROP, TRIM, LATER, EARLIER = (
    BoundaryPolicy.DROP,
    BoundaryPolicy.TRIM,
    BoundaryPolicy.LATER,
    BoundaryPolicy.EARLIER,
)

MOMENTS = {
    START: "start",
    VALIDATION - 1: "validation-1ms",
    VALIDATION: "validation",
    TEST - 1: "test-1ms",
    TEST: "test",
    END - 1: "end-1ms",
}


def named(value):
    return MOMENTS.get(value, str(value))


def part(begin, end, boundary_sessions):
    places = assign_split(np.array([begin]), np.array([end]), CUTS, boundary_sessions)
    return NAMES[places.item()]


def by_sessions(test, validation):
    return rules_of(SessionsConfig(test_sessions=test, validation_sessions=validation), OTTO)


@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.3), (2, 3), (0.2, 3)])
def test_the_sessions_that_start_last_are_the_test_split(test, validation):
    starts = np.array([30, 10, 90, 50, 20, 70, 40, 80, 60, 0])

    ranks = ranks_of_cuts(len(starts), by_sessions(test, validation))

    cuts = Cuts(*np.sort(starts)[list(ranks)].tolist())
    assert cuts == Cuts(validation_from=50, test_from=80)
    parts = assign_split(starts, starts, cuts, DROP)
    assert [int((parts == number).sum()) for number in range(3)] == [5, 3, 2]


@pytest.mark.parametrize(("test", "validation"), [(5, 5), (0.9, 0.2), (0.01, 2), (2, 0.01)])
def test_a_split_without_sessions_is_refused(test, validation):
    with pytest.raises(DataError, match=r"change sessions\.test_sessions"):
        ranks_of_cuts(10, by_sessions(test, validation))


def test_the_parts_are_counted_back_from_the_end():
    assert compute_cuts(END, test_days=2.0, validation_days=1.0) == CUTS


def test_parts_may_be_fractions_of_a_day():
    hour = DAY_MS // 24

    cuts = compute_cuts(END, test_days=0.25, validation_days=1 / 24)

    assert cuts == Cuts(validation_from=END - 7 * hour, test_from=END - 6 * hour)


@pytest.mark.parametrize("boundary_sessions", BoundaryPolicy)
@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (START, VALIDATION - 1, "train"),
        (VALIDATION - 1, VALIDATION - 1, "train"),
        (VALIDATION, VALIDATION, "validation"),
        (VALIDATION, TEST - 1, "validation"),
        (TEST - 1, TEST - 1, "validation"),
        (TEST, TEST, "test"),
        (TEST, END - 1, "test"),
    ],
    ids=named,
)
def test_a_session_within_a_part_belongs_to_it_under_every_rule(
    begin, end, expected, boundary_sessions
):
    assert part(begin, end, boundary_sessions) == expected


@pytest.mark.parametrize(
    ("begin", "end", "boundary_sessions", "expected"),
    [
        (VALIDATION - 1, VALIDATION, DROP, "crossing"),
        (VALIDATION - 1, VALIDATION, TRIM, "train"),
        (VALIDATION - 1, VALIDATION, LATER, "validation"),
        (VALIDATION - 1, VALIDATION, EARLIER, "train"),
        (TEST - 1, TEST, DROP, "crossing"),
        (TEST - 1, TEST, TRIM, "validation"),
        (TEST - 1, TEST, LATER, "test"),
        (TEST - 1, TEST, EARLIER, "validation"),
        (START, END - 1, DROP, "crossing"),
        (START, END - 1, TRIM, "train"),
        (START, END - 1, LATER, "test"),
        (START, END - 1, EARLIER, "train"),
    ],
    ids=named,
)
def test_a_session_across_a_cut_goes_where_the_rule_says(begin, end, boundary_sessions, expected):
    assert part(begin, end, boundary_sessions) == expected


@pytest.mark.parametrize(
    ("begin", "ts", "stays"),
    [
        (START, VALIDATION - 1, True),
        (START, VALIDATION, False),
        (START, END - 1, False),
        (VALIDATION - 1, TEST, False),
        (VALIDATION, TEST - 1, True),
        (VALIDATION, TEST, False),
        (TEST, END - 1, True),
    ],
    ids=named,
)
def test_trimming_removes_events_after_the_starting_split(begin, ts, stays):
    assert in_start_split(np.array([ts]), np.array([begin]), CUTS).tolist() == [stays]


TIMES = st.one_of(
    st.integers(START, END - 1),
    st.sampled_from([VALIDATION, TEST]).flatmap(lambda cut: st.integers(cut - 2, cut + 2)),
)


@pytest.mark.slow
@pytest.mark.parametrize("boundary_sessions", [DROP, TRIM])
@given(sessions=st.lists(st.lists(TIMES, min_size=1, max_size=5).map(sorted), max_size=12))
@settings(max_examples=60)
def test_where_sessions_are_dropped_or_trimmed_nothing_lies_outside_its_part(
    boundary_sessions, sessions
):
    bounds = {"train": (START, VALIDATION), "validation": (VALIDATION, TEST), "test": (TEST, END)}
    begin = np.array([session[0] for session in sessions], dtype=np.int64)
    end = np.array([session[-1] for session in sessions], dtype=np.int64)

    places = assign_split(begin, end, CUTS, boundary_sessions)

    for session, place in zip(sessions, places.tolist(), strict=True):
        ts = np.array(session)
        if boundary_sessions is TRIM:
            ts = ts[in_start_split(ts, np.full(len(ts), session[0]), CUTS)]
            assert len(ts)
        if place == CROSSING:
            assert not any(low <= session[0] <= session[-1] < up for low, up in bounds.values())
            continue
        low, up = bounds[NAMES[place]]
        assert low <= ts.min() <= ts.max() < up


def test_data_must_reach_back_beyond_the_two_parts():
    cuts = compute_cuts(START + 3 * DAY_MS, test_days=2.0, validation_days=1.0)

    check_date_range(cuts, start=START - 1, end=START + 3 * DAY_MS)  # a millisecond of training
    with pytest.raises(DataError) as caught:
        check_date_range(cuts, start=START, end=START + 3 * DAY_MS)
    assert str(caught.value) == (
        "the data covers 3.00 days, but test and validation take 3.00; shorten "
        "sessions.test_days or sessions.validation_days so that training data remains"
    )

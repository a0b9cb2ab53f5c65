"""A user's session ends where the user rests for longer than the limit."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.sessionize import sessionize_by_inactivity

MINUTE = 60_000
TS = 1_431_000_000_000


def cut(rows, minutes=30.0, users=pl.Int64):
    """The sessions of rows of user and time."""
    schema = {"session": users, "ts": pl.Int64}
    return sessionize_by_inactivity(pl.DataFrame(rows, schema=schema, orient="row"), minutes)


@pytest.mark.parametrize(
    ("times", "sessions"),
    [
        ([TS], ["7-1"]),
        ([TS, TS + 30 * MINUTE], ["7-1", "7-1"]),
        ([TS, TS + 30 * MINUTE + 1], ["7-1", "7-2"]),
        ([TS, TS, TS], ["7-1", "7-1", "7-1"]),
        # 29 minutes, three times: the rest counts, not the length of the session
        ([TS, TS + 29 * MINUTE, TS + 58 * MINUTE, TS + 87 * MINUTE], ["7-1"] * 4),
        ([TS, TS + 31 * MINUTE, TS + 60 * MINUTE, TS + 91 * MINUTE], ["7-1", "7-2", "7-2", "7-3"]),
        ([], []),
    ],
    ids=["alone", "at-the-limit", "beyond-it", "one-instant", "long", "three-visits", "nothing"],
)
def test_a_rest_of_more_than_the_limit_ends_a_session(times, sessions):
    assert cut([(7, ts) for ts in times])["session"].to_list() == sessions


def test_every_user_is_counted_from_one():
    rows = [(7, TS), (7, TS + 60 * MINUTE), (-5, TS), (9, TS), (9, TS + MINUTE)]

    assert cut(rows)["session"].to_list() == ["7-1", "7-2", "-5-1", "9-1", "9-1"]


def test_users_with_text_names_keep_them():
    # "a-1" is a user's name here, and cannot be taken for the first session of "a"
    rows = [("a", TS), ("a-1", TS), ("a-1", TS + 31 * MINUTE), ("ä", TS)]

    found = cut(rows, users=pl.String)["session"].to_list()

    assert found == ["a-1", "a-1-1", "a-1-2", "ä-1"]


def test_the_other_columns_stay_as_they_are():
    rows = pl.DataFrame({"session": [7, 7], "ts": [TS, TS + 60 * MINUTE], "item": [3, 1]})

    assert sessionize_by_inactivity(rows, 30).drop("session").equals(rows.drop("session"))


@given(hundredths=st.integers(1, 100_000))
@settings(max_examples=100)
def test_a_limit_in_decimal_minutes_is_a_whole_number_of_milliseconds(hundredths):
    # 2.01 * 60000 is 120599.99999999999 in binary; the limit is 120600 ms all the same
    limit = hundredths * MINUTE // 100

    found = cut([(7, TS), (7, TS + limit), (7, TS + 2 * limit + 1)], hundredths / 100)

    assert found["session"].to_list() == ["7-1", "7-1", "7-2"]


@given(
    rests=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 4, 5, 6, 50])), max_size=30
    ).map(lambda rows: sorted(rows, key=lambda row: row[0])),
)
@settings(max_examples=100)
def test_sessions_are_those_of_going_from_event_to_event(rests):
    rows, expected = [], []
    clock, number, before = 0, 0, None
    for user, rest in rests:
        clock += rest * MINUTE
        number = 1 if user != before else number + (rest > 5)
        rows.append((user, clock))
        expected.append(f"{user}-{number}")
        before = user

    assert cut(rows, 5)["session"].to_list() == expected

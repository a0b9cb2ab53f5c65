"""The split by time, by hand: whole sessions before, between and after the two cuts."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.schemas import EVENTS
from pipeline.sessions.splitting import STRADDLES, assign_splits

DAY = 86_400_000
START = 1_659_304_800_000
END = START + 10 * DAY
"""The data covers ten days: the test part is days 8 and 9, the validation part day 7."""

VALIDATION_FROM = START + 7 * DAY
TEST_FROM = START + 8 * DAY


def _events(*rows):
    table = [(session, ts, "item", "click") for session, ts in rows]
    return pl.DataFrame(table, schema=EVENTS.columns, orient="row")


def _split_of(first, last):
    """The split of a session from ``first`` to ``last`` in ten days of data."""
    events = _events(("oldest", START), ("s", first), ("s", last), ("newest", END - 1))
    splits = assign_splits(events, test_days=2.0, validation_days=1.0)
    return splits.filter(pl.col("session") == "s")["split"].item()


@pytest.mark.parametrize(
    ("first", "last", "split"),
    [
        (START, VALIDATION_FROM - 1, "train"),
        (VALIDATION_FROM - 1, VALIDATION_FROM - 1, "train"),
        (VALIDATION_FROM - 1, VALIDATION_FROM, STRADDLES),
        (START, TEST_FROM - 1, STRADDLES),
        (START, END - 1, STRADDLES),
        (VALIDATION_FROM, VALIDATION_FROM, "validation"),
        (VALIDATION_FROM, TEST_FROM - 1, "validation"),
        (VALIDATION_FROM, TEST_FROM, STRADDLES),
        (TEST_FROM - 1, TEST_FROM, STRADDLES),
        (TEST_FROM, TEST_FROM, "test"),
        (TEST_FROM, END - 1, "test"),
    ],
)
def test_a_session_belongs_to_the_part_it_lies_in_whole(first, last, split):
    assert _split_of(first, last) == split


def test_events_of_every_kind_stretch_a_session():
    events = pl.concat(
        [
            _events(("old", START), ("s", VALIDATION_FROM - 5), ("new", END - 1)),
            pl.DataFrame([("s", TEST_FROM, "i", "order")], schema=EVENTS.columns, orient="row"),
        ]
    )

    splits = assign_splits(events, test_days=2.0, validation_days=1.0)

    row = splits.row(by_predicate=pl.col("session") == "s", named=True)
    assert row == {
        "session": "s",
        "first_ts": VALIDATION_FROM - 5,
        "last_ts": TEST_FROM,
        "split": STRADDLES,
    }


def test_parts_may_be_shorter_than_a_day():
    hour = DAY // 24
    events = _events(("a", START), ("b", START + 8 * hour), ("c", START + 10 * hour - 1))

    splits = assign_splits(events, test_days=1 / 24, validation_days=1 / 24)

    assert splits["split"].to_list() == ["train", "validation", "test"]


@pytest.mark.parametrize(("spare", "enough"), [(0, False), (1, True)])
def test_data_must_reach_back_beyond_the_two_parts(spare, enough):
    last = START + 3 * DAY + spare - 1  # three days, and `spare` milliseconds of training
    events = _events(("a", START), ("b", last))

    if enough:
        splits = assign_splits(events, test_days=2.0, validation_days=1.0)
        assert splits["split"].to_list() == ["train", "test"]
        return
    with pytest.raises(DataError) as caught:
        assign_splits(events, test_days=2.0, validation_days=1.0)
    assert str(caught.value) == (
        "the data covers 3.00 days, not more than sessions.test_days + sessions.validation_days "
        "= 3.0; shorten them so that training data remains"
    )


def test_no_events_cannot_be_split():
    with pytest.raises(DataError, match="no events to split"):
        assign_splits(_events(), test_days=2.0, validation_days=1.0)


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(START, END - 1)), max_size=40)
)
@settings(deadline=None, max_examples=100)
def test_nothing_in_train_happens_after_a_cut_and_nothing_in_test_before(rows):
    rows = [("oldest", START), *rows, ("newest", END - 1)]

    splits = assign_splits(_events(*rows), test_days=2.0, validation_days=1.0)

    split_of = dict(splits.select("session", "split").iter_rows())
    times = {part: [] for part in ("train", "validation", "test", STRADDLES)}
    for session, ts in rows:
        times[split_of[session]].append(ts)
    assert splits.height == len({session for session, _ in rows})
    assert all(ts < VALIDATION_FROM for ts in times["train"])
    assert all(VALIDATION_FROM <= ts < TEST_FROM for ts in times["validation"])
    assert all(ts >= TEST_FROM for ts in times["test"])

"""Labels, catalogue and counts of the prepared sessions, by hand and against the slow way."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokens import SessionTokens
from pipeline.errors import DataError
from pipeline.schemas import EVENTS, ITEMS, SESSIONS, Split
from pipeline.sessions.preparation import catalogue_of, label_orders, prepare_sessions
from pipeline.study import SessionsSection

DAY = 86_400_000
START = 1_659_304_800_000
SECTION = SessionsSection(
    min_item_support=2, min_session_length=2, test_days=1.0, validation_days=1.0
)
CLICK, CART, ORDER = "click", "cart", "order"


def _events(*rows):
    """Events from (session, time in days, item, kind), with times after the start."""
    table = [(session, START + round(at * DAY), item, kind) for session, at, item, kind in rows]
    frame = pl.DataFrame(table, schema=EVENTS.columns, orient="row")
    return frame.sort("session", "ts", maintain_order=True)


def _clicks(session, day, items):
    """One click a millisecond-and-a-bit, from the beginning of ``day``."""
    return [(session, day + place / DAY, item, CLICK) for place, item in enumerate(items)]


def _labels(*rows):
    labelled = label_orders(_events(*[("s", at, item, kind) for at, item, kind in rows]))
    return labelled["ordered"].to_list()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        pytest.param([(1, "a", CLICK), (2, "a", ORDER)], [1], id="order-after"),
        pytest.param([(1, "a", ORDER), (2, "a", CLICK)], [0], id="order-before"),
        pytest.param([(1, "a", CLICK), (1, "a", ORDER)], [1], id="order-at-the-same-time"),
        pytest.param([(1, "a", CLICK), (2, "b", ORDER)], [0], id="order-of-another-item"),
        pytest.param([(1, "a", CLICK), (2, "a", CART)], [0], id="cart-alone"),
        pytest.param([(1, "a", ORDER)], [], id="order-without-click"),
        pytest.param(
            [(1, "a", CLICK), (2, "b", CLICK), (3, "a", CLICK), (4, "a", ORDER)],
            [1, 0, 1],
            id="every-click-before-the-order",
        ),
        pytest.param(
            [(1, "a", CLICK), (2, "a", ORDER), (3, "a", CLICK)],
            [1, 0],
            id="click-after-the-last-order",
        ),
        pytest.param(
            [(1, "a", CLICK), (2, "a", ORDER), (3, "a", CLICK), (4, "a", ORDER)],
            [1, 1],
            id="clicks-between-two-orders",
        ),
    ],
)
def test_a_click_is_labelled_if_its_item_is_ordered_at_or_after_it(rows, labels):
    assert _labels(*rows) == labels


def test_an_order_of_another_session_labels_nothing():
    labelled = label_orders(_events(("s", 1, "a", CLICK), ("t", 2, "a", ORDER)))

    assert labelled["ordered"].to_list() == [0]


EVENT = st.tuples(
    st.sampled_from(["s", "t"]),
    st.integers(0, 4),
    st.sampled_from(["a", "b"]),
    st.sampled_from([CLICK, CART, ORDER]),
)


@given(rows=st.lists(EVENT, max_size=25))
@settings(deadline=None, max_examples=100)
def test_labels_equal_those_of_the_slow_way(rows):
    events = _events(*rows)

    labelled = label_orders(events)

    table = events.rows()
    orders = [(session, item, ts) for session, ts, item, kind in table if kind == ORDER]
    expected = [
        (session, ts, item, int(any(o[:2] == (session, item) and o[2] >= ts for o in orders)))
        for session, ts, item, kind in table
        if kind == CLICK
    ]
    assert labelled.rows() == expected


def test_the_catalogue_counts_clicks_in_train_alone_and_puts_the_most_clicked_first():
    clicks = pl.DataFrame(
        [("train", "b")] * 2
        + [("train", "a")] * 2
        + [("train", "c")] * 3
        + [("train", "rare"), ("validation", "rare"), ("test", "rare"), ("test", "new")],
        schema={"split": pl.String, "item": pl.String},
        orient="row",
    )

    items = catalogue_of(clicks, 2)

    assert ITEMS.check(items).rows() == [(0, "c", 3), (1, "a", 2), (2, "b", 2)]


def _shop():
    """Ten days of events that meet every filter; their fate is in the tests below."""
    return _events(
        *_clicks("train-1", 0, "aab"),
        *_clicks("train-2", 1, "bacr"),  # c and r: one click each in train that counts
        ("train-2", 1.5, "a", ORDER),
        *_clicks("train-0", 2, "rcr"),  # r: unknown but for train-2's and these two: 3 clicks
        *_clicks("one-click", 3, "c"),
        *_clicks("only-unknown", 4, "xa"),
        ("no-click", 5, "a", CART),
        *_clicks("straddling", 7.99, "ab"),
        ("straddling", 8.5, "a", ORDER),
        ("straddling-without-click", 7, "a", CART),
        ("straddling-without-click", 9, "a", ORDER),
        *_clicks("validation-1", 8, "abx"),
        ("validation-1", 8.2, "b", ORDER),
        *_clicks("test-a", 9.2, "ba"),
        *_clicks("test-z", 9, "aaz"),
        ("test-z", 10 - 1 / DAY, "a", ORDER),
    )


def test_every_session_and_click_that_is_dropped_is_counted():
    counts = prepare_sessions(_shop(), SECTION).counts

    assert counts == {
        "sessions_in": 11,
        "sessions_without_click": 2,  # no-click, straddling-without-click
        "sessions_straddling_a_cut": 1,
        "sessions_too_short": 1,  # one-click
        "clicks_on_unknown_items": 3,  # x of only-unknown and of validation-1, z of test-z
        "sessions_too_short_without_unknown_items": 1,  # only-unknown: a alone remains
        "items": 4,  # a, b, c, r
        "train_sessions": 3,
        "validation_sessions": 1,
        "test_sessions": 2,
        "train_clicks": 3 + 4 + 3,
        "validation_clicks": 2,
        "test_clicks": 2 + 2,
        "train_ordered_clicks": 1,  # a of train-2
        "validation_ordered_clicks": 1,
        "test_ordered_clicks": 2,  # both clicks on a of test-z
    }


def test_sessions_stand_by_split_and_time_with_their_clicks_and_span():
    sessions = prepare_sessions(_shop(), SECTION).sessions

    assert SESSIONS.check(sessions).select(
        "session", "split", "clicks", "ordered_clicks"
    ).rows() == [
        ("train-1", "train", 3, 0),
        ("train-2", "train", 4, 1),
        ("train-0", "train", 3, 0),
        ("validation-1", "validation", 2, 1),
        ("test-z", "test", 2, 2),
        ("test-a", "test", 2, 0),
    ]
    test_z = sessions.row(by_predicate=pl.col("session") == "test-z", named=True)
    assert (test_z["first_ts"], test_z["last_ts"]) == (START + 9 * DAY, START + 10 * DAY - 1)


def test_tokens_are_the_clicks_on_known_items_in_order_of_sessions_and_time():
    prepared = prepare_sessions(_shop(), SECTION)

    # in train: a 4 clicks (only-unknown's counts, too), r 3, b 2, c 2
    assert prepared.items.rows() == [(0, "a", 4), (1, "r", 3), (2, "b", 2), (3, "c", 2)]
    expected = {
        Split.TRAIN: [
            [(0, 0), (0, 0), (2, 0)],
            [(2, 0), (0, 1), (3, 0), (1, 0)],
            [(1, 0), (3, 0), (1, 0)],
        ],
        Split.VALIDATION: [[(0, 0), (2, 1)]],
        Split.TEST: [[(0, 1), (0, 1)], [(2, 0), (0, 0)]],
    }
    for split, sessions in expected.items():
        tokens, wanted = prepared.tokens(split), SessionTokens.of(sessions)
        for name in ("items", "ordered", "offsets"):
            found = getattr(tokens, name)
            assert found.tolist() == getattr(wanted, name).tolist()
            assert found.dtype == getattr(wanted, name).dtype


def test_times_stand_beside_the_tokens():
    prepared = prepare_sessions(_shop(), SECTION)

    nine, later = START + 9 * DAY, START + round(9.2 * DAY)
    assert prepared.times(Split.TEST).tolist() == [nine, nine + 1, later, later + 1]


def test_an_item_of_one_click_is_known_where_one_click_suffices():
    section = SessionsSection(
        min_item_support=1, min_session_length=2, test_days=1.0, validation_days=1.0
    )

    prepared = prepare_sessions(_shop(), section)

    # x of only-unknown joins the catalogue, and with it only-unknown train; z is in test alone
    assert prepared.items["item"].to_list() == ["a", "r", "b", "c", "x"]
    assert prepared.counts["clicks_on_unknown_items"] == 1
    assert prepared.counts["train_sessions"] == 4


@pytest.mark.parametrize(
    ("support", "length", "empty"),
    [
        (3, 2, "validation_sessions"),  # b is gone: validation-1 and test-a keep one click
        (2, 3, "validation_sessions, test_sessions"),
        (2, 5, "items, train_sessions, validation_sessions, test_sessions"),
        (5, 2, "items, train_sessions, validation_sessions, test_sessions"),
    ],
)
def test_an_empty_result_is_an_error_with_all_counts(support, length, empty):
    section = SessionsSection(
        min_item_support=support, min_session_length=length, test_days=1.0, validation_days=1.0
    )

    with pytest.raises(DataError) as caught:
        prepare_sessions(_shop(), section)

    message = str(caught.value)
    assert message.startswith(f"nothing is left in {empty} after filtering; counts: ")
    assert "'sessions_in': 11" in message
    assert message.endswith("Lower sessions.min_item_support, or change the split")

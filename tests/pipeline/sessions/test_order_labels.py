"""Whether a click is followed by an order or a cart of its item: by hand, and by a double loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batching import make_batch
from models.tokens import SessionTokens
from pipeline.sessions.order_labels import has_followup_event

C, A, O = "click", "cart", "order"  # noqa: E741


def labels(events, wanted=O, within_ms=None):
    """Labels of events written as (session, ts, item, event_type)."""
    session, ts, item, event_type = zip(*events, strict=True) if events else ((), (), (), ())
    found = has_followup_event(
        np.array([one == wanted for one in event_type], dtype=np.bool_),
        item=np.array(item, dtype=np.int32),
        session=np.array(session, dtype=np.int64),
        ts=np.array(ts, dtype=np.int64),
        within_ms=within_ms,
    )
    return found.astype(int).tolist()


def of_clicks(found, events):
    return [label for label, event in zip(found, events, strict=True) if event[3] == C]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(1, 7, C), (2, 7, O)], [1], id="order-after"),
        pytest.param([(1, 7, O), (2, 7, C)], [0], id="order-before"),
        pytest.param([(1, 7, C), (1, 7, O)], [1], id="same-time-order-behind"),
        pytest.param([(1, 7, O), (1, 7, C)], [0], id="same-time-order-before"),
        pytest.param([(1, 7, C), (2, 8, O)], [0], id="other-item"),
        pytest.param([(1, 7, C), (2, 7, A)], [0], id="cart-alone"),
        pytest.param([(1, 7, C), (2, 8, C), (3, 7, C), (4, 7, O)], [1, 0, 1], id="all-before-it"),
        pytest.param([(1, 7, C), (2, 7, O), (3, 7, C)], [1, 0], id="click-after-the-last-order"),
        pytest.param([(1, 7, C), (2, 7, O), (3, 7, C), (4, 7, O)], [1, 1], id="two-orders"),
        pytest.param([(1, 7, C), (2, 7, A), (3, 7, O)], [1], id="cart-between"),
        pytest.param([(1, 0, C), (2, 2**31 - 1, C), (3, 2**31 - 1, O)], [0, 1], id="largest-code"),
    ],
)
def test_a_click_is_labelled_if_its_item_is_ordered_further_down(events, expected):
    whole = [(0, *event) for event in events]

    assert of_clicks(labels(whole), whole) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(1, 7, C), (2, 7, A)], [1], id="cart-after"),
        pytest.param([(1, 7, A), (2, 7, C)], [0], id="cart-before"),
        pytest.param([(1, 7, C), (2, 7, O)], [0], id="order-alone"),
        pytest.param([(1, 7, C), (2, 8, A), (3, 7, O), (4, 7, A)], [1], id="another-between"),
    ],
)
def test_with_carts_wanted_a_click_is_labelled_if_its_item_is_carted_further_down(events, expected):
    whole = [(0, *event) for event in events]

    assert of_clicks(labels(whole, wanted=A), whole) == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        pytest.param(None, [1, 1, 1], id="any-time"),
        pytest.param(60_000, [1, 1, 1], id="met-to-the-millisecond"),  # 60,000 - 0
        pytest.param(59_999, [0, 1, 1], id="missed-by-a-millisecond"),
        pytest.param(1, [0, 0, 1], id="only-the-last"),  # 60,000 - 59,999
    ],
)
def test_within_a_window_the_next_order_must_follow_in_time(window, expected):
    events = [(0, 0, 7, C), (0, 1, 7, C), (0, 59_999, 7, C), (0, 60_000, 7, O), (0, 60_001, 7, O)]

    assert of_clicks(labels(events, within_ms=window), events) == expected


def test_an_order_of_another_session_labels_nothing():
    events = [(0, 1, 7, C), (1, 2, 7, O), (2, 1, 7, C), (2, 2, 7, O)]

    assert of_clicks(labels(events), events) == [0, 1]


def test_no_events_have_no_labels():
    assert labels([]) == []


EVENT = st.tuples(
    st.integers(0, 3), st.integers(0, 9), st.integers(0, 2), st.sampled_from([C, C, A, O])
)
LOG = st.lists(EVENT, max_size=30).map(lambda log: sorted(log, key=lambda event: event[:2]))
quick = settings(max_examples=100)


@given(log=LOG, wanted=st.sampled_from([A, O]), window=st.sampled_from([None, 0, 3]))
@quick
def test_labels_equal_those_of_a_double_loop(log, wanted, window):
    expected = []
    for place, (session, ts, item, _) in enumerate(log):
        found = 0
        for other, late, same, event_type in log[place + 1 :]:
            if (other, same, event_type) == (session, item, wanted):
                found |= window is None or late - ts <= window
        expected.append(int(found))

    assert labels(log, wanted=wanted, within_ms=window) == expected


@given(log=LOG, cut=st.integers(0, 30), window=st.sampled_from([None, 3]))
@quick
def test_trimming_the_start_changes_no_later_label(log, cut, window):
    assert labels(log[cut:], within_ms=window) == labels(log, within_ms=window)[cut:]


@given(
    events=st.lists(EVENT.map(lambda event: event[1:]), min_size=1, max_size=20).map(sorted),
    max_length=st.integers(1, 5),
)
@quick
def test_truncation_to_the_last_clicks_keeps_their_labels(events, max_length):
    whole = [(0, *event) for event in events]
    columns = (labels(whole), labels(whole, wanted=A))
    clicks = [
        (item, ordered, carted)
        for (_, _, item, event_type), ordered, carted in zip(whole, *columns, strict=True)
        if event_type == C
    ]

    batch = make_batch(SessionTokens.from_lists([clicks]), np.array([0]), max_length=max_length)

    real = batch.real_BT[0]
    found = (batch.targets_BT[0][real], batch.ordered_BT[0][real], batch.carted_BT[0][real])
    expected = clicks[-(max_length + 1) :][1:]
    assert list(zip(*(column.int().tolist() for column in found), strict=True)) == expected

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokens import SessionTokens

tuples = st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(0, 1))
written_sessions = st.lists(st.lists(tuples, min_size=1, max_size=6), max_size=8)


def test_flat_arrays_hold_the_sessions_one_after_another():
    tokens = SessionTokens.from_lists([[(3, 0), (5, 1)], [(2, 1), (3, 0), (3, 0)]])

    assert tokens.items.tolist() == [3, 5, 2, 3, 3]
    assert tokens.ordered.tolist() == [0, 1, 1, 0, 0]
    assert tokens.offsets.tolist() == [0, 2, 2 + 3]
    assert tokens.n_sessions == 2
    assert tokens.lengths.tolist() == [2, 3]


def test_a_third_number_says_whether_the_item_was_put_into_the_cart():
    tokens = SessionTokens.from_lists([[(3, 0, 1), (5, 1)], [(2, 1, 0), (3, 0, 1)]])

    assert tokens.ordered.tolist() == [0, 1, 1, 0]
    assert tokens.carted.tolist() == [1, 0, 0, 1]


def test_sessions_are_taken_in_the_given_order():
    sessions = [[(3, 0, 1), (5, 1)], [(2, 1)], [(4, 0), (6, 1, 1), (7, 0)]]
    tokens = SessionTokens.from_lists(sessions)

    taken = tokens.take(np.array([2, 0]))

    expected = SessionTokens.from_lists([sessions[2], sessions[0]])
    for name in ("items", "ordered", "carted", "offsets"):
        assert getattr(taken, name).tolist() == getattr(expected, name).tolist()
    assert tokens.clicks_of(np.array([2, 0])).tolist() == [3, 4, 5, 0, 1]


def test_no_session_is_a_legal_set_of_tokens():
    tokens = SessionTokens.from_lists([])

    assert tokens.n_sessions == 0
    assert tokens.offsets.tolist() == [0]


@settings(max_examples=50)
@given(written_sessions)
def test_slicing_by_offsets_gives_back_the_written_sessions(written):
    tokens = SessionTokens.from_lists(written)

    slices = [slice(*tokens.offsets[row : row + 2]) for row in range(tokens.n_sessions)]
    arrays = (tokens.items, tokens.ordered, tokens.carted)
    read = [list(zip(*(array[part].tolist() for array in arrays), strict=True)) for part in slices]

    assert read == written


def test_arrays_have_the_types_the_token_store_writes():
    tokens = SessionTokens.from_lists([[(1, 1)]])

    assert tokens.items.dtype == np.int32
    assert tokens.ordered.dtype == tokens.carted.dtype == np.uint8
    assert tokens.offsets.dtype == np.int64

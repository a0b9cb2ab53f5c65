"""Batches: the next click with its labels, padding behind, every session once, parts of a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batching import make_batch, ordered_batches, shuffled_batches
from models.tokens import SessionTokens

tuples = st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(0, 1))
written_sessions = st.lists(st.lists(tuples, min_size=2, max_size=9), min_size=1, max_size=30)
quick = settings(max_examples=50)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sessions_of_lengths(lengths):
    return SessionTokens.from_lists([[(n % 7, 0)] * length for n, length in enumerate(lengths)])


def real_rows(batch):
    """(inputs, targets, ordered, carted) of each session of a batch, without padding."""
    parts = (batch.inputs_BT, batch.targets_BT, batch.ordered_BT, batch.carted_BT)
    return [
        tuple(part[row][real_T].tolist() for part in parts)
        for row, real_T in enumerate(batch.real_BT)
    ]


def slow_row(session, max_length):
    """The same from one written session: the last L + 1 clicks, read pair by pair."""
    window = session[-(max_length + 1) :]
    return (
        [item for item, _, _ in window[:-1]],
        [item for item, _, _ in window[1:]],
        [float(ordered) for _, ordered, _ in window[1:]],
        [float(carted) for _, _, carted in window[1:]],
    )


def test_target_is_the_next_click_with_its_own_labels():
    tokens = SessionTokens.from_lists([[(4, 1, 1), (7, 0, 1), (2, 1, 0)]])

    batch = make_batch(tokens, np.array([0]), max_length=10)

    assert batch.inputs_BT.tolist() == [[4, 7]]
    assert batch.targets_BT.tolist() == [[7, 2]]
    assert batch.ordered_BT.tolist() == [[0.0, 1.0]]  # the first click's 1 is nobody's label
    assert batch.carted_BT.tolist() == [[1.0, 0.0]]
    assert batch.real_BT.tolist() == [[True, True]]


def test_shorter_sessions_are_padded_after_their_real_positions():
    tokens = SessionTokens.from_lists([[(4, 0), (7, 1, 1)], [(1, 1), (2, 1), (3, 1), (5, 0, 1)]])

    batch = make_batch(tokens, np.array([1, 0]), max_length=10)

    assert batch.sessions.tolist() == [1, 0]
    assert batch.inputs_BT.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch.targets_BT.tolist() == [[2, 3, 5], [7, 0, 0]]
    assert batch.ordered_BT.tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert batch.carted_BT.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert batch.real_BT.tolist() == [[True, True, True], [True, False, False]]


def test_truncation_keeps_the_last_clicks_with_their_labels():
    tokens = SessionTokens.from_lists([[(9, 1), (8, 0), (1, 1), (2, 0), (3, 1)]])

    batch = make_batch(tokens, np.array([0]), max_length=2)

    assert batch.inputs_BT.tolist() == [[1, 2]]  # of clicks 1, 2, 3, the last is only a target
    assert batch.targets_BT.tolist() == [[2, 3]]
    assert batch.ordered_BT.tolist() == [[0.0, 1.0]]


def test_a_session_of_one_click_has_no_position():
    tokens = SessionTokens.from_lists([[(4, 1, 1)], [(5, 0), (6, 1, 1)]])

    batch = make_batch(tokens, np.array([0, 1]), max_length=3)

    assert batch.real_BT.tolist() == [[False], [True]]
    assert batch.ordered_BT.tolist() == [[0.0], [1.0]]
    assert batch.carted_BT.tolist() == [[0.0], [1.0]]


@quick
@given(written=written_sessions, max_length=st.integers(1, 10), batch_size=st.integers(1, 7))
def test_every_session_comes_exactly_once_with_its_next_clicks(written, max_length, batch_size):
    tokens = SessionTokens.from_lists(written)
    shuffled = shuffled_batches(
        tokens, batch_size=batch_size, max_length=max_length, generator=generator()
    )
    ordered = ordered_batches(tokens, batch_size=batch_size, max_length=max_length)

    for batches in (list(shuffled), list(ordered)):
        numbers = [number for batch in batches for number in batch.sessions.tolist()]
        rows = [row for batch in batches for row in real_rows(batch)]
        assert sorted(numbers) == list(range(len(written)))
        assert rows == [slow_row(written[number], max_length) for number in numbers]
        assert len(batches) == -(-len(written) // batch_size)
        assert all(len(batch.sessions) <= batch_size for batch in batches)


def test_ordered_batches_are_short_first_and_the_same_every_time():
    tokens = sessions_of_lengths([5, 2, 3, 2, 9])

    first, second = (
        [batch.sessions.tolist() for batch in ordered_batches(tokens, batch_size=2, max_length=4)]
        for _ in range(2)
    )

    assert first == [[1, 3], [2, 0], [4]]  # lengths 2 2 | 3 5 | 9, equal ones in their order
    assert second == first


def test_shuffled_batches_hold_sessions_of_similar_length():
    lengths = [2 + n % 5 for n in range(20)]  # 2 to 6, four of each
    tokens = sessions_of_lengths(lengths)

    batches = shuffled_batches(tokens, batch_size=4, max_length=9, generator=generator())
    lengths_per_batch = [{lengths[row] for row in batch.sessions} for batch in batches]

    assert sorted(map(tuple, lengths_per_batch)) == [(2,), (3,), (4,), (5,), (6,)]
    assert lengths_per_batch != [{2}, {3}, {4}, {5}, {6}]  # the batches come in random order


def test_lengths_beyond_the_window_count_as_the_window():
    tokens = sessions_of_lengths([3, 50, 3, 9, 3, 20, 3, 30])

    batches = list(shuffled_batches(tokens, batch_size=4, max_length=2, generator=generator()))

    assert all(batch.real_BT.all() for batch in batches)  # all have 2 inputs: no padding at all
    together = {frozenset(batch.sessions.tolist()) for batch in batches}
    assert frozenset([0, 2, 4, 6]) not in together  # the short ones do not stay among themselves


def test_shuffling_comes_from_the_generator_alone():
    tokens = sessions_of_lengths([3] * 40)

    def order(source):
        batches = shuffled_batches(tokens, batch_size=8, max_length=9, generator=source)
        return [number for batch in batches for number in batch.sessions.tolist()]

    one, twin, other = generator(1), generator(1), generator(2)
    first_epoch, second_epoch = order(one), order(one)

    assert [order(twin), order(twin)] == [first_epoch, second_epoch]
    assert first_epoch != second_epoch
    assert order(other) != first_epoch
    assert first_epoch != sorted(first_epoch)


@quick
@given(written=written_sessions, batch_size=st.integers(1, 7), first=st.integers(0, 31))
def test_the_batches_from_a_number_on_are_the_tail_of_all_of_them(written, batch_size, first):
    def batches(source, first):
        found = shuffled_batches(
            SessionTokens.from_lists(written),
            batch_size=batch_size,
            max_length=5,
            generator=source,
            first=first,
        )
        return [(batch.sessions.tolist(), real_rows(batch)) for batch in found]

    whole, resumed = generator(1), generator(1)

    assert batches(resumed, first) == batches(whole, 0)[first:]
    assert torch.equal(resumed.get_state(), whole.get_state())  # so the next epoch is the same


def some_batch():
    tokens = SessionTokens.from_lists(
        [[(1, 0), (2, 1, 1)], [(3, 0), (4, 0, 1), (5, 1)], [(6, 1), (7, 1, 1)], [(8, 0), (9, 1)]]
    )
    return make_batch(tokens, np.array([3, 1, 0, 2]), max_length=4)


def test_lengths_count_real_positions():
    assert some_batch().lengths_B.tolist() == [1, 2, 1, 1]


def test_a_part_is_every_so_manyth_session_with_all_that_belongs_to_it():
    part = some_batch().part(1, 2)

    assert part.sessions.tolist() == [1, 2]
    assert part.inputs_BT.tolist() == [[3, 4], [6, 0]]
    assert part.targets_BT.tolist() == [[4, 5], [7, 0]]
    assert part.ordered_BT.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert part.carted_BT.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert part.real_BT.tolist() == [[True, True], [True, False]]
    assert part.lengths_B.tolist() == [2, 1]


@pytest.mark.parametrize("of", [1, 2, 3, 4, 6])
def test_the_parts_of_a_batch_hold_every_session_once(of):
    batch = some_batch()

    parts = [batch.part(number, of) for number in range(of)]

    rows = {
        number: row
        for part in parts
        for number, row in zip(part.sessions.tolist(), real_rows(part), strict=True)
    }
    assert sum(len(part.sessions) for part in parts) == 4
    assert rows == dict(zip(batch.sessions.tolist(), real_rows(batch), strict=True))
    assert [len(part.sessions) for part in parts] == [len(range(n, 4, of)) for n in range(of)]


def test_a_batch_moves_with_all_its_tensors():
    batch = some_batch()

    moved = batch.to(torch.device("meta"))

    names = ["inputs_BT", "targets_BT", "ordered_BT", "carted_BT", "real_BT"]
    for name in names:
        there, here = getattr(moved, name), getattr(batch, name)
        assert (there.device.type, there.shape, there.dtype) == ("meta", here.shape, here.dtype)
        assert torch.equal(getattr(batch.to(torch.device("cpu")), name), here)
    assert moved.sessions is batch.sessions

"""Re-ranking compared with results by hand or by brute force."""

from itertools import permutations
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.serving.ranking.rerank import (
    Candidates,
    calibrate,
    cap_category,
    diversify,
    min_max_scale,
    pin_item,
)

A, B, C, NONE = 0, 1, 2, -1


def candidates(n, scores=None):
    """Items 0 … n - 1, best first."""
    scores = np.arange(n, 0, -1) if scores is None else scores
    return Candidates(np.arange(n), np.array(scores, dtype=np.float32))


def test_a_cap_keeps_the_best_of_each_category_and_all_of_unknown_category():
    category = np.array([A, A, B, A, NONE, B, NONE, B, NONE])

    kept = cap_category(candidates(9), category, 2)

    assert kept.items.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert kept.scores.tolist() == [9, 8, 7, 5, 4, 3, 1]


@given(st.lists(st.integers(-1, 3), max_size=30), st.integers(1, 4))
def test_a_cap_equals_a_loop_over_the_list(categories, most):
    shown = dict.fromkeys(range(4), 0)
    expected = []
    for item, category in enumerate(categories):
        if category == NONE or shown[category] < most:
            expected.append(item)
            shown[category] = shown.get(category, 0) + 1

    kept = cap_category(candidates(len(categories)), np.array(categories, dtype=np.int64), most)

    assert kept.items.tolist() == expected


@pytest.mark.parametrize(
    ("item", "position", "expected"),
    [
        (3, 1, [3, 0, 1, 2]),
        (0, 3, [1, 2, 0, 3]),
        (9, 2, [0, 9, 1, 2, 3]),
        (9, 50, [0, 1, 2, 3, 9]),
        (1, 2, [0, 1, 2, 3]),
    ],
)
def test_a_pin_moves_or_inserts_an_item(item, position, expected):
    pinned = pin_item(candidates(4), item, 0.5, position)

    assert pinned.items.tolist() == expected
    assert pinned.scores[expected.index(item)] == 0.5


def test_mmr_by_hand():
    """Items 0 and 1 are equal, item 2 is orthogonal; relevance 1, 0.75, 0.

    Item 0 is first. Then, with 0.4 of relevance and 0.6 of similarity, item 1 has 0.4 · 0.75 - 0.6 · 1 = -0.3,
    item 2 has 0.4 · 0 - 0.6 · 0 = 0.
    """
    embedding = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    found = candidates(3, [8.0, 7.0, 4.0])

    diverse = diversify(found, embedding, method="mmr", strength=0.6, k=2)
    relevant = diversify(found, embedding, method="mmr", strength=0.0, k=2)

    assert diverse.items.tolist() == [0, 2, 1]
    assert diverse.scores.tolist() == [8.0, 4.0, 7.0]
    assert relevant.items.tolist() == [0, 1, 2]


def test_a_dpp_of_relevance_alone_keeps_the_order_and_otherwise_diversifies():
    embedding = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    found = candidates(3, [8.0, 7.0, 4.0])

    assert diversify(found, embedding, method="dpp", strength=0.0, k=3).items.tolist() == [
        0,
        1,
        2,
    ]
    assert diversify(found, embedding, method="dpp", strength=0.9, k=2).items.tolist() == [
        0,
        2,
        1,
    ]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_diversify_keeps_every_candidate(method):
    rng = np.random.default_rng(0)
    found = candidates(50, np.sort(rng.normal(size=50))[::-1])

    diverse = diversify(
        found, rng.normal(size=(50, 4)).astype(np.float32), method=method, strength=0.5, k=10
    )

    assert sorted(diverse.items.tolist()) == list(range(50))
    assert diverse.items[10:].tolist() == sorted(diverse.items[10:].tolist())


def test_calibration_matches_the_category_distribution_of_the_session():
    session = np.array([A, A, A, B, NONE])
    category = np.array([A] * 10 + [B] * 10)

    calibrated_list = calibrate(candidates(20), category, session, strength=0.99, k=8)

    shown = category[calibrated_list.items[:8]]
    assert [(shown == c).sum() for c in (A, B)] == [6, 2]  # three quarters, as in the session


def test_calibration_is_greedy():
    """Every step by Eq. 3 to 5 of Steck (2018)."""
    session, strength = [A, B, B], 0.5
    category = [A, C, NONE, B, A, B]
    found = candidates(6, [6.0, 5.5, 5.0, 3.0, 2.0, 0.0])
    wanted = {A: 1 / 3, B: 2 / 3}
    relevance = [score / 6 for score in found.scores.tolist()]

    def gain(chosen):
        shares = {c: sum(category[n] == c for n in chosen) / len(chosen) for c in wanted}
        divergence = sum(p * log(p / (0.99 * shares[c] + 0.01 * p)) for c, p in wanted.items())
        return (1 - strength) * sum(relevance[n] for n in chosen) - strength * divergence

    expected = []
    for _ in range(4):
        left = [n for n in range(6) if n not in expected]
        expected.append(max(left, key=lambda n: gain([*expected, n])))

    got = calibrate(found, np.array(category), np.array(session), strength=strength, k=4)

    assert got.items.tolist()[:4] == expected
    assert sorted(got.items.tolist()) == list(range(6))


def test_calibration_without_a_known_category_keeps_the_order():
    found = candidates(4)

    same = calibrate(found, np.array([A, B, A, B]), np.array([NONE]), strength=1.0, k=2)

    assert same.items.tolist() == [0, 1, 2, 3]


def test_calibration_alone_minimises_the_divergence():
    category = np.array([A, A, A, B, B])
    got = calibrate(candidates(5), category, np.array([A, B]), strength=1.0, k=4)

    def divergence(order):
        share = np.mean(category[list(order)] == A)
        return sum(0.5 * log(0.5 / (0.99 * q + 0.005)) for q in (share, 1 - share))

    least = min(divergence(order) for order in permutations(range(5), 4))
    assert divergence(got.items[:4]) == pytest.approx(least)


def test_scores_are_scaled_to_0_and_1():
    assert min_max_scale(np.array([5.0, 3.0, 1.0], dtype=np.float32)).tolist() == [1.0, 0.5, 0.0]
    assert min_max_scale(np.array([2.0, 2.0], dtype=np.float32)).tolist() == [1.0, 1.0]
    assert min_max_scale(np.array([], dtype=np.float32)).tolist() == []

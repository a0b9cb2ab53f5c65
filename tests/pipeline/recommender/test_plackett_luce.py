"""Plackett–Luce probabilities against every permutation by hand, published numbers, and draws."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from pipeline.recommender.plackett_luce import draw_list, log_conditionals, marginals

Z = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -1.5])


def by_hand(z, k):
    """The probability of every list of k, item by item, and those of items at positions."""
    worth = np.exp(z - z.max())
    lists = np.array(list(permutations(range(len(z)), k)))
    chance, at = np.ones(len(lists)), np.zeros((len(z), k))
    for row, one in enumerate(lists):
        for position, item in enumerate(one):
            remaining = np.setdiff1d(np.arange(len(z)), one[:position])
            chance[row] *= worth[item] / worth[remaining].sum()
        at[one, np.arange(k)] += chance[row]
    return lists, chance, at


@pytest.mark.parametrize("z", [Z, np.array([3.0, 0.0, -20.0, 8.0, 1.0])])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_probabilities_are_those_of_all_permutations(z, k):
    lists, chance, at = by_hand(z, k)
    rows = np.tile(z, (len(lists), 1))

    conditional = np.exp(log_conditionals(rows, lists))
    assert conditional.prod(axis=1) == pytest.approx(chance, rel=1e-12)
    assert conditional.prod(axis=1).sum() == pytest.approx(1, abs=1e-12)
    assert marginals(rows, lists) == pytest.approx(at[lists, np.arange(k)], rel=1e-7)


def test_published_numbers():
    found = log_conditionals(Z[None], np.array([[1, 0, 3]]))[0]
    assert found == pytest.approx(
        [-1.5912967951509174, -0.36356607210303293, -1.1754902621628593], rel=1e-13
    )
    huge = np.array([[800.0, 700.0, 690.0, -5.0]])  # neither overflow nor cancellation
    assert log_conditionals(huge, np.array([[0, 1]]))[0] == pytest.approx(
        [0.0, -4.539889926036267e-05], rel=1e-11
    )


def test_missing_candidates_and_the_end_of_a_short_list_change_nothing():
    short = np.array([[1, 0, -1, -1]])
    padded = np.append(Z, [-np.inf, -np.inf])[None]

    assert log_conditionals(padded, short)[0, :2] == pytest.approx(
        log_conditionals(Z[None], short[:, :2])[0]
    )
    assert marginals(padded, short)[0, :2] == pytest.approx(marginals(Z[None], short[:, :2])[0])
    assert log_conditionals(padded, short)[0, 2:].tolist() == [0, 0]
    assert marginals(padded, short)[0, 2:].tolist() == [1, 1]


def test_lists_are_drawn_with_these_probabilities():
    rng = np.random.default_rng(5)
    lists, chance, _ = by_hand(Z, 2)
    number = {tuple(one): n for n, one in enumerate(lists.tolist())}
    drawn = np.bincount(
        [number[tuple(draw_list(Z, 2, rng).tolist())] for _ in range(20_000)],
        minlength=len(lists),
    )

    assert stats.chisquare(drawn, 20_000 * chance).pvalue > 0.001
    assert sorted(draw_list(Z, 10, rng).tolist()) == list(range(6))

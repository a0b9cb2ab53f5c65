"""Counting gives the ranks that sorting gives, whatever the scores."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.scoring import ranking
from models.scoring.ranking import count_above
from models.scoring.tie_rule import TieRule

ADVERSARIAL = [-math.inf, -1.0, -1e-30, -0.0, 0.0, 1.0, 1.0 + 2**-23, 3e38, math.inf]
RULES = {
    # rank from how many are above, and how many others tie
    TieRule.OPTIMISTIC: lambda above, _ties: above + 1,
    TieRule.PESSIMISTIC: lambda above, ties: above + ties + 1,
    TieRule.HALF: lambda above, ties: above + 1 + -(-ties // 2),
}


def rank_by_sorting(scores, target, rule):
    """The target's place, its ties put in front of it as the rule says."""
    others = sorted((score for item, score in enumerate(scores) if item != target), reverse=True)
    ties = others.count(scores[target])
    above = next((n for n, score in enumerate(others) if score <= scores[target]), len(others))
    return RULES[rule](above, ties)


def integer_tensor(rows, columns, seed, largest=3):
    """Small integers: their products are exact, and tie often."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, (rows, columns), generator=generator).float()


@pytest.mark.parametrize("rule", list(TieRule))
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 60), st.integers(1, 4)),
    seed=st.integers(0, 2**16),
    block_and_tile=st.sampled_from([(8, 8), (5, 16), (512, 1024)]),
)
@settings(max_examples=60)
def test_ranks_are_those_of_sorting(rule, shape, seed, block_and_tile):
    positions, items, width = shape
    hidden, table = integer_tensor(positions, width, seed), integer_tensor(items, width, seed + 1)
    targets = torch.randint(items, (positions,), generator=torch.Generator().manual_seed(seed))

    with pytest.MonkeyPatch.context() as patched:
        for name, size in zip(("_BLOCK", "_TILE"), block_and_tile, strict=True):
            patched.setattr(ranking, name, size)
        found = count_above(hidden[None], table, targets).ranks(rule)[0].tolist()

    scores = (hidden @ table.T).tolist()
    assert found == [
        rank_by_sorting(row, target, rule)
        for row, target in zip(scores, targets.tolist(), strict=True)
    ]


def ranks_of(scores, rule):
    """Each item's rank as the target, where item i scores exactly scores[i]."""
    table = torch.tensor(scores)[:, None]
    items = torch.arange(len(scores))
    return count_above(torch.ones(1, len(scores), 1), table, items).ranks(rule)[0].tolist()


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([0.3, 0.9, 0.5], 2, 1 + 1),
        ([0.3, 0.9, 0.5], 1, 1),
        ([5.0, 5.0], 0, 1 + 1),  # half of 1 tie, rounded up
        ([5.0, 5.0, 5.0], 0, 1 + 1),  # half of 2 ties
        ([5.0, 5.0, 5.0, 5.0], 3, 1 + 2),  # half of 3 ties, rounded up
        ([9.0, 5.0, 5.0, 7.0, 5.0, 1.0], 4, 1 + 2 + 1),
        ([math.inf, math.inf, 0.0], 1, 1 + 1),
        ([-math.inf, -math.inf, 0.0], 0, 1 + 1 + 1),
        ([-math.inf], 0, 1),
    ],
    ids=["second", "best", "2-tie", "3-tie", "4-tie", "tie-below", "inf", "minus-inf", "one-item"],
)
def test_rank_counts_items_above_and_half_of_the_ties(scores, target, rank):
    assert ranks_of(scores, TieRule.HALF)[target] == rank


@pytest.mark.parametrize("rule", list(TieRule))
@given(scores=st.lists(st.sampled_from(ADVERSARIAL), min_size=1, max_size=20))
def test_adversarial_scores_are_ranked_as_by_sorting(rule, scores):
    expected = [rank_by_sorting(scores, target, rule) for target in range(len(scores))]

    assert ranks_of(scores, rule) == expected


def test_autocast_changes_no_rank():
    hidden, table = integer_tensor(300, 4, 0, largest=300), integer_tensor(5000, 4, 1, largest=300)
    targets = torch.arange(300)
    expected = count_above(hidden[None], table, targets).ranks(TieRule.HALF)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = count_above(hidden[None], table, targets).ranks(TieRule.HALF)

    assert torch.equal(found, expected)


@pytest.mark.parametrize("items", [1, 2, 7, 8, 9, 1023, 1024, 1025, 2049, 4000])
def test_every_item_is_counted_once_at_the_edges_of_the_tiles(items):
    table = torch.arange(items, dtype=torch.float32)[:, None]
    targets = torch.arange(items)

    counts = count_above(torch.ones(1, items, 1), table, targets)

    assert counts.above_GP[0].tolist() == list(range(items - 1, -1, -1))
    assert counts.ties_GP[0].tolist() == [0] * items


def test_a_catalogue_of_equal_items_ties_with_all_others():
    counts = count_above(torch.ones(1, 3, 2), torch.ones(5000, 2), torch.tensor([0, 2500, 4999]))

    assert counts.above_GP[0].tolist() == [0, 0, 0]
    assert counts.ties_GP[0].tolist() == [4999] * 3
    assert counts.ranks(TieRule.OPTIMISTIC)[0].tolist() == [1] * 3
    assert counts.ranks(TieRule.HALF)[0].tolist() == [2501] * 3
    assert counts.ranks(TieRule.PESSIMISTIC)[0].tolist() == [5000] * 3


def test_infinite_scores_are_ranked_like_any_other():
    largest = torch.finfo(torch.float32).max
    table = torch.tensor([[largest], [1.0], [-largest], [largest]])

    counts = count_above(torch.full((1, 4, 1), 2.0), table, torch.arange(4))

    assert counts.above_GP[0].tolist() == [0, 2, 3, 0]
    assert counts.ties_GP[0].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("place", [0, 3000])
def test_a_score_that_is_not_a_number_is_refused(place):
    table = torch.ones(4000, 2)
    table[place] = torch.tensor([torch.inf, -torch.inf])

    with pytest.raises(ModelError, match="a score is not a number; the weights of the model are"):
        count_above(torch.ones(1, 1, 2), table, torch.tensor([place]))
    with pytest.raises(ModelError, match="a score is not a number"):
        count_above(torch.ones(1, 1, 2), table, torch.tensor([1]))
    with pytest.raises(ModelError, match="a score is not a number"):
        count_above(torch.full((1, 1, 2), torch.nan), torch.ones(3, 2), torch.tensor([1]))


def test_rounding_never_puts_a_target_above_itself():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 64, generator=generator)
    table = torch.randn(2500, 64, generator=generator)
    targets = torch.randint(2500, (300,), generator=generator)

    best = (hidden.double() @ table.double().T).argmax(dim=1)
    counts = count_above(hidden[None], table, best)

    assert counts.above_GP.sum() == 0
    assert counts.ties_GP.sum() == 0
    twin = (hidden.double() @ table.double().T).numpy()
    above = (twin > twin[np.arange(300), targets.numpy()][:, None]).sum(axis=1)
    assert count_above(hidden[None], table, targets).above_GP[0].tolist() == above.tolist()


@pytest.mark.parametrize("width", [1, 3, 17, 64, 200])
@pytest.mark.parametrize("positions", [1, 2, 47, 300, 769])
def test_items_with_the_same_embedding_tie_wherever_they_stand(positions, width):
    generator = torch.Generator().manual_seed(positions * width)
    hidden = torch.randn(2, positions, width, generator=generator)
    table = torch.randn(1, width, generator=generator).repeat(1700, 1)
    targets = torch.randint(1700, (positions,), generator=generator)

    counts = count_above(hidden, table, targets)

    assert (counts.above_GP == 0).all()
    assert (counts.ties_GP == 1699).all()


def test_log_sum_exp_is_of_all_scores():
    generator = torch.Generator().manual_seed(1)
    hidden = 3 * torch.randn(40, 8, generator=generator)
    table = torch.randn(5000, 8, generator=generator)

    counts = count_above(hidden[None], table, torch.arange(40), with_lse=True)

    twin = torch.logsumexp(hidden.double() @ table.double().T, dim=1)
    assert counts.lse_GP is not None
    assert torch.allclose(counts.lse_GP[0].double(), twin, rtol=1e-6)

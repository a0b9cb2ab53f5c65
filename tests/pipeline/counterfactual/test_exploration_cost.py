"""The expected cost of exploration, against every permutation by hand."""

from itertools import permutations

import numpy as np
import pytest
import torch

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.scoring.recommend import target_candidates
from models.tokens import SessionTokens
from pipeline.core.contracts import Metric
from pipeline.counterfactual.exploration_cost import exploration_loss

ITEMS, POOL, K = 12, 5, 3
LISTS = np.array(list(permutations(range(POOL), K)))
GROUPS = [((0.9, 0.1), 0.25), ((0.2, 0.8), 0.75)]
DISCOUNT = {Metric.RECALL: np.ones(K), Metric.NDCG: 1 / np.log2(2 + np.arange(K))}


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    found = build_model(config, n_items=ITEMS, n_objectives=2, seed=3)
    found.item_embedding.weight.data *= 6
    return found


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(2)
    sessions = [rng.integers(0, ITEMS, rng.integers(2, 8)) for _ in range(1500)]
    return SessionTokens.from_lists([[(int(n), 0) for n in one] for one in sessions])


def by_hand(model, tokens, temperature, preference):
    """Sums of the gains under the own lists and under all draws, weighed by their probabilities."""
    own, drawn, kept, first = dict.fromkeys(DISCOUNT, 0.0), dict.fromkeys(DISCOUNT, 0.0), [], []
    for part in target_candidates(model, tokens, torch.tensor(preference), POOL):
        worth = np.exp(part.scores_PN.astype(float) / temperature)
        left, chance = worth.sum(axis=1)[:, None], 1.0
        for position in range(K):
            chosen = worth[:, LISTS[:, position]]
            chance = chance * chosen / left
            left = left - chosen
        is_target = part.items_PN == part.item[:, None]
        for metric, discount in DISCOUNT.items():
            own[metric] += (is_target[:, :K] * discount).sum()
            gain = (is_target[:, LISTS] * discount).sum(axis=2)
            drawn[metric] += (chance * gain).sum()
        kept.append((chance * (LISTS < K).mean(axis=1)).sum(axis=1))
        first.append((chance * (LISTS[:, 0] == 0)).sum(axis=1))
    return own, drawn, np.concatenate(kept).mean(), np.concatenate(first).mean()


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_loss_is_that_of_all_possible_lists(model, tokens, temperature):
    found = exploration_loss(
        model, tokens, GROUPS, temperature=temperature, candidates=POOL, k=K, seed=1
    )

    each = [by_hand(model, tokens, temperature, preference) for preference, _ in GROUPS]
    shares = [share for _, share in GROUPS]
    for loss in found.metrics:
        own = np.array([one[0][loss.metric] for one in each])
        drawn = np.array([one[1][loss.metric] for one in each])
        exact = 1 - (drawn @ shares) / (own @ shares)
        assert loss.loss == pytest.approx(exact, abs=4 * loss.standard_error)
        assert loss.standard_error < 0.05
        assert loss.by_group == pytest.approx((1 - drawn / own).tolist(), abs=0.12)
    assert found.kept == pytest.approx(
        np.average([one[2] for one in each], weights=shares), abs=0.02
    )
    assert found.first_kept == pytest.approx(
        np.average([one[3] for one in each], weights=shares), abs=0.02
    )
    assert found.sessions == 1500


def test_hardly_any_randomness_costs_nothing(model, tokens):
    cold = exploration_loss(model, tokens, GROUPS, temperature=0.001, candidates=POOL, k=K, seed=1)

    assert [one.loss for one in cold.metrics] == pytest.approx([0, 0], abs=0.01)
    assert (cold.kept, cold.first_kept) == pytest.approx((1, 1), abs=0.01)

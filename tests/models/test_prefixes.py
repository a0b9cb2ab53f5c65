"""Sessions that begin alike share a forward pass, and have the lists that each has alone."""

import numpy as np
import pytest
import torch

from models.network.configuration import ModelConfig, Positions
from models.network.model import build_model
from models.scoring.prefixes import SessionChains, chain_candidates
from models.scoring.recommend import top_items

ITEMS, K = 40, 5


def sessions(seed=0):
    """Visits with all their beginnings, repeated, of one click and longer than the window."""
    rng = np.random.default_rng(seed)
    visits = [rng.integers(0, ITEMS, rng.integers(1, 15)) for _ in range(30)]
    found = [visit[:n] for visit in visits for n in range(1, len(visit) + 1)]
    return [found[row] for row in rng.permutation(len(found))] + found[:10]


@pytest.mark.parametrize("backbone", ["tron", "gru4rec"])
@pytest.mark.parametrize("positions", list(Positions))
def test_every_session_has_the_list_that_it_has_alone(backbone, positions):
    config = ModelConfig(
        backbone=backbone, hidden_size=8, layers=1, heads=1, max_length=9, positions=positions
    )
    model = build_model(config, n_items=ITEMS, n_objectives=2, seed=1)
    given, preference = sessions(), torch.tensor([0.3, 0.7])

    chains = SessionChains.of(given, model.config)

    lists = np.full((len(given), K), -1)
    for rows, items, scores in chain_candidates(model, chains, preference, K):
        lists[rows] = items
        assert (np.diff(scores, axis=1) <= 0).all()
    alone = top_items(model, given, preference.expand(len(given), -1), K)
    assert (lists == alone).all()


def test_a_visit_is_one_chain_and_a_window_begins_another():
    visit = np.arange(6)
    given = [visit[:3], visit, visit[:1], np.array([7]), visit[:3]]

    short = SessionChains.of(given, ModelConfig(max_length=10))
    cut = SessionChains.of(given, ModelConfig(max_length=4))

    assert [chain.tolist() for chain in short.chains] == [[7], [0, 1, 2, 3, 4, 5]]
    # the last four clicks of the visit do not begin as the others
    assert sorted(chain.tolist() for chain in cut.chains) == [[0, 1, 2], [2, 3, 4, 5], [7]]

"""The item table's start from co-occurrence: mutual information by hand, what vectors keep of it, and what is left alone."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from torch import nn

from models.network.configuration import ModelConfig
from models.objectives.configuration import Negatives
from models.tokens import SessionTokens
from models.training import co_occurrence
from models.training.co_occurrence import start_from_co_occurrence
from models.training.configuration import ItemVectors, TrainingConfig
from models.training.loop import train


def sessions(*items: list[int]) -> SessionTokens:
    return SessionTokens.from_lists([[(item, 0) for item in one] for one in items])


def new_table(n_items: int, size: int = 8) -> nn.Embedding:
    table = nn.Embedding(n_items, size)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        table.weight.copy_(0.1 * torch.randn(n_items, size, generator=generator))
    return table


@pytest.fixture
def two_halves() -> SessionTokens:
    """Items 0 to 9 are clicked together, and 10 to 19 are; 20 is alone."""
    rng = np.random.default_rng(0)
    lists = [list(rng.choice(10, 4, replace=False) + 10 * (n % 2)) for n in range(400)]
    return sessions(*lists, [20, 20])


def test_mutual_information_by_hand():
    # pairs: 0-1 twice, 0-2 and 1-2 once, 3-4 once; both directions: 10 in all
    tokens = sessions([0, 1, 2], [0, 1], [3, 4], [5, 5], [2])
    item, neighbour, value = co_occurrence._mutual_information(tokens, 6)

    found = {
        (i, j): v
        for i, j, v in zip(*map(torch.Tensor.tolist, (item, neighbour, value)), strict=True)
    }
    expected = {
        (0, 1): log(2 * 10 / (3 * 3)),
        (0, 2): log(1 * 10 / (3 * 2)),
        (1, 2): log(1 * 10 / (3 * 2)),
        (3, 4): log(1 * 10 / (1 * 1)),
    }
    assert found == pytest.approx(expected | {(j, i): v for (i, j), v in expected.items()})


def test_clicks_more_than_three_apart_are_not_near():
    item, neighbour, _ = co_occurrence._mutual_information(sessions([0, 1, 2, 3, 4], [0, 9]), 10)
    pairs = set(zip(item.tolist(), neighbour.tolist(), strict=True))
    assert (0, 9) in pairs
    assert not {(0, 4), (4, 0)} & pairs


def test_items_clicked_together_get_vectors_that_are_near(two_halves):
    table = new_table(21)
    start_from_co_occurrence(table, two_halves, seed=1)

    vectors = nn.functional.normalize(table.weight.detach()[:20], dim=1)
    products = vectors @ vectors.T
    first, second = products[:10, :10], products[:10, 10:]
    assert first.mean() > 0.5
    assert second.abs().max() < 0.2


def test_lengths_are_those_of_the_random_table_and_an_item_alone_keeps_its_row(two_halves):
    before, table = new_table(22), new_table(22)
    start_from_co_occurrence(table, two_halves, seed=1)

    mean = before.weight.norm(dim=1).mean().item()
    assert table.weight.norm(dim=1)[:20].tolist() == pytest.approx([mean] * 20, rel=1e-5)
    assert torch.equal(table.weight[20:], before.weight[20:])


def test_a_log_without_pairs_leaves_the_table():
    before, table = new_table(3), new_table(3)
    start_from_co_occurrence(table, sessions([0], [1, 1]), seed=1)
    assert torch.equal(table.weight, before.weight)


def test_the_same_seed_gives_the_same_bits_and_no_global_generator_moves(two_halves):
    tables = [new_table(21) for _ in range(3)]
    state = torch.random.get_rng_state()
    for table, seed in zip(tables, (1, 1, 2), strict=True):
        start_from_co_occurrence(table, two_halves, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(tables[0].weight, tables[1].weight)
    assert not torch.equal(tables[0].weight, tables[2].weight)


def test_of_a_large_log_the_last_clicks_count(monkeypatch):
    monkeypatch.setattr(co_occurrence, "_MOST_CLICKS", 5)
    item, _, _ = co_occurrence._mutual_information(sessions([0, 1], [2, 3, 4], [5, 6]), 7)
    assert set(item.tolist()) == {2, 3, 4, 5, 6}


def test_fewer_items_than_dimensions():
    table = new_table(3, size=16)
    start_from_co_occurrence(table, sessions([0, 1], [1, 2], [0, 1]), seed=1)
    assert table.weight.isfinite().all()


def test_training_begins_there_and_is_better_after_one_epoch(two_halves):
    config = TrainingConfig(
        epochs=1,
        batch_size=64,
        learning_rate=0.001,
        threads=1,
        device="cpu",
        negatives=Negatives(uniform=8),
    )
    network = ModelConfig(hidden_size=16, layers=1, heads=2, max_length=8)
    loss = {}
    for start in ItemVectors:
        trained = train(
            two_halves,
            two_halves,
            n_items=21,
            model_config=network,
            config=replace(config, initial_items=start),
            seed=1,
        )
        loss[start] = next(
            one.loss
            for one in trained.curves
            if (one.split, one.objective) == ("validation", "click")
        )
    assert loss[ItemVectors.CO_OCCURRENCE] < loss[ItemVectors.RANDOM] - 0.05

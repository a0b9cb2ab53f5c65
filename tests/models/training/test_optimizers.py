"""Optimisers: AdamW, lazy Adam on the rows that were used, clipping, and the rate's schedule."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.training.configuration import TrainingConfig
from models.training.optimizers import (
    build_optimizers,
    clip_gradient,
    learning_rate_share,
    optimizer_tensors,
    restore_optimizers,
    set_learning_rate,
)

ITEMS = 10
MODEL = ModelConfig(hidden_size=8, layers=1, heads=1, max_length=6)
RATE, DECAY, EPSILON = 0.01, 0.1, 1e-8
SLOW, SLOWER = 0.9, 0.999
"""Adam's two means forget so slowly."""


def built(*, sparse=False):
    config = TrainingConfig(sparse_items=sparse, learning_rate=RATE, weight_decay=DECAY)
    model = build_model(MODEL, n_items=ITEMS, n_objectives=2, seed=1, sparse_items=sparse)
    return model, build_optimizers(model, config)


def step(model, optimizers, items, *, seed=0):
    """One step on a loss that uses these rows of the item table, and every other weight."""
    generator = torch.Generator().manual_seed(seed)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = (model.item_embedding(torch.tensor(items)) * pulls(items, seed)).sum()
    for one in others(model).values():
        loss = loss + (one * torch.randn(one.shape, generator=generator)).sum()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def pulls(items, seed):
    """The gradient of each use of an item."""
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randn(len(items), MODEL.hidden_size, generator=generator)


def others(model):
    return {name: one for name, one in model.named_parameters() if "item_embedding" not in name}


def table_of(model):
    return model.item_embedding.weight.detach().clone()


def test_decay_takes_from_matrices_only():
    model, optimizers = built()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}

    for optimizer in optimizers:
        optimizer.zero_grad()
    (sum(one.sum() for one in model.parameters()) * 0).backward()  # every gradient is 0
    for optimizer in optimizers:
        optimizer.step()

    for name, one in model.named_parameters():
        share = 1 - RATE * DECAY if one.dim() > 1 else 1
        torch.testing.assert_close(one.detach(), before[name] * share, rtol=1e-6, atol=0)


def test_a_first_step_is_the_learning_rate_in_the_direction_of_the_gradient():
    model, optimizers = built()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}

    step(model, optimizers, [1, 1, 4])

    for name, one in model.named_parameters():
        decayed = before[name] * (1 - RATE * DECAY if one.dim() > 1 else 1)
        by_hand = decayed - RATE * one.grad / (one.grad.abs() + EPSILON)
        torch.testing.assert_close(one.detach(), by_hand, rtol=1e-5, atol=1e-7)


@given(items=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=12))
@settings(max_examples=25)
def test_with_sparse_items_a_step_touches_the_rows_it_used_only(items):
    model, optimizers = built(sparse=True)
    before = table_of(model)

    step(model, optimizers, items)

    moved = (table_of(model) != before).any(dim=1).nonzero()[:, 0].tolist()
    assert moved == sorted(set(items))


def test_a_first_sparse_step_is_that_of_a_dense_adam_on_the_rows_it_used():
    items = [1, 4, 1, 7]
    model, optimizers = built(sparse=True)
    dense = nn.Parameter(table_of(model))
    (dense[items] * pulls(items, 0)).sum().backward()
    torch.optim.Adam([dense], lr=RATE).step()

    step(model, optimizers, items)

    torch.testing.assert_close(table_of(model)[[1, 4, 7]], dense.detach()[[1, 4, 7]])


def test_lazy_adam_by_hand():
    # a row's means are moved on in the steps that use it only; their correction knows all steps
    model, optimizers = built(sparse=True)
    row = table_of(model)[3].double()
    mean, square = torch.zeros(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)

    for number, items in enumerate([[3, 5], [0, 5], [3, 3, 8], [1], [3]]):
        step(model, optimizers, items, seed=number)
        used = torch.tensor(items) == 3
        if used.any():
            gradient = pulls(items, number)[used].double().sum(dim=0)
            mean = SLOW * mean + (1 - SLOW) * gradient
            square = SLOWER * square + (1 - SLOWER) * gradient**2
            correction = math.sqrt(1 - SLOWER ** (number + 1)) / (1 - SLOW ** (number + 1))
            row = row - RATE * correction * mean / (square.sqrt() + EPSILON)

    torch.testing.assert_close(table_of(model)[3].double(), row, rtol=1e-5, atol=1e-6)


def test_sparse_items_change_nothing_for_the_other_weights():
    model, optimizers = built()
    sparse_model, sparse_optimizers = built(sparse=True)

    for number in range(3):
        step(model, optimizers, [1, 2], seed=number)
        step(sparse_model, sparse_optimizers, [1, 2], seed=number)

    for name, one in others(model).items():
        assert torch.equal(one, others(sparse_model)[name])


@pytest.mark.parametrize("sparse", [False, True], ids=["adamw", "sparse items"])
def test_restored_optimisers_go_on_bit_for_bit(sparse):
    model, optimizers = built(sparse=sparse)
    for number in range(7):
        step(model, optimizers, [number % 3, 5], seed=number)
    weights = {name: one.clone() for name, one in model.state_dict().items()}
    tensors = {name: one.clone() for name, one in optimizer_tensors(optimizers).items()}
    other_model, other_optimizers = built(sparse=sparse)
    other_model.load_state_dict(weights)

    restore_optimizers(other_optimizers, tensors)

    for number in range(7, 20):
        step(model, optimizers, [number % 3, 5], seed=number)
        step(other_model, other_optimizers, [number % 3, 5], seed=number)
        for one, other in zip(model.parameters(), other_model.parameters(), strict=True):
            assert torch.equal(one, other)
    pairs = optimizer_tensors(optimizers), optimizer_tensors(other_optimizers)
    assert pairs[0].keys() == pairs[1].keys()
    assert all(torch.equal(one, pairs[1][name]) for name, one in pairs[0].items())


def test_the_learning_rate_is_that_of_every_weight():
    model, optimizers = built(sparse=True)
    before = [one.detach().clone() for one in model.parameters()]

    set_learning_rate(optimizers, 0.0)
    step(model, optimizers, [1, 2])

    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


class Weights(nn.Module):
    """Two dense weights, and a table of which some rows are used, one of them twice."""

    def __init__(self, dense, rows):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))
        self.unused = nn.Parameter(torch.zeros(3))
        self.table = nn.Parameter(torch.zeros(4, 2))
        self.bias.grad = torch.tensor(dense)
        self.table.grad = torch.sparse_coo_tensor(
            torch.tensor([[1, 3, 1]]), torch.tensor(rows), (4, 2), check_invariants=True
        )


def test_clipping_by_hand_dense_and_sparse():
    # row 1 is used twice: its gradient is (2, 1) + (0, 1) = (2, 2); 2² + 1² + 2² + 2² + 0² + 6² = 7²
    model = Weights(dense=[2.0, 1.0], rows=[[2.0, 1.0], [0.0, 6.0], [0.0, 1.0]])

    clip_gradient(model, 3.5)

    torch.testing.assert_close(model.bias.grad, torch.tensor([1.0, 0.5]))
    table = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 3.0]])
    torch.testing.assert_close(model.table.grad.to_dense(), table)
    assert model.unused.grad is None


@pytest.mark.parametrize("largest", [7.1, 1000.0])
def test_a_gradient_that_is_small_enough_stays(largest):
    model = Weights(dense=[2.0, 1.0], rows=[[2.0, 1.0], [0.0, 6.0], [0.0, 1.0]])

    clip_gradient(model, largest)

    assert model.bias.grad.tolist() == [2.0, 1.0]
    assert model.table.grad.to_dense().tolist() == [[0, 0], [2, 2], [0, 0], [0, 6]]


def test_the_rate_warms_up_and_falls_like_half_a_cosine():
    shares = [learning_rate_share(step, 12, 1 / 3) for step in range(12)]

    rising = [1 / 4, 2 / 4, 3 / 4, 4 / 4]
    falling = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]  # the first is 1, too
    assert shares == pytest.approx(rising + falling)
    assert shares[8] == pytest.approx(0.5)  # half way down
    assert learning_rate_share(12, 12, 1 / 3) == pytest.approx(0.0)  # the end, which is not a step


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert learning_rate_share(0, 4, 0.0) == 1.0
    assert [learning_rate_share(step, 4, 0.0) for step in range(1, 4)] == pytest.approx(
        [(1 + math.cos(math.pi * step / 3)) / 2 for step in range(3)]
    )


@given(steps=st.integers(1, 500), warmup_ratio=st.floats(0, 1, exclude_max=True))
def test_the_rate_is_a_share_that_rises_once_and_falls_once(steps, warmup_ratio):
    shares = [learning_rate_share(step, steps, warmup_ratio) for step in range(steps)]
    peak = shares.index(max(shares))

    assert all(0 < share <= 1 for share in shares)
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert shares[peak] == 1

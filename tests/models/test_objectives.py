import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.configuration import ModelConfig, Objective
from models.network import build_model
from models.objectives import (
    label_loss,
    non_uniformity,
    objective_losses,
    sampled_softmax_loss,
    scalarised_loss,
    session_means,
)

log = math.log
positive = st.floats(0.01, 100)
quick = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("target", "negatives", "is_target", "expected"),
    [
        (log(1), [log(2), log(3)], [False, False], log((1 + 2 + 3) / 1)),
        (log(4), [log(1), log(5)], [False, False], log((4 + 1 + 5) / 4)),
        (log(1), [log(2), log(3)], [False, True], log((1 + 2) / 1)),
        (log(1), [log(2), log(3)], [True, True], 0.0),
        (1000.0, [1000.0, 1000.0], [False, False], log(3)),
        (-1000.0, [1000.0, 0.0], [False, False], 2000.0),
    ],
    ids=["plain", "strong-target", "one-is-target", "all-are-target", "huge", "hopeless"],
)
def test_sampled_softmax_by_hand(target, negatives, is_target, expected):
    loss_P = sampled_softmax_loss(
        torch.tensor([target]).double(),
        torch.tensor([negatives]).double(),
        torch.tensor([is_target]),
    )

    assert loss_P.tolist() == pytest.approx([expected], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("score", "label", "expected"),
    [
        (0.0, 1.0, log(2)),
        (0.0, 0.0, log(2)),
        (log(3), 1.0, -log(3 / 4)),  # σ(log 3) = 3 / (3 + 1)
        (log(3), 0.0, -log(1 - 3 / 4)),
        (-200.0, 1.0, 200.0),
        (-200.0, 0.0, 0.0),
    ],
    ids=["even-yes", "even-no", "likely-yes", "likely-no", "miss", "sure"],
)
def test_label_loss_by_hand(score, label, expected):
    loss_P = label_loss(torch.tensor([score]), torch.tensor([label]))

    assert loss_P.tolist() == pytest.approx([expected], rel=1e-6, abs=1e-6)


def test_session_means_by_hand():
    values_PO = torch.tensor([[1.0, 10.0], [6.0, 0.0], [3.0, 20.0], [8.0, 1.0], [7.0, 5.0]])
    session_P = torch.tensor([0, 2, 0, 2, 2])

    means_BO = session_means(values_PO, session_P, 4)

    assert means_BO.tolist() == [
        [(1 + 3) / 2, (10 + 20) / 2],
        [0, 0],  # session 1 has no position
        [(6 + 8 + 7) / 3, (0 + 1 + 5) / 3],
        [0, 0],
    ]


@pytest.mark.parametrize(
    ("losses", "preference", "expected"),
    [
        ([3.0, 3.0], [1 / 2, 1 / 2], 0.0),
        ([1.0, 4.0], [4 / 5, 1 / 5], 0.0),  # 4/5 · 1 = 1/5 · 4
        ([1.0, 3.0], [1 / 2, 1 / 2], log(2) + 1 / 4 * log(1 / 4) + 3 / 4 * log(3 / 4)),
        ([2.0, 1.0], [3 / 5, 2 / 5], log(2) + 3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4)),
        ([5.0, 7.0], [1.0, 0.0], log(2)),
        ([1.0, 1.0, 2.0], [1 / 3] * 3, log(3) + 2 * 1 / 4 * log(1 / 4) + 1 / 2 * log(1 / 2)),
    ],
    ids=["equal", "balanced", "one-to-three", "three-to-one", "corner", "three-objectives"],
)
def test_non_uniformity_by_hand(losses, preference, expected):
    value_B = non_uniformity(torch.tensor([losses]), torch.tensor([preference]))

    assert value_B.tolist() == pytest.approx([expected], abs=1e-6)


@quick
@given(losses=st.tuples(positive, positive), weight=st.floats(0, 1), scale=positive)
def test_non_uniformity_knows_shares_only(losses, weight, scale):
    losses_BO, preference_BO = torch.tensor([losses]), torch.tensor([[weight, 1 - weight]])

    value = non_uniformity(losses_BO, preference_BO).item()

    assert -1e-6 <= value <= log(2) + 1e-6
    assert non_uniformity(scale * losses_BO, preference_BO).item() == pytest.approx(value, abs=1e-5)
    swapped = non_uniformity(losses_BO.flip(1), preference_BO.flip(1)).item()
    assert swapped == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("preference", [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], ids=str)
@pytest.mark.parametrize("losses", [[2.0, 3.0], [0.0, 1.0], [0.0, 0.0]], ids=str)
def test_gradients_are_finite_even_at_corners(losses, preference):
    losses_BO = torch.tensor([losses], requires_grad=True)

    scalarised_loss(losses_BO, torch.tensor([preference]), non_uniformity_weight=1.0).backward()

    assert losses_BO.grad is not None
    assert torch.isfinite(losses_BO.grad).all()


def test_scalarised_loss_by_hand():
    losses_BO = torch.tensor([[1.0, 3.0], [2.0, 6.0]])
    preference_BO = torch.tensor([[1 / 2, 1 / 2], [3 / 4, 1 / 4]])
    weighted = (1 / 2 * 1 + 1 / 2 * 3 + 3 / 4 * 2 + 1 / 4 * 6) / 2
    # the second session's weighted losses, 1.5 and 1.5, are equal: no penalty
    penalty = (log(2) + 1 / 4 * log(1 / 4) + 3 / 4 * log(3 / 4) + 0) / 2

    for weight in (0.0, 0.2, 5.0):
        loss = scalarised_loss(losses_BO, preference_BO, non_uniformity_weight=weight)
        assert loss.item() == pytest.approx(weighted + weight * penalty, rel=1e-5)


def test_long_and_short_sessions_weigh_the_same():
    # session 0 has three positions of loss 1, session 1 one of loss 5
    losses_PO = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [5.0, 0.0]], requires_grad=True)
    preference_BO = torch.tensor([[1.0, 0.0], [1.0, 0.0]])

    losses_BO = session_means(losses_PO, torch.tensor([0, 0, 0, 1]), 2)
    loss = scalarised_loss(losses_BO, preference_BO, non_uniformity_weight=0.0)
    loss.backward()

    assert loss.item() == (1 + 5) / 2
    assert losses_PO.grad is not None
    assert losses_PO.grad[:, 0].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("objectives", permutations(Objective, 2), ids="-".join)
def test_objective_losses_equal_explicit_loops(objectives):
    config = ModelConfig(width=4, layers=1, heads=1)
    model = build_model(config, n_items=6, n_objectives=2, seed=3)
    hidden_PD = 10 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    targets, negatives = [0, 5, 2, 2, 1], [2, 4, 2, 0]
    ordered, carted = [1, 0, 0, 1, 1], [1, 1, 0, 0, 1]

    with torch.no_grad():
        losses_PO = objective_losses(
            model,
            hidden_PD,
            targets_P=torch.tensor(targets),
            ordered_P=torch.tensor(ordered).float(),
            carted_P=torch.tensor(carted).float(),
            negatives_N=torch.tensor(negatives),
            objectives=objectives,
        )
        scores_PI = (hidden_PD @ model.item_embedding.weight.T).tolist()

    for row, scores in enumerate(scores_PI):
        target = scores[targets[row]]
        rivals = [scores[item] for item in negatives if item != targets[row]]
        likely = 1 / (1 + math.exp(-target))
        by_hand = {
            Objective.CLICK: log(math.exp(target) + sum(map(math.exp, rivals))) - target,
            Objective.ORDER: -log(likely if ordered[row] else 1 - likely),
            Objective.CART: -log(likely if carted[row] else 1 - likely),
        }
        expected = [by_hand[objective] for objective in objectives]
        assert losses_PO[row].tolist() == pytest.approx(expected, abs=1e-5)

"""From a session's losses to one number: every term by hand, its bounds, and its gradients."""

from math import log, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.configuration import Regulariser, Scalarisation, TrainingConfig
from models.training.scalarisation import (
    angle,
    non_uniformity,
    scalarised_losses,
    session_means,
    smooth_tchebycheff,
)

positive = st.floats(0.01, 100)
quick = settings(max_examples=50)
every_kind = pytest.mark.parametrize(
    ("scalarisation", "regulariser"),
    [(one, other) for one in Scalarisation for other in Regulariser],
    ids=lambda choice: choice.value,
)


@st.composite
def losses_and_preference(draw):
    """Up to four losses and a point of their simplex, as batches of one."""
    number = draw(st.integers(2, 4))
    losses = draw(st.lists(positive, min_size=number, max_size=number))
    weights = draw(st.lists(st.floats(0.01, 1), min_size=number, max_size=number))
    preference = torch.tensor([weights], dtype=torch.float64)
    return torch.tensor([losses], dtype=torch.float64), preference / preference.sum()


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


def test_long_and_short_sessions_weigh_the_same():
    # session 0 has three positions of loss 1, session 1 one of loss 5
    losses_PO = torch.tensor([[1.0], [1.0], [1.0], [5.0]], requires_grad=True)

    mean = session_means(losses_PO, torch.tensor([0, 0, 0, 1]), 2).mean()
    mean.backward()

    assert mean.item() == (1 + 5) / 2
    assert losses_PO.grad is not None
    assert losses_PO.grad[:, 0].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


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
    ids=["equal", "balanced", "one-to-three", "three-to-one", "vertex", "three-objectives"],
)
def test_non_uniformity_by_hand(losses, preference, expected):
    value_B = non_uniformity(torch.tensor([losses]), torch.tensor([preference]))

    assert value_B.tolist() == pytest.approx([expected], abs=1e-6)


@quick
@given(case=losses_and_preference(), scale=positive)
def test_non_uniformity_knows_shares_only(case, scale):
    losses_BO, preference_BO = case

    value = non_uniformity(losses_BO, preference_BO).item()

    assert -1e-9 <= value <= log(losses_BO.shape[1]) + 1e-9
    assert non_uniformity(scale * losses_BO, preference_BO).item() == pytest.approx(value, abs=1e-9)
    turned = non_uniformity(losses_BO.flip(1), preference_BO.flip(1)).item()
    assert turned == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("losses", "preference", "expected"),
    [
        ([2.0, 6.0], [1 / 4, 3 / 4], 0.0),
        ([1.0, 0.0], [0.0, 1.0], 1.0),
        ([2.0, 2.0], [1.0, 0.0], 1 - 1 / sqrt(2)),
        ([3.0, 4.0], [1 / 2, 1 / 2], 1 - (3 + 4) / (5 * sqrt(2))),
        ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0], 1 - 1 / sqrt(3)),
    ],
    ids=["parallel", "across", "diagonal", "three-four-five", "three-objectives"],
)
def test_angle_by_hand(losses, preference, expected):
    value_B = angle(torch.tensor([losses]), torch.tensor([preference]))

    assert value_B.tolist() == pytest.approx([expected], abs=1e-6)


@quick
@given(case=losses_and_preference(), scale=positive)
def test_angle_knows_directions_only(case, scale):
    losses_BO, preference_BO = case

    value = angle(losses_BO, preference_BO).item()

    assert -1e-9 <= value <= 1
    assert angle(scale * losses_BO, preference_BO).item() == pytest.approx(value, abs=1e-9)
    assert angle(scale * preference_BO, preference_BO).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("losses", "preference", "smoothness", "expected"),
    [
        ([2.0, 2.0], [1 / 2, 1 / 2], 1.0, 1 + log(2)),
        ([2 * log(3), 2 * log(5)], [1 / 2, 1 / 2], 1.0, log(3 + 5)),
        ([log(4), 0.0], [1.0, 0.0], 1 / 2, 1 / 2 * log(4**2 + 1)),
        ([8.0, 1.0], [1 / 2, 1 / 2], 0.001, 1 / 2 * 8),
        ([0.0, 0.0, 0.0], [1 / 3] * 3, 0.3, 0.3 * log(3)),
    ],
    ids=["equal", "plain", "vertex", "nearly-the-maximum", "zero"],
)
def test_smooth_tchebycheff_by_hand(losses, preference, smoothness, expected):
    value_B = smooth_tchebycheff(
        torch.tensor([losses]), torch.tensor([preference]), smoothness=smoothness
    )

    assert value_B.tolist() == pytest.approx([expected], rel=1e-5)


@quick
@given(case=losses_and_preference(), smoothness=st.floats(0.001, 10))
def test_smooth_tchebycheff_lies_between_the_maximum_and_a_little_more(case, smoothness):
    losses_BO, preference_BO = case
    largest = (losses_BO * preference_BO).max().item()

    value = smooth_tchebycheff(losses_BO, preference_BO, smoothness=smoothness).item()

    assert largest - 1e-9 <= value <= largest + smoothness * log(losses_BO.shape[1]) + 1e-9


def scalarised(losses_BO, preference_BO, *, scale=(1.0, 1.0), reference=(1.0, 1.0), **training):
    return scalarised_losses(
        losses_BO,
        preference_BO,
        TrainingConfig(**training),
        scale_O=torch.tensor(scale),
        reference_O=torch.tensor(reference),
    )


@pytest.mark.parametrize("weight", [0.0, 0.2, 5.0], ids=str)
def test_the_default_is_eq_1_by_hand(weight):
    losses_BO = torch.tensor([[1.0, 3.0], [2.0, 6.0]])
    preference_BO = torch.tensor([[1 / 2, 1 / 2], [3 / 4, 1 / 4]])

    loss_B = scalarised(losses_BO, preference_BO, regulariser_weight=weight)

    # shares 1/4 and 3/4; the second session's weighted losses, 1.5 and 1.5, are equal: no penalty
    penalty = log(2) + 1 / 4 * log(1 / 4) + 3 / 4 * log(3 / 4)
    assert loss_B.tolist() == pytest.approx(
        [1 / 2 * 1 + 1 / 2 * 3 + weight * penalty, 3 / 4 * 2 + 1 / 4 * 6 + weight * 0], abs=1e-6
    )


def test_scales_weigh_the_sum_and_references_the_comparison():
    # over their references 4 and 2 the losses are 1/4 and 3/2; weighted, 1/8 and 3/4
    loss_B = scalarised(
        torch.tensor([[1.0, 3.0]]),
        torch.tensor([[1 / 2, 1 / 2]]),
        scale=(10.0, 100.0),
        reference=(4.0, 2.0),
        regulariser_weight=0.2,
    )

    weighted = 10 * 1 / 2 * 1 + 100 * 1 / 2 * 3
    penalty = log(2) + 1 / 7 * log(1 / 7) + 6 / 7 * log(6 / 7)
    assert loss_B.tolist() == pytest.approx([weighted + 0.2 * penalty], rel=1e-6)


@every_kind
def test_every_choice_is_its_own_terms(scalarisation, regulariser):
    losses_BO, preference_BO = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.3, 0.7]])
    normalised_BO = losses_BO / torch.tensor([4.0, 8.0])

    loss_B = scalarised(
        losses_BO,
        preference_BO,
        scale=(3.0, 5.0),
        reference=(4.0, 8.0),
        scalarisation=scalarisation,
        regulariser=regulariser,
        smoothness=0.25,
        regulariser_weight=0.6,
    )

    sums = {
        Scalarisation.LINEAR: torch.tensor([0.3 * 3 * 2 + 0.7 * 5 * 1]),
        Scalarisation.SMOOTH_TCHEBYCHEFF: smooth_tchebycheff(
            normalised_BO, preference_BO, smoothness=0.25
        ),
    }
    penalties = {
        Regulariser.NONE: torch.tensor([0.0]),
        Regulariser.NON_UNIFORMITY: non_uniformity(normalised_BO, preference_BO),
        Regulariser.ANGLE: angle(normalised_BO, preference_BO),
    }
    torch.testing.assert_close(loss_B, sums[scalarisation] + 0.6 * penalties[regulariser])


@every_kind
@pytest.mark.parametrize("losses", [[2.0, 3.0], [0.0, 1.0], [1e-20, 0.0], [0.0, 0.0]], ids=str)
@pytest.mark.parametrize("preference", [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], ids=str)
def test_gradients_are_finite_even_at_corners(losses, preference, scalarisation, regulariser):
    losses_BO = torch.tensor([losses], requires_grad=True)

    loss_B = scalarised(
        losses_BO,
        torch.tensor([preference]),
        scalarisation=scalarisation,
        regulariser=regulariser,
        regulariser_weight=1.0,
    )
    loss_B.sum().backward()

    assert loss_B.isfinite().all()
    assert losses_BO.grad is not None
    assert losses_BO.grad.isfinite().all()


@pytest.mark.parametrize(
    ("penalty", "regulariser"),
    [(non_uniformity, Regulariser.NON_UNIFORMITY), (angle, Regulariser.ANGLE)],
    ids=["non-uniformity", "angle"],
)
def test_a_penalty_falls_along_its_gradient(penalty, regulariser):
    losses_BO = torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64, requires_grad=True)
    preference_BO = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)

    assert torch.autograd.gradcheck(lambda losses: penalty(losses, preference_BO), (losses_BO,))
    none, with_it = (
        scalarised(losses_BO, preference_BO, regulariser=one, regulariser_weight=0.5)
        for one in (Regulariser.NONE, regulariser)
    )
    torch.testing.assert_close(with_it - none, 0.5 * penalty(losses_BO, preference_BO))

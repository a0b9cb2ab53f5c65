"""The domain-adapted reward model: golden numbers, slow twins, and weights that a classifier finds again."""

import numpy as np
import pytest
from scipy.special import expit

from pipeline.counterfactual.domain_adaptation import (
    fit_linear,
    fit_logistic,
    learn_weights,
    loss_weights,
)
from pipeline.counterfactual.weighted_log import RewardModel

EXACT = {"rel": 1e-12, "abs": 1e-12}

SOURCE = np.array([0.5, 0.2, 0.4, 0.1, 0.25, 0.5, 0.3, 0.6])
TARGETS = np.array(
    [[0.4, 0.4, 0.3, 0.2, 0.25, 0.5, 0.6, 0.3], [0.2, 0.5, 0.1, 0.4, 0.25, 0.4, 0.9, 0.1]]
)
WEIGHT_NT = (TARGETS / SOURCE).T
"""Eight logged rows, two targets; in row 5 all policies choose alike."""

EQUAL_TARGETS = [
    0.49870129870129865, 1.5584415584415583, 0.6233766233766234, 2.4935064935064934,
    0.0, 0.12467532467532465, 1.87012987012987, 0.8311688311688311,
]  # fmt: skip
PAIRS = [
    0.5403377110694184, 1.350844277673546, 0.675422138836773, 2.701688555347092,
    0.0, 0.18011257035647277, 1.8011257035647281, 0.7504690431519699,
]  # fmt: skip
CLIPPED = [
    0.8916408668730651, 1.4860681114551084, 1.1145510835913313, 1.4860681114551084,
    0.05, 0.2972136222910216, 1.4860681114551084, 1.238390092879257,
]  # fmt: skip


def test_loss_weights_are_the_golden_numbers():
    assert loss_weights(WEIGHT_NT, pair_weight=0, floor=0) == pytest.approx(EQUAL_TARGETS, **EXACT)
    assert loss_weights(WEIGHT_NT, floor=0) == pytest.approx(PAIRS, **EXACT)
    assert loss_weights(WEIGHT_NT, clip=2) == pytest.approx(CLIPPED, **EXACT)


def test_loss_weights_of_a_row_by_hand():
    """Row 2: w = 2 and 2.5, so |w - 1| = 1 + 1.5, and the targets differ by .5."""
    by_hand = [
        sum(abs(one - 1) for one in row) + 2 * abs(row[0] - row[1]) for row in WEIGHT_NT.tolist()
    ]

    assert by_hand[1] == pytest.approx(1 + 1.5 + 2 * 0.5)
    found = loss_weights(WEIGHT_NT, pair_weight=2, floor=0)
    assert found == pytest.approx(np.array(by_hand) / np.mean(by_hand), **EXACT)


def test_targets_that_are_the_logging_policy_give_the_plain_model():
    assert (loss_weights(np.ones((5, 3))) == 1).all()


@pytest.mark.parametrize(
    ("modelled", "lift"),
    [
        ([0.6, 0.4, 0.5, 0.5, 0.4, 0.3, 0.6, 0.4], 0.15625),
        ([0.5, 0.5, 0.4, 0.6, 0.4, 0.4, 0.8, 0.3], 0.21875),
    ],
)
def test_modelled_lifts_are_the_golden_numbers(modelled, lift):
    shown = np.array([0.6, 0.2, 0.5, 0.3, 0.4, 0.3, 0.2, 0.7])
    model = RewardModel(fitted_NK=shown[:, None], direct_N=np.array(modelled))

    assert model.lift == pytest.approx(lift, **EXACT)


def test_the_linear_fit_minimises_the_weighted_loss():
    rng = np.random.default_rng(0)
    x, y, s = rng.normal(size=(200, 4)), rng.normal(size=200), rng.uniform(0.05, 5, 200)

    mean, found = fit_linear(x, y, loss_weight_N=s)

    assert mean == pytest.approx((s * y).sum() / s.sum(), **EXACT)
    dense = np.linalg.solve(x.T @ (s[:, None] * x) + np.eye(4), x.T @ (s * (y - mean)))
    assert found == pytest.approx(dense, rel=1e-9)


def test_the_logistic_fit_has_no_gradient_and_a_weight_of_2_is_a_row_twice():
    rng = np.random.default_rng(1)
    x, shift = rng.normal(size=(300, 3)), rng.normal(size=300)
    y = (rng.random(300) < expit(x[:, 0] + shift)).astype(float)
    s = rng.integers(1, 3, 300)

    found = fit_logistic(x, y, loss_weight_N=s, offset_N=shift)

    gradient = x.T @ (s * (expit(x @ found + shift) - y)) + found
    assert gradient == pytest.approx(np.zeros(3), abs=1e-4)
    twice = fit_logistic(np.repeat(x, s, axis=0), np.repeat(y, s), offset_N=np.repeat(shift, s))
    assert found == pytest.approx(twice, abs=1e-4)


def test_a_classifier_finds_known_importance_weights():
    """Two contexts and three actions: a feature per pair separates everything."""
    rng = np.random.default_rng(2)
    logging = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
    target = np.array([[0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
    context = rng.integers(0, 2, 10_000)
    logged, chosen = (
        (rng.random((len(context), 1)) > one[context].cumsum(axis=1)).sum(axis=1)
        for one in (logging, target)
    )
    pairs = np.eye(6)

    found = learn_weights(pairs[context * 3 + logged], pairs[context * 3 + chosen])

    assert found == pytest.approx((target / logging)[context, logged], rel=0.2)
    few = learn_weights(pairs[context * 3 + logged], pairs[context[:5_000] * 3 + chosen[:5_000]])
    assert few == pytest.approx(found, rel=0.2)  # whatever the number of the target's rows

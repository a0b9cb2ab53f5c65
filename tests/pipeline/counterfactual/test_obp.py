"""Equality with Open Bandit Pipeline, where it is installed; it is not one of our dependencies."""

import numpy as np
import pytest

from pipeline.counterfactual.actions import weigh_actions
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.lists import weigh_cascades, weigh_lists, weigh_positions
from pipeline.results.counterfactual import Estimator
from tests.pipeline.counterfactual import golden

ope = pytest.importorskip(
    "obp.ope",
    reason="obp is not installed (pip install --no-deps --ignore-requires-python obp==0.5.7)",
)

ROUNDS = {
    "reward": golden.REWARD_N,
    "action": golden.ACTION_N,
    "pscore": golden.LOGGING_NA[golden.EACH_N, golden.ACTION_N],
    "action_dist": golden.TARGET_NA[:, :, None],
    "estimated_rewards_by_reg_model": golden.MODEL_NA[:, :, None],
}
PEERS = {
    Estimator.IPS: ("InverseProbabilityWeighting", {}),
    Estimator.CLIPPED_IPS: ("InverseProbabilityWeighting", {"lambda_": 1.5}),
    Estimator.SNIPS: ("SelfNormalizedInverseProbabilityWeighting", {}),
    Estimator.DM: ("DirectMethod", {}),
    Estimator.DR: ("DoublyRobust", {}),
    Estimator.SNDR: ("SelfNormalizedDoublyRobust", {}),
    Estimator.SWITCH_DR: ("SwitchDoublyRobust", {"lambda_": 1.5}),
    Estimator.DROS: ("DoublyRobustWithShrinkage", {"lambda_": 4.0}),
}


@pytest.mark.parametrize("estimator", PEERS)
def test_an_action_estimator_equals_that_of_obp(estimator):
    name, options = PEERS[estimator]

    ours = estimate(
        weigh_actions(golden.rounds(), golden.TARGET_NA),
        estimator,
        parameter=options.get("lambda_"),
    )

    theirs = getattr(ope, name)(**options).estimate_policy_value(**ROUNDS)
    assert ours.value == pytest.approx(theirs, rel=1e-12)


SLATES = {
    "slate_id": np.repeat(golden.LIST_N, 3),
    "reward": golden.CLICKS_NK.ravel(),
    "position": np.tile(np.arange(3), 6),
}
LIST_PEERS = {
    weigh_lists: (
        "SlateStandardIPS",
        golden.CONDITIONAL_E,
        golden.CONDITIONAL_0,
        ("pscore", "evaluation_policy_pscore"),
        lambda p: np.repeat(p.prod(axis=1), 3),
    ),
    weigh_positions: (
        "SlateIndependentIPS",
        golden.MARGINAL_E,
        golden.MARGINAL_0,
        ("pscore_item_position", "evaluation_policy_pscore_item_position"),
        np.ravel,
    ),
    weigh_cascades: (
        "SlateRewardInteractionIPS",
        golden.CONDITIONAL_E,
        golden.CONDITIONAL_0,
        ("pscore_cascade", "evaluation_policy_pscore_cascade"),
        lambda p: p.cumprod(axis=1).ravel(),
    ),
}


@pytest.mark.parametrize("weigh", LIST_PEERS, ids=lambda weigh: weigh.__name__)
def test_a_list_estimator_equals_that_of_obp(weigh):
    name, target, logging, (of_logging, of_target), flat = LIST_PEERS[weigh]

    ours = estimate(weigh(golden.lists(model=False), target, logging), Estimator.IPS)

    scores = {of_logging: flat(logging), of_target: flat(target)}
    theirs = getattr(ope, name)(len_list=3).estimate_policy_value(**SLATES, **scores)
    assert ours.value == pytest.approx(theirs, rel=1e-12)

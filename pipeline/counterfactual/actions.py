"""Weights of single actions, and of clusters of actions.

Shape suffixes: N rows, A actions, C clusters.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.errors import DataError
from pipeline.counterfactual.weighted_log import (
    Ints,
    RewardModel,
    WeightedLog,
    check_probabilities,
)
from pipeline.results.counterfactual import Weighting
from pipeline.results.family import Floats

_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedActions:
    """One action per row, its reward, and the probability it was chosen with.

    Attributes:
        action_N: Number of the action, from 0.
        reward_N: The reward.
        propensity_N: Probability of the logged action under the logging policy, above 0.
        user_N: Number of the user, from 0; rows of a user may be dependent.
        logging_NA: Probability of every action under the logging policy; None if only that of the
            logged action is known.
        model_NA: Predicted reward of every action; None without a reward model.
    """

    action_N: Ints
    reward_N: Floats
    propensity_N: Floats
    user_N: Ints
    logging_NA: Floats | None = None
    model_NA: Floats | None = None


def weigh_actions(log: LoggedActions, target_NA: Floats) -> WeightedLog:
    """Weights π_e(a|x) / π_0(a|x) of a target policy with the probabilities ``target_NA``.

    Raises:
        DataError: if a propensity is not above 0 and at most 1, or probabilities do not sum to 1.
    """
    check_probabilities(log.propensity_N, "the propensity", is_logged=True)
    _check_policy(target_NA, "the target policy")
    rows = np.arange(len(log.action_N))
    weight_NK = (target_NA[rows, log.action_N] / log.propensity_N)[:, None]
    support_N = None
    if log.logging_NA is not None:
        support_N = (target_NA * (log.logging_NA > 0)).sum(axis=1)
    model = None
    if log.model_NA is not None:
        fitted_NK = log.model_NA[rows, log.action_N][:, None]
        model = RewardModel(fitted_NK=fitted_NK, direct_N=(target_NA * log.model_NA).sum(axis=1))
    return WeightedLog(
        weighting=Weighting.ACTION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=log.reward_N[:, None],
        control_NJ=weight_NK,
        support_N=support_N,
        model=model,
    )


def weigh_clusters(log: LoggedActions, target_NA: Floats, cluster_A: Ints) -> WeightedLog:
    """Weights p_e(c|x) / p_0(c|x) of the action's cluster c (MIPS; Saito & Joachims 2022).

    With a reward model, DR on them is OffCEM (Saito et al. 2023).

    Raises:
        DataError: as :func:`weigh_actions`, or if the logging policy is not known of every action.
    """
    if log.logging_NA is None:
        msg = (
            "weights of clusters need the probability of every action under the logging policy, and the "
            "log has that of the logged action only; add it, or use weights of actions"
        )
        raise DataError(msg)
    by_action = weigh_actions(log, target_NA)
    member_AC = np.eye(int(cluster_A.max()) + 1)[cluster_A]
    logging_NC, target_NC = log.logging_NA @ member_AC, target_NA @ member_AC
    at = np.arange(len(log.action_N)), cluster_A[log.action_N]
    weight_NK = (target_NC[at] / logging_NC[at])[:, None]
    return replace(
        by_action,
        weighting=Weighting.CLUSTER,
        weight_NK=weight_NK,
        control_NJ=weight_NK,
        support_N=(target_NC * (logging_NC > 0)).sum(axis=1),
    )


def _check_policy(policy_NA: Floats, what: str) -> None:
    """Check that the probabilities of every row are not negative and sum to 1.

    Raises:
        DataError: naming the first row that does not.
    """
    total_N = policy_NA.sum(axis=1)
    wrong_N = ~((np.abs(total_N - 1) <= _SUM_TOLERANCE) & (policy_NA >= 0).all(axis=1))
    if wrong_N.any():
        row = int(wrong_N.argmax())
        found = (
            f"sum to {total_N[row]:.6g}"
            if (policy_NA[row] >= 0).all()
            else f"include {policy_NA[row].min():.6g}"
        )
        msg = f"row {row + 1}: the probabilities of {what} {found}; expected 0 or more, and a sum of 1"
        raise DataError(msg)

"""Weights of recommendation lists: of the whole list, of positions, of cascades and of examination.

Shape suffixes: N lists, K positions.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.counterfactual.weighted_log import (
    Ints,
    RewardModel,
    WeightedLog,
    check_probabilities,
)
from pipeline.results.counterfactual import Weighting
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLists:
    """One list per row, with the reward of each position.

    Attributes:
        reward_NK: Reward by position, such as 1 for a click.
        user_N: Number of the user, from 0.
        fitted_NK: Reward of each position that a model predicts; None without a model.
        expected_NK: Reward of each position that the model expects under the target policy: of the
            position, given the logged items above it, for cascades; None without a model.
    """

    reward_NK: Floats
    user_N: Ints
    fitted_NK: Floats | None = None
    expected_NK: Floats | None = None


def weigh_lists(log: LoggedLists, target_NK: Floats, logging_NK: Floats) -> WeightedLog:
    """Weights of whole lists (SIPS): products over positions of P(item | items above it).

    Raises:
        DataError: if a propensity is not above 0 and at most 1.
    """
    check_probabilities(logging_NK, "the propensity", is_logged=True)
    weight_NK = (target_NK / logging_NK).prod(axis=1, keepdims=True)
    model = _model(log, np.ones_like(log.reward_NK))
    if model is not None:
        fitted_NK = model.fitted_NK.sum(axis=1, keepdims=True)
        model = RewardModel(fitted_NK=fitted_NK, direct_N=model.direct_N)
    reward_NK = log.reward_NK.sum(axis=1, keepdims=True)
    return _weighted(Weighting.LIST, log.user_N, weight_NK, reward_NK, model)


def weigh_positions(log: LoggedLists, target_NK: Floats, logging_NK: Floats) -> WeightedLog:
    """Weights of P(item at position) (IIPS; Li et al. 2018), for independent positions.

    Raises:
        DataError: if a propensity is not above 0 and at most 1.
    """
    check_probabilities(logging_NK, "the propensity", is_logged=True)
    model = _model(log, np.ones_like(log.reward_NK))
    weight_NK = target_NK / logging_NK
    return _weighted(Weighting.POSITION, log.user_N, weight_NK, log.reward_NK, model)


def weigh_cascades(log: LoggedLists, target_NK: Floats, logging_NK: Floats) -> WeightedLog:
    """Weights of the list down to each position, from P(item | items above it).

    IPS on them is RIPS (McInerney et al. 2020), DR is cascade-DR (Kiyohara et al. 2022, Eq. 7).

    Raises:
        DataError: if a propensity is not above 0 and at most 1.
    """
    check_probabilities(logging_NK, "the propensity", is_logged=True)
    weight_NK = (target_NK / logging_NK).cumprod(axis=1)
    above_NK = np.concatenate([np.ones_like(weight_NK[:, :1]), weight_NK[:, :-1]], axis=1)
    model = _model(log, above_NK)
    return _weighted(Weighting.CASCADE, log.user_N, weight_NK, log.reward_NK, model)


def weigh_examination(
    log: LoggedLists,
    *,
    examined_NK: Floats,
    propensity_NK: Floats,
    theta_K: Floats,
    support_N: Floats | None = None,
) -> WeightedLog:
    """Weights θ(position under the target) / E[θ(position)] of each shown item (PBM-IPS).

    A click is the product of examination, which depends on the position alone, and attraction, which
    depends on user and item (position-based model).

    Args:
        log: The lists; the model's expectations are of the positions of the target list.
        examined_NK: θ of each shown item at its position under the target policy; 0 if not in its list.
        propensity_NK: Expected θ of each shown item under the logging policy.
        theta_K: Examination probability of each position.
        support_N: Share of the target list's examination on items that could be shown.

    Raises:
        DataError: if a propensity is not above 0 and at most 1.
    """
    check_probabilities(propensity_NK, "the expected examination", is_logged=True)
    weight_NK = examined_NK / propensity_NK
    control_NJ = (weight_NK * theta_K).sum(axis=1, keepdims=True) / theta_K.sum()
    return WeightedLog(
        weighting=Weighting.EXAMINATION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=log.reward_NK,
        control_NJ=control_NJ,
        support_N=support_N,
        model=_model(log, np.ones_like(log.reward_NK)),
    )


def _model(log: LoggedLists, above_NK: Floats) -> RewardModel | None:
    """The model's predictions; ``above_NK`` are the weights of the items above each position."""
    if log.fitted_NK is None or log.expected_NK is None:
        return None
    direct_N = (above_NK * log.expected_NK).sum(axis=1)
    return RewardModel(fitted_NK=log.fitted_NK, direct_N=direct_N)


def _weighted(
    weighting: Weighting,
    user_N: Ints,
    weight_NK: Floats,
    reward_NK: Floats,
    model: RewardModel | None,
) -> WeightedLog:
    return WeightedLog(
        weighting=weighting,
        user_N=user_N,
        weight_NK=weight_NK,
        reward_NK=reward_NK,
        control_NJ=weight_NK,
        model=model,
    )

"""The experiment as its own logging policy: propensities from the groups themselves.

Users were divided at random over groups that share one model, so every request could have been answered
by any group's list, with the probability of the group's share. The mixture of the groups is a stochastic
policy with known propensities, although every group's ranking is deterministic.

    p_i(a) = Σ_g share_g θ(position of a in the list of group g)
    V(π)   = mean of Σ_{a in the list of π} θ(position of a) y_i(a) / p_i(a)

with y_i(a) the reward of item a if it was shown (PBM-IPS of the mixture). With a reward model q of item
and position, the same weights on y - q are PBM-DR. A group that was served must be estimated from the
other groups only: with its own rows the estimate is its own mean.

Shape suffixes: N requests, G groups, K positions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.counterfactual.experiment.examination import ExaminationCurve, ShownLists
from pipeline.counterfactual.lists import LoggedLists, weigh_examination
from pipeline.counterfactual.weighted_log import Ints, WeightedLog
from pipeline.results.counterfactual import Weighting
from pipeline.results.family import Floats

_CHUNK = 5_000
"""Requests whose lists are compared at once, so that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledLists:
    """Reward that a model predicts of items at positions.

    Attributes:
        shown_NK: Of the shown list.
        target_NK: Of the target list.
    """

    shown_NK: Floats
    target_NK: Floats


def leave_group_out(log: ShownLists, group: int) -> tuple[ShownLists, Ints]:
    """The requests of the other groups, with their shares among themselves, and the rows they are in.

    Raises:
        DataError: if no other group has a row.
    """
    rows = np.flatnonzero(log.group_N != group)
    share_G = np.where(np.arange(len(log.share_G)) == group, 0.0, log.share_G)
    if not len(rows) or not share_G.sum():
        msg = f"no group but number {group + 1} has a request; leaving it out needs another one"
        raise DataError(msg)
    others = ShownLists(
        lists_GNK=log.lists_GNK[:, rows],
        group_N=log.group_N[rows],
        user_N=log.user_N[rows],
        share_G=share_G / share_G.sum(),
    )
    return others, rows


def weigh_mixture(
    log: ShownLists,
    target_NK: NDArray[np.integer],
    reward_NK: Floats,
    curve: ExaminationCurve,
    *,
    model: ModelledLists | None = None,
) -> WeightedLog:
    """Weights of the shown items for a policy that would show the lists ``target_NK``.

    The support is the examination of the target's items that any group would show, as a share of that of
    the list: an item that no group shows has no weight, and its reward is missing from PBM-IPS.

    Args:
        log: The lists of all groups, and which was shown; ``share_G`` must be those of its rows.
        target_NK: Items of the target policy by position.
        reward_NK: Reward by position of the shown list, such as 1 for the click.
        curve: Examination of positions.
        model: Predictions of a reward model, for PBM-DR.
    """
    theta_K = curve.at(target_NK.shape[1])
    shown_NK = log.shown_NK
    propensity_NK = np.zeros(shown_NK.shape)
    reachable_NK = np.zeros(target_NK.shape, dtype=np.bool_)
    for share, lists_NK in zip(log.share_G, log.lists_GNK, strict=True):
        if share:
            propensity_NK += share * examination_of(shown_NK, lists_NK, theta_K)
            reachable_NK |= positions_in(target_NK, lists_NK) < len(theta_K)
    absent_NK = shown_NK < 0
    propensity_NK[absent_NK] = 1.0  # a short list's end has neither reward nor weight
    examined_NK = examination_of(shown_NK, target_NK, theta_K)
    examined_NK[absent_NK] = 0.0
    listed_NK = (target_NK >= 0) * theta_K
    return weigh_examination(
        LoggedLists(
            reward_NK=reward_NK,
            user_N=log.user_N,
            fitted_NK=None if model is None else model.shown_NK,
            expected_NK=None if model is None else model.target_NK,
        ),
        examined_NK=examined_NK,
        propensity_NK=propensity_NK,
        theta_K=theta_K,
        support_N=(listed_NK * reachable_NK).sum(axis=1) / listed_NK.sum(axis=1),
    )


def weigh_same_positions(
    log: ShownLists, target_NK: NDArray[np.integer], reward_NK: Floats
) -> WeightedLog:
    """Weights of the same item at the same position (IIPS), the naive way to compare two rankers.

    The support is the share of the target's positions that any group fills with the same item.
    """
    shown_NK = log.shown_NK
    propensity_NK = np.zeros(shown_NK.shape)
    reachable_NK = np.zeros(target_NK.shape, dtype=np.bool_)
    for share, lists_NK in zip(log.share_G, log.lists_GNK, strict=True):
        propensity_NK += share * (lists_NK == shown_NK)
        if share:
            reachable_NK |= lists_NK == target_NK
    listed_NK = target_NK >= 0
    length_N = listed_NK.sum(axis=1)
    weight_NK = np.where(listed_NK, (shown_NK == target_NK) / propensity_NK, 0.0)
    return WeightedLog(
        weighting=Weighting.POSITION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=reward_NK,
        control_NJ=weight_NK.sum(axis=1, keepdims=True) / length_N[:, None],
        support_N=(reachable_NK & listed_NK).sum(axis=1) / length_N,
    )


def examination_of(
    items_NK: NDArray[np.integer], lists_NK: NDArray[np.integer], theta_K: Floats
) -> Floats:
    """θ of the position that each item has in a list of the same request; 0 if it has none."""
    return np.append(theta_K, 0.0)[positions_in(items_NK, lists_NK)]


def positions_in(items_NK: NDArray[np.integer], lists_NK: NDArray[np.integer]) -> NDArray[np.int16]:
    """The position of each item in a list of the same request; the lists' length if it has none."""
    length = lists_NK.shape[1]
    found_NK = np.full(items_NK.shape, length, dtype=np.int16)
    for first in range(0, len(items_NK), _CHUNK):
        rows = slice(first, first + _CHUNK)
        for position in range(length):
            np.putmask(found_NK[rows], items_NK[rows] == lists_NK[rows, position, None], position)
    return found_NK

"""A reward model of lists: the position-based model with an attraction that groups' rankers agree on.

The reward of item a at position r of request i is Poisson with the mean

    θ_r exp(β_0 + Σ_g (β_g + γ_g log(1 + position of a in the list of group g)) + δ log rate_a + ε log(1 + clicks_i))

where the terms of a group are 0 if a is not in its list, and rate_a is the item's own rate per examination, shrunk
to the mean. These are properties of request and item, whichever list was shown, so the model holds under every
policy. It is fitted to one half of the users and predicts the other.

Shape suffixes: N requests, G groups, K positions, M sampled cells, F features, I items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.counterfactual.experiment.examination import ExaminationCurve, ShownLists
from pipeline.counterfactual.experiment.mixture import positions_in
from pipeline.counterfactual.weighted_log import Flags, Ints, RewardModel
from pipeline.results.family import Floats

_FOLDS = 2
_MOST_ZEROS = 300_000
"""Sampled cells without a reward, which stand for all."""
_PRIOR_REWARDED = 5.0
"""Rewarded examinations at the mean rate that an item's own rate starts with."""
_RIDGE = 1.0
_NEWTON_STEPS, _LARGEST_STEP, _TOLERANCE = 30, 2.0, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlaces:
    """Lists with what the model knows of their items.

    Attributes:
        items_NK: Items by position; negative after the end of a short list.
        place_GNK: Position of each item in the list of every group; K if it has none.
        length_N: Clicks before each request.
    """

    items_NK: NDArray[np.integer]
    place_GNK: NDArray[np.int16]
    length_N: Ints

    @classmethod
    def of(cls, log: ShownLists, items_NK: NDArray[np.integer], length_N: Ints) -> "ListPlaces":
        """Find the items of some lists in those of the groups."""
        places = [positions_in(items_NK, lists_NK) for lists_NK in log.lists_GNK]
        return cls(items_NK=items_NK, place_GNK=np.stack(places), length_N=length_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickedAmounts:
    """The reward of each request, which is that of its click.

    ``clicked_N`` is the position of the click, negative without one; ``user_N`` numbers the users.
    """

    clicked_N: Ints
    amount_N: Floats
    user_N: Ints


def predict_rewards(
    rewards: ClickedAmounts,
    shown: ListPlaces,
    target: ListPlaces,
    *,
    curve: ExaminationCurve,
    rng: np.random.Generator,
) -> RewardModel:
    """What models that are cross-fitted by user predict of the shown and of the target lists."""
    fold_N = rewards.user_N % _FOLDS
    theta_K = curve.at(shown.items_NK.shape[1])
    fitted_NK = np.empty(shown.items_NK.shape)
    direct_N = np.empty(len(fold_N))
    for fold in range(_FOLDS):
        held = fold_N == fold
        model = _fit(rewards, shown, theta_K, ~held, rng)
        fitted_NK[held] = model.predict(shown, held, theta_K)
        direct_N[held] = model.predict(target, held, theta_K).sum(axis=1)
    return RewardModel(fitted_NK=fitted_NK, direct_N=direct_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """Coefficients in the order of :func:`_features`, and log rates of the items."""

    beta_F: Floats
    rate_I: Floats

    def predict(self, lists: ListPlaces, rows: Flags, theta_K: Floats) -> Floats:
        items_NK, length_N = lists.items_NK[rows], lists.length_N[rows]
        k = len(theta_K)
        log_NK = self.beta_F[0] + self.beta_F[1] * _rates(self.rate_I, items_NK)
        log_NK += (self.beta_F[2] * np.log1p(length_N))[:, None]
        for group, place_NK in enumerate(lists.place_GNK):
            listed, slope = self.beta_F[3 + 2 * group : 5 + 2 * group]
            by_place = np.append(listed + slope * np.log1p(np.arange(k)), 0.0)
            log_NK += by_place[place_NK[rows]]
        return np.where(items_NK >= 0, theta_K * np.exp(log_NK), 0.0)


def _fit(
    rewards: ClickedAmounts,
    shown: ListPlaces,
    theta_K: Floats,
    rows: Flags,
    rng: np.random.Generator,
) -> _Fitted:
    k = shown.items_NK.shape[1]
    rewarded = np.flatnonzero(rows & (rewards.clicked_N >= 0) & (rewards.amount_N != 0))
    at = rewards.clicked_N[rewarded]
    kept = np.flatnonzero(rows)
    cells = len(kept) * k
    row_M = kept[rng.integers(0, len(kept), min(cells, _MOST_ZEROS))]
    place_M = rng.integers(0, k, len(row_M))
    empty = (shown.items_NK[row_M, place_M] >= 0) & (
        (rewards.clicked_N[row_M] != place_M) | (rewards.amount_N[row_M] == 0)
    )
    weight = cells / max(len(row_M), 1)
    row_M, place_M = row_M[empty], place_M[empty]
    rate_I = _item_rates(rewards, shown, theta_K, kept, rewarded)
    row_M, place_M = np.concatenate([rewarded, row_M]), np.concatenate([at, place_M])
    weight_M = np.where(np.arange(len(row_M)) < len(rewarded), 1.0, weight)
    reward_M = np.append(rewards.amount_N[rewarded], np.zeros(len(row_M) - len(rewarded)))
    features_MF = _features(shown, row_M, place_M, rate_I)
    beta_F = _poisson(features_MF, np.log(theta_K[place_M]), reward_M, weight_M)
    return _Fitted(beta_F=beta_F, rate_I=rate_I)


def _item_rates(
    rewards: ClickedAmounts, shown: ListPlaces, theta_K: Floats, rows: Ints, rewarded: Ints
) -> Floats:
    """Log of every item's reward per examination over the mean, shrunk to 0."""
    items_NK = shown.items_NK[rows]
    listed = items_NK >= 0
    size = int(shown.items_NK.max()) + 1
    theta_NK = np.broadcast_to(theta_K, items_NK.shape)
    examined_I = np.bincount(items_NK[listed], theta_NK[listed], minlength=size)
    amount_N = rewards.amount_N[rewarded]
    items = shown.items_NK[rewarded, rewards.clicked_N[rewarded]]
    reward_I = np.bincount(items, amount_N, minlength=size)
    if not len(rewarded):
        return np.zeros(size)
    mean = reward_I.sum() / examined_I.sum()
    prior = _PRIOR_REWARDED * float(amount_N.mean()) / mean
    return np.log((reward_I + prior * mean) / (examined_I + prior) / mean)


def _rates(rate_I: Floats, items: NDArray[np.integer]) -> Floats:
    """The log rates of items; 0 of those that were never shown, and of none."""
    return np.append(rate_I, 0.0)[
        np.where((items >= 0) & (items < len(rate_I)), items, len(rate_I))
    ]


def _features(lists: ListPlaces, row_M: Ints, place_M: Ints, rate_I: Floats) -> Floats:
    k = lists.items_NK.shape[1]
    columns = [
        np.ones(len(row_M)),
        _rates(rate_I, lists.items_NK[row_M, place_M]),
        np.log1p(lists.length_N[row_M]),
    ]
    for place_NK in lists.place_GNK:
        in_group_M = place_NK[row_M, place_M]
        listed_M = in_group_M < k
        columns += [listed_M, listed_M * np.log1p(in_group_M)]
    return np.stack(columns, axis=1).astype(np.float64)


def _poisson(x_MF: Floats, offset_M: Floats, y_M: Floats, weight_M: Floats) -> Floats:
    """Poisson regression with a ridge on all coefficients but the first, by Newton's method."""
    ridge_F = np.full(x_MF.shape[1], _RIDGE)
    ridge_F[0] = 1e-9
    beta_F = np.zeros(x_MF.shape[1])
    examined = (weight_M * np.exp(offset_M)).sum()
    beta_F[0] = np.log(max((weight_M * y_M).sum(), 1e-9) / examined)
    for _ in range(_NEWTON_STEPS):
        mean_M = weight_M * np.exp(np.minimum(offset_M + x_MF @ beta_F, 30.0))
        gradient_F = x_MF.T @ (weight_M * y_M - mean_M) - ridge_F * beta_F
        hessian_FF = (x_MF * mean_M[:, None]).T @ x_MF + np.diag(ridge_F)
        step_F = np.linalg.solve(hessian_FF, gradient_F)
        step_F *= min(1.0, _LARGEST_STEP / max(float(np.abs(step_F).max()), 1e-12))
        beta_F = beta_F + step_F
        if float(np.abs(step_F).max()) < _TOLERANCE:
            break
    return beta_F

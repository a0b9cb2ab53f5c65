"""The reward model of a logged bandit table: means of actions in contexts, shrunk and cross-fitted.

The reward of an action is a mean of all, plus effects of the action, of every column of the context, and of
the action at every level of a column. It is simple on purpose: DR is unbiased with known propensities whatever
the model is, and a model that explains part of the reward makes it more precise. It does not know the policies,
unless its rows are weighted by them (:mod:`pipeline.counterfactual.domain_adaptation`).

Shape suffixes: N rows, C contexts, X columns of contexts, A actions, F folds, P effects.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline.counterfactual.domain_adaptation import fit_linear
from pipeline.counterfactual.weighted_log import Ints
from pipeline.results.family import Floats

FOLDS = 5
_LEAST_NOISE = 1e-6
"""Relative to the variance of the effects, so that rewards without noise have a solution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRows:
    """What a reward model is fitted to.

    Attributes:
        action_N: Number of the action.
        context_N: Number of the context.
        reward_N: The reward.
        loss_weight_N: Weight of the row in the loss.
        fold_N: Fold of the row.
    """

    action_N: Ints
    context_N: Ints
    reward_N: Floats
    loss_weight_N: Floats
    fold_N: Ints


def fold_of(user_N: Ints) -> Ints:
    """The fold of each row; all rows of a user are in one."""
    return user_N % FOLDS


def fit_rewards(rows: RewardRows, level_CX: Ints, actions: int) -> Floats:
    """Predicted reward of each action in each context for the rows of each fold, F × C × A.

    They come from the other folds. Effects are shrunk by empirical Bayes: the variance between them is that of
    means less what sampling and coarser effects explain.

    Args:
        rows: The log.
        level_CX: Number of the level of every column in each context.
        actions: Number of actions.
    """
    contexts = len(level_CX)
    cell_N = rows.context_N * actions + rows.action_N
    effects = _effects(level_CX, actions)
    predicted = np.zeros((FOLDS, contexts * actions))
    for fold in range(FOLDS):
        kept_N = rows.fold_N != fold
        if kept_N.any():
            predicted[fold] = _fitted_cells(
                cell_N[kept_N], rows.reward_N[kept_N], rows.loss_weight_N[kept_N], effects
            )
    return predicted.reshape(FOLDS, contexts, actions)


def _effects(level_CX: Ints, actions: int) -> list[tuple[Ints, tuple[int, ...]]]:
    """Of each kind of effect its number in every cell (context × action), and the kinds that are coarser."""
    every_A = np.arange(actions)
    found: list[tuple[Ints, tuple[int, ...]]] = [(np.tile(every_A, len(level_CX)), ())]
    for level_C in level_CX.T:
        found.append((np.repeat(level_C, actions), ()))
        both_CA = level_C[:, None] * actions + every_A
        found.append((both_CA.ravel(), (0, len(found) - 1)))
    return found


def _fitted_cells(
    cell_N: Ints, reward_N: Floats, weight_N: Floats, effects: list[tuple[Ints, tuple[int, ...]]]
) -> Floats:
    """The prediction for every cell."""
    scales = _effect_scales(cell_N, reward_N, effects)
    cells = len(effects[0][0])
    total_C: Floats = np.bincount(cell_N, weight_N, minlength=cells).astype(np.float64)
    seen = np.flatnonzero(total_C)
    mean_C = np.bincount(cell_N, weight_N * reward_N, minlength=cells)[seen] / total_C[seen]
    sizes = [int(code.max()) + 1 for code, _ in effects]
    starts = np.cumsum([0, *sizes])
    column_CP = np.stack(
        [code + start for (code, _), start in zip(effects, starts[:-1], strict=True)], axis=1
    )
    value_CP = np.broadcast_to(scales, column_CP.shape)
    ends = np.arange(len(seen) + 1) * len(effects)
    seen_CP = csr_array(
        (value_CP[seen].ravel(), column_CP[seen].ravel(), ends), shape=(len(seen), int(starts[-1]))
    )
    overall, effect_P = fit_linear(seen_CP, mean_C, loss_weight_N=total_C[seen])
    return overall + (value_CP * effect_P[column_CP]).sum(axis=1)


def _effect_scales(
    cell_N: Ints, reward_N: Floats, effects: list[tuple[Ints, tuple[int, ...]]]
) -> Floats:
    """Deviation of the effects of each kind over that of the noise: the inverse root of their penalty."""
    found = [_components(code[cell_N], reward_N) for code, _ in effects]
    known = [(between, within) for between, within in found if within is not None]
    if not known:
        return np.zeros(len(effects))
    noise = min(within for _, within in known)
    between = np.array(
        [max(own - sum(found[one][0] for one in coarser), 0.0)
         for (own, _), (_, coarser) in zip(found, effects, strict=True)]
    )  # fmt: skip
    return np.sqrt(
        between / np.maximum(noise, max(_LEAST_NOISE * between.max(), np.finfo(float).tiny))
    )


def _components(code_N: Ints, reward_N: Floats) -> tuple[float, float | None]:
    """Variance between and within effects of one kind, by moments; (0, None) if no effect has two rows."""
    count = np.bincount(code_N)
    mean = np.bincount(code_N, reward_N) / np.maximum(count, 1)
    repeats = len(reward_N) - int((count > 0).sum())
    if not repeats:
        return 0.0, None
    within = float(((reward_N - mean[code_N]) ** 2).sum()) / repeats
    excess = count * (mean - reward_N.mean()) ** 2 - within * (count > 0)
    return max(float(excess.sum() / count.sum()), 0.0), within

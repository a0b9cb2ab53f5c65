"""What explored lists cost, before any is shown: their offline metrics next to the model's own lists.

Lists are drawn for the clicks of held-out sessions. The metrics of the draws, as a share of those of the best
items, say which part of the clicks on explored lists would be lost if clicks were in proportion to the metric.

Shape suffixes: P targets, C candidates, R draws, S sessions, G preferences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.network.model import ConditionedSessionModel
from models.scoring.recommend import TargetCandidates, target_candidates
from models.tokens import SessionTokens
from pipeline.core.contracts import Metric
from pipeline.evaluation.standard_errors import SessionSums
from pipeline.results.exploration import ExplorationLoss, MetricLoss
from pipeline.results.family import Floats

_DRAWS = 8
"""Per target; more would not change an error that is of the sessions."""

_TARGETS_PER_PART = 256


def exploration_loss(  # noqa: PLR0913 - a model, its sessions, its groups and a draw
    model: ConditionedSessionModel,
    tokens: SessionTokens,
    groups: Sequence[tuple[Sequence[float], float]],
    *,
    temperature: float,
    candidates: int,
    k: int,
    seed: int,
) -> ExplorationLoss:
    """Draw lists for every target of held-out sessions.

    Args:
        model: The model that serves.
        tokens: The sessions.
        groups: Preference and share of each group.
        temperature: Of the draw, in units of the scores.
        candidates: Number of best items that lists are drawn from.
        k: Length of the lists.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 11])
    n = min(max(candidates, k), model.n_items)
    own: dict[Metric, list[Floats]] = {Metric.RECALL: [], Metric.NDCG: []}
    drawn: dict[Metric, list[Floats]] = {Metric.RECALL: [], Metric.NDCG: []}
    session_P = np.empty(0, dtype=np.int64)
    kept = np.zeros((len(groups), 2))
    for group, (preference, _) in enumerate(groups):
        parts = list(target_candidates(model, tokens, torch.tensor(preference).float(), n))
        ranks = [_ranks(part, temperature, k, rng) for part in parts]
        own_P = np.concatenate([one.own_P for one in ranks])
        drawn_PR = np.concatenate([one.drawn_PR for one in ranks])
        session_P = np.concatenate([part.session for part in parts])
        kept[group] = np.mean(np.concatenate([one.kept_P2 for one in ranks]), axis=0)
        for metric, gains in own.items():
            gains.append(_gain(metric, own_P, k))
            drawn[metric].append(_gain(metric, drawn_PR, k).mean(axis=1))
    share_G = np.array([share for _, share in groups])
    losses = [_loss(metric, own[metric], drawn[metric], session_P, share_G) for metric in own]
    mean_kept = share_G @ kept / share_G.sum()
    return ExplorationLoss(
        temperature=temperature,
        metrics=tuple(losses),
        kept=float(mean_kept[0]),
        first_kept=float(mean_kept[1]),
        sessions=len(np.unique(session_P)),
    )


def _loss(
    metric: Metric,
    own: list[Floats],
    drawn: list[Floats],
    session_P: NDArray[np.int64],
    share_G: Floats,
) -> MetricLoss:
    each = SessionSums.of(
        [a - b for a, b in zip(own, drawn, strict=True)],
        own,
        session_P,
    )
    whole = SessionSums(
        numerator_SG=(each.numerator_SG @ share_G)[:, None],
        denominator_SG=(each.denominator_SG @ share_G)[:, None],
    )
    return MetricLoss(
        metric=metric,
        loss=float(whole.ratio_G()[0]),
        standard_error=float(np.sqrt(whole.delta_covariance_GG()[0, 0])),
        by_group=tuple(each.ratio_G().tolist()),
    )


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Ranks of targets in the model's own order and in draws, and what draws keep of the own list."""

    own_P: Floats
    drawn_PR: Floats
    kept_P2: Floats


def _ranks(part: TargetCandidates, temperature: float, k: int, rng: np.random.Generator) -> _Ranks:
    """Ranks from 1; infinite for targets that are no candidates."""
    is_target_PC = part.items_PN == part.item[:, None]
    is_known_P = is_target_PC.any(axis=1)
    at_P = is_target_PC.argmax(axis=1)
    drawn_PR = np.full((len(at_P), _DRAWS), np.inf)
    kept_P2 = np.zeros((len(at_P), 2))
    z_PC = part.scores_PN.astype(np.float64) / temperature
    for start in range(0, len(at_P), _TARGETS_PER_PART):
        rows = slice(start, start + _TARGETS_PER_PART)
        some_PC = z_PC[rows]
        for draw in range(_DRAWS):
            key_PC = some_PC + rng.gumbel(size=some_PC.shape)
            target_P = np.take_along_axis(key_PC, at_P[rows, None], axis=1)
            drawn_PR[rows, draw] = 1 + (key_PC > target_P).sum(axis=1)
            last = min(k, key_PC.shape[1]) - 1
            least_P1 = -np.partition(-key_PC, last, axis=1)[:, last, None]
            kept_P2[rows, 0] += (key_PC[:, :k] >= least_P1).mean(axis=1) / _DRAWS
            kept_P2[rows, 1] += (key_PC.argmax(axis=1) == 0) / _DRAWS
    drawn_PR[~is_known_P] = np.inf
    own_P = np.where(is_known_P, at_P + 1.0, np.inf)
    return _Ranks(own_P, drawn_PR, kept_P2)


def _gain(metric: Metric, rank: Floats, k: int) -> Floats:
    """The gain of a target at a rank."""
    within = rank <= k
    if metric is Metric.RECALL:
        return within.astype(np.float64)
    return np.where(within, 1 / np.log2(1 + rank), 0.0)

"""Scores of the test sessions under each preference of the grid, and in each of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.network.model import ConditionedSessionModel
from models.preferences import preference_grid
from models.scoring.recommend import session_lists
from models.scoring.target_scores import WHOLE, Shard, TargetScores, score_targets
from pipeline.evaluation.second_axis import LevelScorer
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.recommender.second_axis import AxisReranker
from pipeline.study import EvaluationConfig, SecondAxis, Study

SCORES = "preference_scores"
"""The asset with the scores of every preference."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PreferenceScores:
    """A model's ranks, losses and lists under one preference, or in one of its cells.

    Attributes:
        preference_id: Name of the preference; id of a cell off the neutral level.
        preference: Its weights, one per objective.
        targets: Scores of every target.
        sessions: Rows of the sessions with a list.
        lists_SK: Their recommendation lists of k items before the last click; S × k.
    """

    preference_id: str
    preference: tuple[float, ...]
    targets: TargetScores
    sessions: NDArray[np.int64]
    lists_SK: NDArray[np.int64]


def preference_ids(study: Study) -> list[str]:
    """Names of the preferences of the grid, such as ``p03``, in its order."""
    return list(named_grid(study.evaluation, len(study.training.objectives)))


def score_preferences(  # noqa: PLR0913 - model, data and options
    model: ConditionedSessionModel,
    test: HeldOutSessions,
    config: EvaluationConfig,
    *,
    ids: Sequence[str] | None = None,
    shard: Shard = WHOLE,
    axis: SecondAxis | None = None,
) -> list[PreferenceScores]:
    """Score the sessions under preferences of the grid, in one pass over the items.

    With a second axis, the scores of a preference are followed by those of its other cells.
    """
    grid = named_grid(config, model.n_objectives)
    selected = {name: grid[name] for name in (grid if ids is None else ids)}
    grid_GO = torch.tensor(list(selected.values()), dtype=torch.float64).float()
    targets = score_targets(model, test.tokens, grid_GO, ties=config.ties, shard=shard)
    k = min(config.cutoff, model.n_items)
    levels = axis and LevelScorer(
        model=model,
        tokens=test.tokens,
        reranker=_reranker(axis, model, test),
        list_length=k,
        selected=config.deepest_cutoff,
    )
    found: list[PreferenceScores] = []
    for row, ((name, weights), scores) in enumerate(zip(selected.items(), targets, strict=True)):
        sessions, lists_SK = session_lists(model, test.tokens, grid_GO[row], k, shard=shard)
        written = written_preference(weights)
        found.append(PreferenceScores(name, written, scores, sessions, lists_SK))
        if axis and levels:
            found += [
                PreferenceScores(
                    axis.cell(name, one.level), written, one.targets, sessions, one.lists_SK
                )
                for one in levels.score(weights, scores, lists_SK, shard)
            ]
    return found


def _reranker(
    axis: SecondAxis, model: ConditionedSessionModel, test: HeldOutSessions
) -> AxisReranker:
    return AxisReranker.of(
        axis,
        embedding_ID=model.item_embedding.weight.detach().numpy(),
        train_clicks_I=test.train_clicks_I,
        available_since=test.items["available_since"],
    )


def named_grid(config: EvaluationConfig, n_objectives: int) -> dict[str, list[float]]:
    """Name and weights of every preference."""
    grid = preference_grid(config.preferences, n_objectives).double().tolist()
    return {f"p{number:02d}": weights for number, weights in enumerate(grid)}


def written_preference(weights: Sequence[float]) -> tuple[float, ...]:
    """The weights of a preference, as tables have them."""
    return tuple(round(weight, _DIGITS) for weight in weights)

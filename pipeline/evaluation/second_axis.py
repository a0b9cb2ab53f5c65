"""Ranks and lists of a preference's cells: what the levels of the second axis make of its best items.

A level changes the order of the best items, or how many of them a list has. It changes neither the
scores of the model nor, therefore, the losses.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.network.model import ConditionedSessionModel
from models.scoring.recommend import TargetCandidates, target_candidates
from models.scoring.target_scores import Shard, TargetScores
from models.tokens import SessionTokens
from pipeline.recommender.second_axis import AxisReranker
from pipeline.study import AxisKind

Ints = NDArray[np.int64]

_NOT_LISTED = 0


@dataclass(frozen=True, slots=True)
class LevelScores:
    """The targets and the lists of one cell.

    Attributes:
        level: Of the second axis.
        targets: The targets of the preference, with the ranks of the cell.
        lists_SK: The lists of its sessions.
    """

    level: float
    targets: TargetScores
    lists_SK: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScorer:
    """Scores the levels of the second axis but the neutral one.

    Attributes:
        model: The model.
        tokens: The test sessions.
        reranker: The second axis.
        list_length: The k of the sessions' lists.
        selected: The largest k of any metric: how many items ``diversity`` selects.
    """

    model: ConditionedSessionModel
    tokens: SessionTokens
    reranker: AxisReranker
    list_length: int
    selected: int

    def score(
        self, preference: list[float], targets: TargetScores, lists_SK: Ints, shard: Shard
    ) -> list[LevelScores]:
        """The levels of one preference, ascending, from its scores at the neutral level.

        The ranking of a cell is that of the candidates (:meth:`AxisReranker.rank`), then all other
        items in the model's order: a target among the N candidates has its place there, any other
        one its rank in the catalogue (at least N + 1 where items tie). In a shorter list, a target
        that is not listed has the last rank.
        """
        axis = self.reranker.axis
        if axis.kind is not AxisKind.LIST_LENGTH:
            return self._reranked(preference, targets, shard)
        last = self.model.n_items
        return [
            LevelScores(
                level,
                replace(targets, rank=np.where(targets.rank <= level, targets.rank, last)),
                lists_SK[:, : int(level)],
            )
            for level in axis.others
        ]

    def _reranked(
        self, preference: list[float], targets: TargetScores, shard: Shard
    ) -> list[LevelScores]:
        levels = self.reranker.axis.others
        n = min(self.reranker.axis.candidates, self.model.n_items)
        key: list[Ints] = [np.empty((2, 0), dtype=np.int64)]
        place: list[Ints] = [np.empty((len(levels), 0), dtype=np.int64)]
        lists: list[Ints] = [np.empty((len(levels), 0, self.list_length), dtype=np.int64)]
        of_lists: list[Ints] = [np.empty(0, dtype=np.int64)]
        preference_O = torch.tensor(preference, dtype=torch.float64).float()
        for some in target_candidates(self.model, self.tokens, preference_O, n, shard=shard):
            ranked_LPN = np.stack([self._ranked(some, level) for level in levels])
            key.append(np.stack([some.history, some.session]))
            place.append(_places(ranked_LPN, some.item))
            is_last = some.history == self.tokens.lengths[some.session] - 1
            lists.append(ranked_LPN[:, is_last, : self.list_length])
            of_lists.append(some.session[is_last])
        order = np.lexsort(np.concatenate(key, axis=1))  # as in TargetScores
        place_LP = np.concatenate(place, axis=1)[:, order]
        lists_LSK = np.concatenate(lists, axis=1)[:, np.argsort(np.concatenate(of_lists))]
        return [
            LevelScores(
                level,
                replace(
                    targets,
                    rank=np.where(place_P != _NOT_LISTED, place_P, np.maximum(targets.rank, n + 1)),
                ),
                found_SK,
            )
            for level, place_P, found_SK in zip(levels, place_LP, lists_LSK, strict=True)
        ]

    def _ranked(self, some: TargetCandidates, level: float) -> Ints:
        """The candidates of some targets in the order of a level; P × N."""
        order_PN = self.reranker.rank(some.items_PN, some.scores_PN, level=level, k=self.selected)
        return np.take_along_axis(some.items_PN, order_PN, axis=1)


def _places(ranked_LPN: Ints, item_P: Ints) -> Ints:
    """The place of each target among its candidates, from 1; 0 where it is none of them."""
    is_target_LPN = ranked_LPN == item_P[:, None]
    return np.where(is_target_LPN.any(axis=2), is_target_LPN.argmax(axis=2) + 1, _NOT_LISTED)

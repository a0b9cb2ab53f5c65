"""Exact ranks of all targets by the product's own code, with ties at half."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.scoring.ranking import RankCounts, count_above
from models.scoring.tie_rule import TieRule
from models.tokens import SessionTokens

CUTOFF = 20
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well targets are ranked; all in [0, 1], higher is better.

    Attributes:
        recall: Recall@20.
        mrr: MRR@20.
        repeats: Recall@20 of targets that the session clicked before; None if there are none.
        others: Recall@20 of the other targets; None if there are none.
    """

    recall: float
    mrr: float
    repeats: float | None = None
    others: float | None = None

    @classmethod
    def of(cls, rank_P: NDArray[np.int64], tokens: SessionTokens) -> "Accuracy":
        """Of the ranks of a split's targets; 1 is the best."""
        hit_P, again_P = rank_P <= CUTOFF, repeats_of(tokens)
        parts = (hit_P[again_P], hit_P[~again_P])
        repeats, others = (float(part.mean()) if len(part) else None for part in parts)
        return cls(float(hit_P.mean()), float((hit_P / rank_P).mean()), repeats, others)


def targets_of(tokens: SessionTokens) -> NDArray[np.int64]:
    """Every click after the first of its session, session after session."""
    kept = np.ones(len(tokens.items), dtype=np.bool_)
    kept[tokens.offsets[:-1]] = False
    return tokens.items[kept].astype(np.int64)


def prefixes_of(tokens: SessionTokens) -> list[NDArray[np.int32]]:
    """The clicks before every target, in the targets' order."""
    spans = zip(tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist(), strict=True)
    return [tokens.items[start:end] for start, last in spans for end in range(start + 1, last)]


def repeats_of(tokens: SessionTokens) -> NDArray[np.bool_]:
    """Whether the session clicked a target before."""
    pairs = zip(prefixes_of(tokens), targets_of(tokens), strict=True)
    return np.array([bool((prefix == target).any()) for prefix, target in pairs], dtype=np.bool_)


def ranks_of_vectors(
    hidden_PD: Tensor, table_ID: Tensor, targets_P: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Ranks where item i scores ``table_ID[i] @ hidden_PD[p]``."""
    wanted_P = torch.from_numpy(targets_P)
    return np.concatenate(
        [
            count_above(hidden_PD[None, rows], table_ID, wanted_P[rows]).ranks(TieRule.HALF)[0]
            for rows in torch.arange(len(wanted_P)).split(_ROWS)
        ]
    )


def ranks_of_scores(blocks_PI: Iterable[Tensor], targets_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks from blocks of all items' scores, in the order of the targets."""
    ranks: list[Tensor] = []
    first = 0
    for scores_PI in blocks_PI:
        wanted_P = torch.from_numpy(targets_P[first : first + len(scores_PI)])
        first += len(scores_PI)
        own_P1 = scores_PI.gather(1, wanted_P[:, None])
        counts = RankCounts(
            own_P1.T,
            above_GP=(scores_PI > own_P1).sum(dim=1)[None],
            ties_GP=(scores_PI == own_P1).sum(dim=1)[None] - 1,
            lse_GP=None,
        )
        ranks.append(counts.ranks(TieRule.HALF)[0])
    return torch.cat(ranks).numpy()


def accuracy_of_file(vectors: Path, split: str, tokens: SessionTokens) -> Accuracy:
    """Of the vectors that a peer wrote."""
    with np.load(vectors) as arrays:
        hidden_PD, table_ID = (torch.from_numpy(arrays[name]) for name in (split, "table"))
    return Accuracy.of(ranks_of_vectors(hidden_PD, table_ID, targets_of(tokens)), tokens)

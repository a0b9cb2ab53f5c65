"""Re-ranking of one list of candidates, best first; every function returns a new list."""

from dataclasses import dataclass

import numpy as np
import pyversity
from numpy.typing import NDArray

_SMOOTHING = 0.01
"""α of q̃ in Steck (2018), section 3.1; keeps the divergence finite."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items (model indices) and their ranking scores, best first.

    ``propensities`` are those of an explored list, whose order is random: P(item | the items above it).
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    propensities: NDArray[np.float64] | None = None

    def take(self, indices: NDArray[np.integer]) -> "Candidates":
        """The candidates at these indices, in this order."""
        return Candidates(self.items[indices], self.scores[indices])

    def move_to_front(self, indices: NDArray[np.integer]) -> "Candidates":
        """The candidates at these indices first, then the others in their order."""
        others = np.ones(len(self.items), dtype=bool)
        others[indices] = False
        return self.take(np.concatenate([indices, np.flatnonzero(others)]))


def cap_category(found: Candidates, category_N: NDArray[np.integer], most: int) -> Candidates:
    """Keep the ``most`` best candidates of each category; category -1 (unknown) has no cap."""
    order = np.argsort(category_N, kind="stable")
    sorted_N = category_N[order]
    rank_N = np.empty(len(order), dtype=np.int64)  # within the category, from 0
    rank_N[order] = np.arange(len(order)) - np.searchsorted(sorted_N, sorted_N)
    return found.take(np.flatnonzero((rank_N < most) | (category_N < 0)))


def pin_item(found: Candidates, item: int, score: float, position: int) -> Candidates:
    """Move or insert an item at a position from 1, at the end if the list is shorter."""
    others = found.take(np.flatnonzero(found.items != item))
    at = min(position - 1, len(others.items))
    return Candidates(
        np.insert(others.items, at, item), np.insert(others.scores, at, np.float32(score))
    )


def diversify(
    found: Candidates, embedding_ND: NDArray[np.float32], *, method: str, strength: float, k: int
) -> Candidates:
    """Select k candidates by maximal marginal relevance or a determinantal point process.

    MMR (Carbonell & Goldstein 1998) trades off relevance, the score scaled to [0, 1], against the
    largest cosine similarity to an item already selected. DPP is greedy (Chen et al. 2018).
    """
    selected = pyversity.diversify(
        embedding_ND, min_max_scale(found.scores), k, strategy=method, diversity=strength
    ).indices
    return found.move_to_front(selected.astype(np.int64))


def calibrate(
    found: Candidates,
    category_N: NDArray[np.integer],
    session_category_S: NDArray[np.integer],
    *,
    strength: float,
    k: int,
) -> Candidates:
    """Select k candidates whose category distribution is close to that of the session.

    Greedily maximises (1 - λ) Σ s(i) - λ KL(p ‖ q̃) (Steck 2018, Eq. 3 to 5) with scores scaled to
    [0, 1]. Returns the candidates unchanged if no category of the session is known.
    """
    known = session_category_S[session_category_S >= 0]
    if not len(known):
        return found
    categories, counts = np.unique(known, return_counts=True)
    target_C = counts / counts.sum()
    column_N = np.searchsorted(categories, category_N).clip(max=len(categories) - 1)
    column_N = np.where(categories[column_N] == category_N, column_N, len(categories))
    additions_XC = np.eye(len(categories) + 1, len(categories))
    relevance_N = min_max_scale(found.scores)
    available_N = np.ones(len(relevance_N), dtype=bool)
    selected_C = np.zeros(len(categories))
    selected: list[int] = []
    for n in range(1, min(k, len(relevance_N)) + 1):
        shares_XC = (1 - _SMOOTHING) * (selected_C + additions_XC) / n + _SMOOTHING * target_C
        divergence_X = (target_C * np.log(target_C / shares_XC)).sum(axis=1)
        gain_N = (1 - strength) * relevance_N - strength * divergence_X[column_N]
        best = int(np.argmax(np.where(available_N, gain_N, -np.inf)))
        selected.append(best)
        available_N[best] = False
        selected_C += additions_XC[column_N[best]]
    return found.move_to_front(np.array(selected, dtype=np.int64))


def min_max_scale(scores_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores scaled linearly to [0, 1]; all 1 if they are equal."""
    if not len(scores_N):
        return np.empty(0)
    low, high = float(scores_N.min()), float(scores_N.max())
    if high == low:
        return np.ones(len(scores_N))
    return (scores_N.astype(np.float64) - low) / (high - low)

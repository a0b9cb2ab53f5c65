"""What rules do to one list of candidates; each is a function of lists, best candidate first."""

from dataclasses import dataclass

import numpy as np
import pyversity
from numpy.typing import NDArray

_SMOOTHING = 0.01
"""α of q̃ in Steck (2018), section 3.1: keeps the divergence finite."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items (model indices) with the scores they are ranked by, best first."""

    items: NDArray[np.int64]
    scores: NDArray[np.float32]

    def take(self, places: NDArray[np.integer]) -> "Candidates":
        """The candidates at some places, in that order."""
        return Candidates(self.items[places], self.scores[places])

    def move_to_front(self, places: NDArray[np.integer]) -> "Candidates":
        """The candidates at some places, in that order, and behind them the others in theirs."""
        others = np.ones(len(self.items), dtype=bool)
        others[places] = False
        return self.take(np.concatenate([places, np.flatnonzero(others)]))


def cap_category(found: Candidates, category_N: NDArray[np.integer], most: int) -> Candidates:
    """Keep the ``most`` best candidates of each category; -1 is none, and never too many."""
    order = np.argsort(category_N, kind="stable")
    in_order = category_N[order]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(in_order, in_order)
    return found.take(np.flatnonzero((place < most) | (category_N < 0)))


def pin_item(found: Candidates, item: int, score: float, position: int) -> Candidates:
    """Put an item at a position, which counts from 1; at the end of a list that is shorter."""
    others = found.take(np.flatnonzero(found.items != item))
    place = min(position - 1, len(others.items))
    return Candidates(
        np.insert(others.items, place, item), np.insert(others.scores, place, np.float32(score))
    )


def diversify(
    found: Candidates, embedding_ND: NDArray[np.float32], *, method: str, strength: float, k: int
) -> Candidates:
    """Choose k candidates by maximal marginal relevance or a determinantal point process.

    MMR (Carbonell & Goldstein 1998) weighs relevance, here the score scaled to [0, 1], against the
    largest cosine to an item chosen before. DPP is the greedy one of Chen et al. 2018.
    """
    chosen = pyversity.diversify(
        embedding_ND, min_max_scale(found.scores), k, strategy=method, diversity=strength
    ).indices
    return found.move_to_front(chosen.astype(np.int64))


def calibrate(
    found: Candidates,
    category_N: NDArray[np.integer],
    session_category_S: NDArray[np.integer],
    *,
    strength: float,
    k: int,
) -> Candidates:
    """Choose k candidates whose categories are divided as those of the session.

    Greedily, (1 - λ) Σ s(i) - λ KL(p ‖ q̃) is made as large as can be (Steck 2018, Eq. 3 to 5), with
    scores scaled to [0, 1]. A session of which no category is known changes nothing.
    """
    known = session_category_S[session_category_S >= 0]
    if not len(known):
        return found
    categories, counts = np.unique(known, return_counts=True)
    wanted_C = counts / counts.sum()
    column_N = np.searchsorted(categories, category_N).clip(max=len(categories) - 1)
    column_N = np.where(categories[column_N] == category_N, column_N, len(categories))
    additions_XC = np.eye(len(categories) + 1, len(categories))
    relevance_N = min_max_scale(found.scores)
    free_N = np.ones(len(relevance_N), dtype=bool)
    shown_C = np.zeros(len(categories))
    chosen: list[int] = []
    for n in range(1, min(k, len(relevance_N)) + 1):
        shares_XC = (1 - _SMOOTHING) * (shown_C + additions_XC) / n + _SMOOTHING * wanted_C
        divergence_X = (wanted_C * np.log(wanted_C / shares_XC)).sum(axis=1)
        gain_N = (1 - strength) * relevance_N - strength * divergence_X[column_N]
        best = int(np.argmax(np.where(free_N, gain_N, -np.inf)))
        chosen.append(best)
        free_N[best] = False
        shown_C += additions_XC[column_N[best]]
    return found.move_to_front(np.array(chosen, dtype=np.int64))


def min_max_scale(scores_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores moved and stretched to [0, 1]; all 1 if they are the same."""
    if not len(scores_N):
        return np.empty(0)
    low, high = float(scores_N.min()), float(scores_N.max())
    if high == low:
        return np.ones(len(scores_N))
    return (scores_N.astype(np.float64) - low) / (high - low)

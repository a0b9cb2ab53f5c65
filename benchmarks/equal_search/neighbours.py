"""Item-kNN and V-SKNN, which no maintained library has, by their published definitions.

Source: Ludewig & Jannach, "Evaluation of session-based recommendation algorithms", User Modeling
and User-Adapted Interaction 28 (2018); the shrinkage is that of Hidasi et al.'s item-kNN (2016).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from models.tokens import SessionTokens

_ROWS = 256


class Neighbours(Protocol):
    """A method without training: scores of all items after each prefix."""

    def scores(self, prefixes: list[NDArray[np.int32]]) -> sparse.csr_matrix:
        """Scores of every item, one row per prefix."""
        ...


def clicked(tokens: SessionTokens, n_items: int) -> sparse.csr_matrix:
    """Whether a session has a click on an item; sessions × items, float32."""
    shape = (tokens.n_sessions, n_items)
    clicks = np.ones(len(tokens.items), dtype=np.float32)
    # a copy, because summing duplicates sorts in place
    matrix = sparse.csr_matrix((clicks, tokens.items, tokens.offsets), shape=shape, copy=True)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


@dataclass(frozen=True, slots=True)
class ItemKNN:
    """The last click's most similar items: n_ij / √((n_i + λ)(n_j + λ)), n counting sessions.

    λ shrinks the similarity of rare items. An item is not its own neighbour.
    """

    similar_II: sparse.csr_matrix

    @classmethod
    def fit(cls, tokens: SessionTokens, n_items: int, *, k: int, shrinkage: float) -> "ItemKNN":
        """Keep the ``k`` most similar items of each item."""
        sessions_SI = clicked(tokens, n_items)
        together_II = (sessions_SI.T @ sessions_SI).tolil()
        together_II.setdiag(0)
        together_II = together_II.tocsr()
        together_II.eliminate_zeros()
        support_I = np.asarray(sessions_SI.sum(axis=0)).ravel()
        inverse_II = sparse.diags(1 / np.sqrt(support_I + shrinkage))
        return cls(largest((inverse_II @ together_II @ inverse_II).tocsr(), k))

    def scores(self, prefixes: list[NDArray[np.int32]]) -> sparse.csr_matrix:
        """The similarities of the last click."""
        return self.similar_II[[prefix[-1] for prefix in prefixes]]


@dataclass(frozen=True, slots=True)
class VSKNN:
    """The items of the most similar train sessions, each counting its session's similarity.

    The running session is a vector in which the last click has weight 1 and earlier ones less,
    linearly; the similarity is its product with the binary vector of a train session. Of the
    sessions that share an item, the most recent ``sample`` are candidates.
    """

    sessions_SI: sparse.csr_matrix
    k: int
    sample: int

    @classmethod
    def fit(cls, tokens: SessionTokens, n_items: int, *, k: int, sample: int) -> "VSKNN":
        """Index the train sessions, which are in the order of time."""
        return cls(clicked(tokens, n_items), k, sample)

    def scores(self, prefixes: list[NDArray[np.int32]]) -> sparse.csr_matrix:
        """Sums of the neighbours' similarities."""
        weight_PI = sparse.vstack([self._decayed(prefix) for prefix in prefixes]).tocsr()
        similar_PS = (weight_PI @ self.sessions_SI.T).tocsr()
        recent_PS = similar_PS.copy()
        recent_PS.data = recent_PS.indices.astype(np.float64)  # sessions in the order of time
        kept_PS = largest(recent_PS, self.sample)
        kept_PS.data[:] = 1
        return largest(similar_PS.multiply(kept_PS).tocsr(), self.k) @ self.sessions_SI

    def _decayed(self, prefix: NDArray[np.int32]) -> sparse.csr_matrix:
        items = np.unique(prefix)
        last = {item: place for place, item in enumerate(prefix.tolist(), start=1)}
        weights = np.array([last[item] for item in items.tolist()]) / len(prefix)
        shape = (1, self.sessions_SI.shape[1])
        return sparse.csr_matrix((weights, items, [0, len(items)]), shape=shape)


def largest(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The ``k`` largest stored values of every row."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))
    place = np.arange(len(order)) - matrix.indptr[row[order]]
    kept = order[place < k]
    return sparse.csr_matrix(
        (matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape
    )


def score_blocks(method: Neighbours, prefixes: list[NDArray[np.int32]]) -> Iterator[Tensor]:
    """Dense scores, a block of prefixes at a time."""
    for start in range(0, len(prefixes), _ROWS):
        yield torch.from_numpy(method.scores(prefixes[start : start + _ROWS]).toarray())

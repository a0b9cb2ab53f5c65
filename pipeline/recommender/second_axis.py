"""The lists of the second axis: the best items of a session, re-ranked or shortened by a level."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.study import AxisKind, SecondAxis

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_ITEM = -1
"""Padding after the items of a list that is shorter than others."""

_ROWS_PER_BLOCK = 64
"""Sessions whose candidates' embeddings fit in the processor's cache."""


@dataclass(frozen=True, slots=True)
class AxisReranker:
    """A second axis for one catalogue.

    Relevance and properties are scaled to [0, 1] over the candidates of a session: their largest
    value is 1, their smallest 0, and all are 1 if they are equal.

    Attributes:
        axis: Its kind and levels.
        direction_ID: Item embeddings of length 1, of which ``diversity`` reads the cosines.
        property_I: What ``novelty`` or ``freshness`` raise: -log2 of an item's share of the train
            clicks (an item without clicks counts as one with one), or when it became available; nan
            where unknown, which is the least.
    """

    axis: SecondAxis
    direction_ID: NDArray[np.float32]
    property_I: Floats

    @classmethod
    def of(
        cls,
        axis: SecondAxis,
        *,
        embedding_ID: NDArray[np.float32],
        train_clicks_I: Ints,
        available_since: pl.Series,
    ) -> Self:
        """An axis for a catalogue; every argument has one entry per item.

        Raises:
            DataError: if the axis is freshness, and it is not known of any item.
        """
        length_I1 = np.linalg.norm(embedding_ID, axis=1, keepdims=True)
        if axis.kind is AxisKind.FRESHNESS:
            if available_since.null_count() == len(available_since):
                msg = (
                    "experiment.second_axis.kind = freshness needs available_since in "
                    "dataset.item_attributes, which no item of the catalogue has; add it or choose "
                    "another kind"
                )
                raise DataError(msg)
            property_I = available_since.cast(pl.Float64).fill_null(np.nan).to_numpy()
        else:
            clicks_I = np.maximum(train_clicks_I, 1)
            property_I = -np.log2(clicks_I / clicks_I.sum())
        return cls(axis, embedding_ID / np.maximum(length_I1, 1e-12), property_I)

    def rank(self, items_BN: Ints, scores_BN: NDArray[np.float32], *, level: float, k: int) -> Ints:
        """The candidates in the order of a level; B × N indices into ``items_BN``.

        With the weight λ of the level: ``diversity`` selects k items by maximal marginal relevance
        (Carbonell & Goldstein 1998), ``(1 - λ) relevance - λ max(0, cosine)`` to the most similar
        item already selected; the others follow in their order. ``novelty`` and ``freshness`` sort by
        ``(1 - λ) relevance + λ property``. Equal items keep their order, as all do at the neutral
        level and for ``list-length``.

        Items beyond the axis's number of candidates keep their places.

        Args:
            items_BN: The N best items of each session, best first.
            scores_BN: Their scores.
            level: A level of the axis.
            k: Number of items to select; a list of fewer items has the first of these.
        """
        n = self.axis.candidates
        order_BN = np.tile(np.arange(items_BN.shape[1]), (len(items_BN), 1))
        if level != self.axis.neutral and self.axis.kind is not AxisKind.LIST_LENGTH:
            order_BN[:, :n] = self._reranked(items_BN[:, :n], scores_BN[:, :n], level, k)
        return order_BN

    def lists(
        self, items_BN: Ints, scores_BN: NDArray[np.float32], level_B: Floats, *, k: int
    ) -> Ints:
        """The list of each session at its own level; B × k, padded with :data:`NO_ITEM`."""
        lists_BK = np.full((len(items_BN), k), NO_ITEM, dtype=np.int64)
        for level in np.unique(level_B).tolist():
            rows_B = level_B == level
            order_BN = self.rank(items_BN[rows_B], scores_BN[rows_B], level=level, k=k)
            length = self.axis.list_length(level, k)
            lists_BK[rows_B, :length] = np.take_along_axis(
                items_BN[rows_B], order_BN[:, :length], axis=1
            )
        return lists_BK

    def _reranked(
        self, items_BN: Ints, scores_BN: NDArray[np.float32], level: float, k: int
    ) -> Ints:
        relevance_BN = _scaled(scores_BN.astype(np.float64))
        if self.axis.kind is AxisKind.DIVERSITY:
            blocks = range(0, len(items_BN), _ROWS_PER_BLOCK)
            ordered = [
                _most_marginal(
                    relevance_BN[start : start + _ROWS_PER_BLOCK],
                    self.direction_ID[items_BN[start : start + _ROWS_PER_BLOCK]],
                    level,
                    k,
                )
                for start in blocks
            ]
            return np.concatenate(ordered) if ordered else items_BN[:0]
        value_BN = (1 - level) * relevance_BN + level * _scaled(self.property_I[items_BN])
        return np.argsort(-value_BN, axis=1, kind="stable")


def _scaled(value_BN: Floats) -> Floats:
    """Each row scaled to [0, 1]; unknown values are the least, and equal ones are 1."""
    low_B1 = np.nanmin(np.where(np.isnan(value_BN), np.inf, value_BN), axis=1, keepdims=True)
    known_BN = np.where(np.isnan(value_BN), low_B1, value_BN)
    range_B1 = known_BN.max(axis=1, keepdims=True) - low_B1
    with np.errstate(invalid="ignore"):
        return np.where(range_B1 > 0, (known_BN - low_B1) / range_B1, 1.0)


def _most_marginal(
    relevance_BN: Floats, direction_BND: NDArray[np.float32], weight: float, k: int
) -> Ints:
    """Greedy selection of k items by maximal marginal relevance, then the others in their order."""
    n_rows, n = relevance_BN.shape
    rows_B = np.arange(n_rows)
    place_BN = np.tile(np.arange(k, k + n), (n_rows, 1))  # others follow the selected
    nearest_BN = np.zeros((n_rows, n))
    gain_BN = relevance_BN
    for step in range(min(k, n)):
        best_B = np.where(place_BN >= k, gain_BN, -np.inf).argmax(axis=1)
        place_BN[rows_B, best_B] = step
        cosine_BN1 = direction_BND @ direction_BND[rows_B, best_B][:, :, None]
        nearest_BN = np.maximum(nearest_BN, cosine_BN1[:, :, 0])
        gain_BN = (1 - weight) * relevance_BN - weight * nearest_BN
    return np.argsort(place_BN, axis=1)

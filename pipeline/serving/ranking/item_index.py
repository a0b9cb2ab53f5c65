"""An approximate index of a model's items (faiss), from which candidates of lists are taken.

The items are clustered by k-means into lists; a query searches the lists whose centres score highest (IVF, Jégou
et al. 2011). Vectors in the lists have one byte per dimension (SQ8), so the candidates are scored again exactly.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network.model import ConditionedSessionModel
from models.scoring.recommend import best_items, next_hidden, rows_at_once
from models.tokens import SessionTokens
from pipeline.core.errors import StudyError
from pipeline.study import IndexKind

K = 20
"""Recall is that of the best 20 items, as MultiTRON's Recall@20."""

SAMPLE = 256
"""Test sessions on which recall is measured; its standard error is below 0.01."""

_SEARCHED = 8
"""One list in so many is searched."""

_POINTS_PER_LIST = 64
"""Items that k-means sees, per list; more makes no better lists."""

_SPARE = 2
"""So many times the items that a list needs are taken from the index: filters and rounding cost some."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemIndex:
    """The index of a model's items.

    Attributes:
        kind: Its kind.
        lists: The power of two nearest to the square root of the number of items.
        probes: Lists that a query searches: an eighth of them, at least one.
        seconds: Time that it took to build.
        sample: Sessions before their last click, on which recall is measured.
    """

    kind: IndexKind
    lists: int
    probes: int
    seconds: float
    sample: Sequence[NDArray[np.int64]]
    _faiss: Any
    _index: Any
    _recall: dict[tuple[float, ...], float] = field(default_factory=dict[tuple[float, ...], float])

    @classmethod
    def build(
        cls, kind: IndexKind, table_ID: Tensor, sample: Sequence[NDArray[np.int64]], *, threads: int
    ) -> Self:
        """Build the index of the item embeddings; the same table gives the same index.

        Raises:
            StudyError: if faiss is not installed.
        """
        logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # its tries of instruction sets
        try:
            faiss = import_module("faiss")
        except ImportError as error:
            msg = (
                f"serving.index = {kind} needs faiss, which is not installed; run: pip install "
                "'paretoscope[index]', or set serving.index: null"
            )
            raise StudyError(msg) from error
        started = time.perf_counter()
        faiss.omp_set_num_threads(threads)
        items_ID = np.ascontiguousarray(table_ID.numpy(), dtype=np.float32)
        n_items, width = items_ID.shape
        lists = 2 ** round(math.log2(math.sqrt(n_items)))
        # an index frees its quantizer with it
        index = faiss.index_factory(width, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # small catalogues are no mistake
        index.cp.max_points_per_centroid = _POINTS_PER_LIST
        index.train(items_ID)
        index.add(items_ID)
        return cls(
            kind=kind,
            lists=lists,
            probes=max(1, lists // _SEARCHED),
            seconds=time.perf_counter() - started,
            sample=sample,
            _faiss=faiss,
            _index=index,
        )

    @torch.no_grad()
    def candidates(
        self, model: ConditionedSessionModel, hidden_BD: Tensor, n: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """About the n best items of each hidden state, and their exact scores.

        They are in the order of the index; the first m of n are those of a search for m. Where the
        searched lists have fewer items, the rest is -1 with a score of -∞.
        """
        search = self._faiss.SearchParametersIVF(nprobe=self.probes)
        _, items_BN = self._index.search(np.ascontiguousarray(hidden_BD.numpy()), n, params=search)
        items = torch.from_numpy(items_BN)
        embedding_BND = model.item_embedding.weight[items.clamp_min(0)]
        scores_BN = torch.einsum("bnd,bd->bn", embedding_BND, hidden_BD)
        return items_BN, scores_BN.masked_fill(items < 0, -torch.inf).numpy()

    def searched(self, n: int) -> int:
        """How many items are taken from the index for a list of n candidates."""
        return _SPARE * n

    @torch.no_grad()
    def recall(self, model: ConditionedSessionModel, preference: tuple[float, ...]) -> float:
        """Share of the 20 best items that a list from the index has, over the sample; in [0, 1].

        Computed once per preference.
        """
        if preference not in self._recall:
            hidden_SD = next_hidden(
                model, self.sample, torch.tensor([preference]).expand(len(self.sample), -1)
            )
            k = min(K, model.n_items)
            items_SN, scores_SN = self.candidates(model, hidden_SD, self.searched(k))
            hits = 0
            size = rows_at_once(model.n_items, len(self.sample))
            for start in range(0, len(self.sample), size):
                part = slice(start, start + size)
                _, exact_PK = best_items(model.score_all(hidden_SD[part]), k)
                best_PK = np.argsort(-scores_SN[part], axis=1, kind="stable")[:, :k]
                found_PK = np.take_along_axis(items_SN[part], best_PK, axis=1)
                hits += sum(
                    len(np.intersect1d(*pair))
                    for pair in zip(found_PK, exact_PK.numpy(), strict=True)
                )
            self._recall[preference] = hits / (k * len(self.sample))
        return self._recall[preference]

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self._index.ntotal:,} items in {self.lists} lists of which {self.probes} are "
            f"searched, built in {self.seconds:.1f} s"
        )


def sampled_sessions(tokens: SessionTokens, seed: int) -> list[NDArray[np.int64]]:
    """Random sessions before their last click, for :meth:`ItemIndex.recall`."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(tokens.lengths > 1))[:SAMPLE]
    return [
        tokens.items[tokens.offsets[row] : tokens.offsets[row + 1] - 1].astype(np.int64)
        for row in np.sort(rows)
    ]

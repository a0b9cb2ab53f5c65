"""A trained model with its catalogue, which recommends items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint import load_checkpoint
from models.network.model import ConditionedSessionModel
from models.progress import track
from models.scoring.prefixes import SessionChains, chain_candidates
from models.scoring.recommend import best_items, next_scores, top_items
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.object_urls import local_copy
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.recommender.second_axis import NO_ITEM, AxisReranker
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.study import SecondAxis, Study

_SESSIONS_PER_BATCH = 512


@dataclass(frozen=True, slots=True)
class Recommender:
    """A model with its catalogue; one instance serves every test group.

    Attributes:
        model: The network.
        items: The shop's id of each item, in the order of the model's indices.
        index: The model's index of each id.
        reranker: The second axis in which the groups differ; None without one.
    """

    model: ConditionedSessionModel
    items: list[str]
    index: dict[str, int]
    reranker: AxisReranker | None = None

    @classmethod
    def load(cls, paths: StudyPaths) -> Self:
        """The trained model of a study with its catalogue.

        Raises:
            MissingArtifact: if either is missing.
            CheckpointError: if the model was trained on another catalogue.
        """
        checkpoint = paths.require("conditioned_model")
        items = item_ids(read_catalogue(paths))
        return cls.of(load_checkpoint(checkpoint, items=items), items)

    @classmethod
    def of(cls, model: ConditionedSessionModel, items: list[str]) -> Self:
        """A recommender from its parts; item i of ``items`` has index i in the model."""
        return cls(model=model, items=items, index={item: n for n, item in enumerate(items)})

    def with_axis(self, axis: SecondAxis | None, study: Study, paths: StudyPaths) -> Self:
        """The recommender of groups that differ in a second axis; itself if there is none.

        Raises:
            MissingArtifact, DataError: if the catalogue is missing, or lacks what the axis needs.
        """
        if axis is None:
            return self
        items, file = read_catalogue(paths), study.dataset.item_attributes
        reranker = AxisReranker.of(
            axis,
            embedding_ID=self.model.item_embedding.weight.detach().numpy(),
            train_clicks_I=items["train_clicks"].to_numpy(),
            available_since=read_item_attributes(
                paths.root / local_copy(file) if file else None, items
            )["available_since"],
        )
        return replace(self, reranker=reranker)

    def recommend(
        self,
        sessions: list[NDArray[np.int64]],
        preferences: NDArray[np.float64],
        *,
        k: int,
        levels: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """The list (model indices) of each session under its own preference; S × k.

        Args:
            sessions: Clicked items so far, as model indices, at least one each.
            preferences: One preference per session, S × objectives.
            k: Length of the lists; shorter ones are padded with :data:`~pipeline.recommender.second_axis.NO_ITEM`.
            levels: A level of the second axis per session; None without such an axis.
        """
        starts = range(0, len(sessions), _SESSIONS_PER_BATCH)
        batches = (
            self._lists(
                sessions[start : start + _SESSIONS_PER_BATCH],
                torch.from_numpy(preferences[start : start + _SESSIONS_PER_BATCH]).float(),
                k,
                None if levels is None else levels[start : start + _SESSIONS_PER_BATCH],
            )
            for start in starts
        )
        lists = list(track(batches, len(starts), "recommending", unit="lists", size=len))
        return np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int64)

    def chains(self, sessions: list[NDArray[np.int64]]) -> SessionChains:
        """Sessions for :meth:`policy_lists`, with at least one click each."""
        return SessionChains.of(sessions, self.model.config)

    def policy_lists(
        self,
        sessions: SessionChains,
        preference: Sequence[float],
        *,
        k: int,
        level: float | None = None,
    ) -> NDArray[np.int32]:
        """The list of each session under one preference and level, as :meth:`recommend`; S × k.

        Scores may differ from those of :meth:`recommend` in the last digit.
        """
        lists_SK = np.full((len(sessions.order_S), k), NO_ITEM, dtype=np.int32)
        n = k if self.reranker is None else max(k, self.reranker.axis.candidates)
        parts = chain_candidates(
            self.model, sessions, torch.tensor(preference).float(), min(n, self.model.n_items)
        )
        for rows, items_PN, scores_PN in parts:
            if self.reranker is None or level is None:
                lists_SK[rows] = items_PN[:, :k]
            else:
                level_P = np.full(len(rows), level)
                lists_SK[rows] = self.reranker.lists(items_PN, scores_PN, level_P, k=k)
        return lists_SK

    def candidates(
        self,
        sessions: list[NDArray[np.int64]],
        preferences: NDArray[np.float64],
        *,
        n: int,
    ) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.float64]]]:
        """The n best items (all, if they are fewer) of each session and their scores, in parts.

        Yields:
            The rows of the sessions, their items (model indices), best first, and the scores; S × n each.
        """
        for start in range(0, len(sessions), _SESSIONS_PER_BATCH):
            rows = slice(start, start + _SESSIONS_PER_BATCH)
            preference_BO = torch.from_numpy(preferences[rows]).float()
            scores_BI = next_scores(self.model, sessions[rows], preference_BO)
            values_BN, items_BN = best_items(scores_BI, min(n, self.model.n_items))
            yield rows, items_BN.numpy(), values_BN.numpy().astype(np.float64)

    def _lists(
        self,
        sessions: list[NDArray[np.int64]],
        preference_BO: torch.Tensor,
        k: int,
        level_B: NDArray[np.float64] | None,
    ) -> NDArray[np.int64]:
        if self.reranker is None or level_B is None:
            return top_items(self.model, sessions, preference_BO, k)
        n = min(max(k, self.reranker.axis.candidates), self.model.n_items)
        scores_BN, items_BN = best_items(next_scores(self.model, sessions, preference_BO), n)
        return self.reranker.lists(items_BN.numpy(), scores_BN.numpy(), level_B, k=k)

"""A trained model with its catalogue, which recommends items."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint import load_checkpoint
from models.network.model import ConditionedSessionModel
from models.scoring.recommend import top_items
from pipeline.artifacts.storage import StudyPaths
from pipeline.sessions.catalogue import item_ids, read_catalogue

_SESSIONS_PER_BATCH = 512


@dataclass(frozen=True, slots=True)
class Recommender:
    """A model with its catalogue; one instance serves every test group.

    Attributes:
        model: The network.
        items: The shop's id of each item, in the order of the model's indices.
        index: The model's index of each id.
    """

    model: ConditionedSessionModel
    items: list[str]
    index: dict[str, int]

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

    def recommend(
        self, sessions: list[NDArray[np.int64]], preferences: NDArray[np.float64], *, k: int
    ) -> NDArray[np.int64]:
        """The k best items (model indices) for each session under its own preference; S × k.

        Args:
            sessions: Clicked items so far, as model indices, at least one each.
            preferences: One preference per session, S × objectives.
            k: Length of the lists.
        """
        lists = [
            top_items(
                self.model,
                sessions[start : start + _SESSIONS_PER_BATCH],
                torch.from_numpy(preferences[start : start + _SESSIONS_PER_BATCH]).float(),
                k,
            )
            for start in range(0, len(sessions), _SESSIONS_PER_BATCH)
        ]
        return np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int64)

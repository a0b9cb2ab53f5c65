"""A served model: shop item ids in, a ranked list of shop item ids out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from models.checkpoint import load_checkpoint
from models.network import ConditionedSessionModel
from models.scoring import top_items
from pipeline.artifacts.storage import read_table

_SESSIONS_AT_ONCE = 512


def read_catalogue(items: Path) -> list[str]:
    """The shop's items as texts; item i has index i in the model."""
    return read_table(items).sort("index")["item"].cast(pl.String).to_list()


@dataclass(frozen=True, slots=True)
class Recommender:
    """A model with its catalogue; one instance serves every group."""

    model: ConditionedSessionModel
    items: list[str]
    index: dict[str, int]

    @classmethod
    def load(cls, checkpoint: Path, items: Path) -> Self:
        """Load a checkpoint with the catalogue it was trained on.

        Raises:
            CheckpointError: if they do not belong together.
        """
        catalogue = read_catalogue(items)
        return cls.of(load_checkpoint(checkpoint, items=catalogue), catalogue)

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
            preferences: One preference a session, S × objectives.
            k: Length of the lists.
        """
        lists = [
            top_items(
                self.model,
                sessions[start : start + _SESSIONS_AT_ONCE],
                torch.from_numpy(preferences[start : start + _SESSIONS_AT_ONCE]).float(),
                k,
            )
            for start in range(0, len(sessions), _SESSIONS_AT_ONCE)
        ]
        return np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int64)

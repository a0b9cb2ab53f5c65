"""The sessions a model is evaluated on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.tokens import SessionTokens
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Split
from pipeline.core.object_urls import local_copy
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.sessions.catalogue import read_catalogue
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.study import Study


@dataclass(frozen=True, slots=True)
class HeldOutSessions:
    """Test sessions, and what is known about their items.

    Attributes:
        tokens: The sessions.
        times: Time of each of their clicks, milliseconds since 1970-01-01 UTC.
        train_clicks_I: Clicks of each item in train.
        items: Attributes of the items, as :data:`pipeline.core.contracts.ITEM_ATTRIBUTES`.
    """

    tokens: SessionTokens
    times: NDArray[np.int64]
    train_clicks_I: NDArray[np.int64]
    items: pl.DataFrame

    @classmethod
    def open(cls, study: Study, paths: StudyPaths) -> Self:
        """The study's test sessions, or a random sample of ``evaluation.sessions`` of them.

        Raises:
            MissingArtifact, DataError: if sessions are missing or damaged.
        """
        store = paths.require("sessions", "tokens.safetensors")
        catalogue = read_catalogue(paths)
        file = study.dataset.item_attributes
        whole = cls(
            tokens=open_tokens(store, Split.TEST),
            times=open_times(store, Split.TEST),
            train_clicks_I=open_tokens(store, Split.TRAIN).clicks(catalogue.height),
            items=read_item_attributes(paths.root / local_copy(file) if file else None, catalogue),
        )
        sample, available = study.evaluation.sessions, whole.tokens.n_sessions
        if sample is None or sample >= available:
            return whole
        rng = np.random.default_rng([study.study.seed, sample])
        return whole.take(np.sort(rng.choice(available, sample, replace=False)))

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The sessions at ``rows``, in that order."""
        tokens = self.tokens
        lengths = tokens.lengths[rows]
        starts = np.cumsum(lengths) - lengths
        clicks = np.arange(lengths.sum()) + np.repeat(tokens.offsets[rows] - starts, lengths)
        return type(self)(
            tokens=SessionTokens(
                items=tokens.items[clicks],
                ordered=tokens.ordered[clicks],
                carted=tokens.carted[clicks],
                offsets=np.append(0, np.cumsum(lengths)),
            ),
            times=self.times[clicks],
            train_clicks_I=self.train_clicks_I,
            items=self.items,
        )

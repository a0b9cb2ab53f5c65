"""The sessions a model is evaluated on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.tokens import SessionTokens
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import ITEM_ATTRIBUTES, Split
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.sessions.catalogue import read_catalogue
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.study import Study


@dataclass(frozen=True, slots=True)
class HeldOutSessions:
    """Test sessions, and what train knows of their items.

    Attributes:
        tokens: The sessions.
        times: When each of their clicks was, milliseconds since 1970-01-01 UTC.
        train_clicks_I: Clicks of each item in train.
        items: What the shop says of its items, as :data:`pipeline.core.contracts.ITEM_ATTRIBUTES` has it.
    """

    tokens: SessionTokens
    times: NDArray[np.int64]
    train_clicks_I: NDArray[np.int64]
    items: pl.DataFrame

    @classmethod
    def open(cls, study: Study, paths: StudyPaths) -> Self:
        """The study's test sessions, or the number of them it wants, drawn by its seed.

        Raises:
            MissingArtifact, DataError: if sessions are missing or damaged.
        """
        store = paths.require("sessions", "tokens.safetensors")
        catalogue = read_catalogue(paths)
        file = study.dataset.item_attributes
        found = cls(
            tokens=open_tokens(store, Split.TEST),
            times=open_times(store, Split.TEST),
            train_clicks_I=open_tokens(store, Split.TRAIN).clicks(catalogue.height),
            items=empty_attributes(catalogue)
            if file is None
            else read_item_attributes(paths.root / file, catalogue),
        )
        wanted, there = study.evaluation.sessions, found.tokens.n_sessions
        if wanted is None or wanted >= there:
            return found
        rng = np.random.default_rng([study.study.seed, wanted])
        return found.of(np.sort(rng.choice(there, wanted, replace=False)))

    def of(self, rows: NDArray[np.int64]) -> Self:
        """Some of the sessions, in the order of their ``rows``."""
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


def empty_attributes(catalogue: pl.DataFrame) -> pl.DataFrame:
    """The attributes of items of which the shop says nothing."""
    names = catalogue.select("index", item=pl.col("item").cast(pl.String))
    unknown = pl.DataFrame(schema=ITEM_ATTRIBUTES.schema)
    return ITEM_ATTRIBUTES.validate(pl.concat([unknown, names], how="diagonal"))

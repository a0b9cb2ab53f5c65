"""The catalogue: the items of a study's model, with their indices."""

import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table


def read_catalogue(paths: StudyPaths) -> pl.DataFrame:
    """The catalogue as :data:`pipeline.core.contracts.ITEMS`; row i has index i in the model.

    Raises:
        MissingArtifact, DataError: if ``sessions`` is missing or damaged.
    """
    return read_table(paths.require("sessions", "items.parquet")).sort("index")


def item_ids(catalogue: pl.DataFrame) -> list[str]:
    """The shop's id of each item, as a string."""
    return catalogue["item"].cast(pl.String).to_list()

"""The catalogue: the items of a study's model, with their indices, and whether they are enough."""

import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.errors import DataError
from pipeline.core.labels import counted
from pipeline.study import Study


def read_catalogue(paths: StudyPaths) -> pl.DataFrame:
    """The catalogue as :data:`pipeline.core.contracts.ITEMS`; row i has index i in the model.

    Raises:
        MissingArtifact, DataError: if ``sessions`` is missing or damaged.
    """
    return read_table(paths.require("sessions", "items.parquet")).sort("index")


def item_ids(catalogue: pl.DataFrame) -> list[str]:
    """The shop's id of each item, as a string."""
    return catalogue["item"].cast(pl.String).to_list()


def check_catalogue_size(study: Study, items: int) -> None:
    """Check that no list, and no sample of negatives, is longer than the catalogue.

    Raises:
        DataError: naming the keys to lower.
    """
    lengths = {
        "evaluation.cutoff": study.evaluation.cutoff,
        "experiment.list_length": study.experiment.list_length,
        "training.negatives.uniform": study.training.negatives.uniform,
        "training.negatives.top": study.training.negatives.top or 0,
    }
    if longer := [f"{key} = {length}" for key, length in lengths.items() if length > items]:
        msg = (
            f"the catalogue has {counted(items, 'item')}, fewer than {', '.join(longer)}; lower these to at most "
            f"{items}, or raise the number of items: sessions.min_item_support = "
            f"{study.sessions.min_item_support} is the number of clicks an item needs"
        )
        raise DataError(msg)

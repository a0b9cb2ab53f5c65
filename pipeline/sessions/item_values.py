"""What each item is worth, for an objective that weighs clicks by revenue."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import DataError


def read_item_values(path: Path, items: pl.DataFrame) -> NDArray[np.float64]:
    """The value of every item of the catalogue, over the mean value of a click in train.

    Args:
        path: A CSV or parquet file with the columns item and value (a price, or a margin); items
            outside the catalogue are passed over.
        items: The catalogue, with index, item and train_clicks.

    Raises:
        DataError: if the file cannot be read, an item has no value, two, or one that is negative
            or no number, or all clicked items are worth nothing.
    """
    table = _read(path).filter(pl.col("item").is_in(items["item"].cast(pl.String).implode()))
    twice = table.filter(pl.col("item").is_duplicated())["item"].unique().sort()
    if len(twice):
        msg = f"{path}: {len(twice)} items have more than one value, such as {twice[0]}; keep one"
        raise DataError(msg)
    joined = (
        items.select("index", "train_clicks", item=pl.col("item").cast(pl.String))
        .join(table, on="item", how="left")
        .sort("index")
    )
    value = joined["value"]
    bad = joined.filter(value.is_null() | ~value.is_finite() | (value < 0))
    if bad.height:
        msg = (
            f"{path}: {bad.height} of the catalogue's {joined.height} items have no value that is a "
            f"number from 0 up, such as {bad['item'][0]} ({bad['value'][0]}); give each one"
        )
        raise DataError(msg)
    worth = value.to_numpy()
    mean = np.average(worth, weights=joined["train_clicks"].to_numpy())
    if not mean > 0:
        msg = f"{path}: every clicked item is worth 0; is 'value' the right column?"
        raise DataError(msg)
    return worth / mean


def _read(path: Path) -> pl.DataFrame:
    """The columns item, as text, and value, as numbers; what is no number becomes null."""
    try:
        parquet = path.suffix == ".parquet"
        table = pl.read_parquet(path) if parquet else pl.read_csv(path, infer_schema=False)
        return table.select(
            pl.col("item").cast(pl.String), pl.col("value").cast(pl.Float64, strict=False)
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = (
            f"cannot read {path}: {error}; dataset.item_values names a CSV or parquet file with the "
            "columns item and value"
        )
        raise DataError(msg) from error

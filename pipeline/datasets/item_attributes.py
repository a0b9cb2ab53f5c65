"""What a shop knows of its items besides the clicks: their value, category and age."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import ITEM_ATTRIBUTES
from pipeline.core.errors import DataError

_KNOWN = ("value", "category", "available_since")


def read_item_attributes(path: Path, items: pl.DataFrame) -> pl.DataFrame:
    """The attributes of every item of the catalogue, in its order; null where the file is silent.

    Args:
        path: A CSV or parquet file with the column item and one or more of value, category and
            available_since (a date or time of ISO 8601; UTC where it names no zone); items outside
            the catalogue are passed over.
        items: The catalogue, with index and item.

    Raises:
        DataError: if the file cannot be read, has none of the columns, tells of an item twice, or
            holds a time that is none.
    """
    table = _read(path)
    if not (present := [name for name in _KNOWN if name in table.columns]):
        msg = (
            f"{path} has the columns {table.columns}; dataset.item_attributes needs item and one or "
            f"more of {', '.join(_KNOWN)}"
        )
        raise DataError(msg)
    known = table.filter(pl.col("item").is_in(items["item"].cast(pl.String).implode()))
    twice = known.filter(pl.col("item").is_duplicated())["item"].unique().sort()
    if len(twice):
        msg = f"{path}: {len(twice)} items stand there more than once, such as {twice[0]}; keep one"
        raise DataError(msg)
    typed = known.select(
        "item",
        value=pl.col("value").cast(pl.Float64, strict=False) if "value" in present else None,
        category=pl.col("category") if "category" in present else None,
        available_since=_milliseconds(path, known) if "available_since" in present else None,
    )
    joined = items.select("index", item=pl.col("item").cast(pl.String)).join(
        typed, on="item", how="left"
    )
    return ITEM_ATTRIBUTES.validate(joined.sort("index").cast(dict(ITEM_ATTRIBUTES.schema)))  # pyright: ignore[reportArgumentType]


def _milliseconds(path: Path, known: pl.DataFrame) -> pl.Series:
    """The times since which items are available, milliseconds UTC."""
    found: list[int | None] = []
    for item, written in known.select("item", "available_since").iter_rows():
        try:
            moment = None if written is None else datetime.fromisoformat(written)
        except ValueError as error:
            msg = (
                f"{path}: item {item} has available_since = {written!r}, which is no time of ISO "
                "8601; write one such as 2025-09-01, or leave it out"
            )
            raise DataError(msg) from error
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found.append(None if moment is None else round(moment.timestamp() * 1000))
    return pl.Series(found, dtype=pl.Int64)


def relative_values(
    path: Path, attributes: pl.DataFrame, train_clicks_I: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The value of every item over the mean value of a click in train.

    Raises:
        DataError: if an item has no value, or one that is negative or no number, or all clicked
            items are worth nothing.
    """
    value = attributes["value"]
    bad = attributes.filter(value.is_null() | ~value.is_finite() | (value < 0))
    if bad.height:
        msg = (
            f"{path}: {bad.height} of the catalogue's {attributes.height} items have no value that "
            f"is a number from 0 up, such as {bad['item'][0]} ({bad['value'][0]}); give each one"
        )
        raise DataError(msg)
    worth = value.to_numpy()
    mean = np.average(worth, weights=train_clicks_I)
    if not mean > 0:
        msg = f"{path}: every clicked item is worth 0; is 'value' the right column?"
        raise DataError(msg)
    return worth / mean


def _read(path: Path) -> pl.DataFrame:
    """The file, all of it as text."""
    try:
        parquet = path.suffix == ".parquet"
        table = pl.read_parquet(path) if parquet else pl.read_csv(path, infer_schema=False)
        columns = ["item", *(name for name in _KNOWN if name in table.columns)]
        return table.select(pl.col(columns).cast(pl.String))
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = (
            f"cannot read {path}: {error}; dataset.item_attributes names a CSV or parquet file with "
            f"the column item and one or more of {', '.join(_KNOWN)}"
        )
        raise DataError(msg) from error

"""What a shop knows about its items, apart from clicks: value, category and age."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import ITEM_ATTRIBUTES
from pipeline.core.errors import DataError
from pipeline.core.file_content import did_you_mean
from pipeline.core.labels import counted
from pipeline.datasets.io.table_files import read_table_file

_ATTRIBUTES = ("value", "category", "available_since")
_SPELLINGS = {
    "'.0' (a column of decimals)": pl.col("id").str.replace(r"\.0+$", ""),
    "leading zeros": pl.col("id").str.strip_chars_start("0"),
    "spaces": pl.col("id").str.strip_chars(),
    "upper and lower case": pl.col("id").str.to_lowercase(),
}
"""Differences in spelling by which two columns of ids match after all."""


def read_item_attributes(path: Path | None, items: pl.DataFrame) -> pl.DataFrame:
    """The attributes of every item of the catalogue, in its order; null where unknown.

    Args:
        path: A CSV or parquet file with the column item and one or more of value, category and
            available_since (an ISO 8601 date or time; UTC if it has no zone); items outside the
            catalogue are ignored. None if the shop has no such file.
        items: The catalogue, with index and item.

    Raises:
        DataError: if the file cannot be read, has none of the columns or none of the items,
            contains an item twice, or contains an invalid value or time.
    """
    catalogue = items.select("index", item=pl.col("item").cast(pl.String))
    known = _known_attributes(path, catalogue) if path else pl.DataFrame(schema={"item": pl.String})
    joined = catalogue.join(known, on="item", how="left").sort("index")
    missing = [pl.lit(None).alias(name) for name in _ATTRIBUTES if name not in joined.columns]
    table = joined.with_columns(missing).select(list(ITEM_ATTRIBUTES.columns))
    return ITEM_ATTRIBUTES.validate(table.cast(dict(ITEM_ATTRIBUTES.schema)))  # pyright: ignore[reportArgumentType]


def coverage(path: Path, items: pl.DataFrame) -> float:
    """Share of the catalogue's items that the file has; raises as :func:`read_item_attributes`."""
    catalogue = items.select(item=pl.col("item").cast(pl.String))
    return _known_attributes(path, catalogue).height / catalogue.height


def _known_attributes(path: Path, catalogue: pl.DataFrame) -> pl.DataFrame:
    """One row per item of the catalogue that the file has, with the file's columns typed."""
    table = _read(path)
    if table.columns == ["item"]:
        msg = f"{path} has none of the columns {', '.join(_ATTRIBUTES)}; {_EXPECTED}"
        raise DataError(msg)
    known = table.filter(pl.col("item").is_in(catalogue["item"].implode()))
    if not known.height:
        raise DataError(_no_match(path, table["item"].drop_nulls(), catalogue["item"]))
    repeated = known.filter(pl.col("item").is_duplicated())["item"].unique().sort()
    if len(repeated):
        msg = f"{path} has {counted(len(repeated), 'item')} more than once, such as {repeated[0]}; keep one row"
        raise DataError(msg)
    if "value" in known.columns:
        known = known.with_columns(value=_numbers(path, known))
    if "available_since" in known.columns:
        known = known.with_columns(available_since=_milliseconds(path, known))
    return known


def _no_match(path: Path, found: pl.Series, wanted: pl.Series) -> str:
    """Why no item of the file is in the catalogue, as far as the ids show it."""
    hint = "is 'item' the column of the ids that the log has?"
    for what, normalised in _SPELLINGS.items():
        texts = [ids.to_frame("id").select(normalised).to_series() for ids in (found, wanted)]
        if matches := texts[0].unique().is_in(texts[1].unique().implode()).sum():
            hint = f"{matches:,} match apart from {what}: write the ids as the log has them"
            break
    example = f"such as {found[0]!r}, " if len(found) else ""
    return (
        f"{path}: 0 of the catalogue's {len(wanted):,} items are in it. It has {counted(len(found), 'item')}, "
        f"{example}and the catalogue has items such as {wanted[0]!r}; {hint}"
    )


def _numbers(path: Path, known: pl.DataFrame) -> pl.Series:
    """The values as numbers."""
    written = known["value"]
    value = written.str.strip_chars().cast(pl.Float64, strict=False)
    wrong = known.filter(value.is_null() & (written.str.strip_chars() != ""))
    if wrong.height:
        msg = (
            f"{path}: {counted(wrong.height, 'item')} with a value that is not a number, such as "
            f"{wrong['item'][0]} ({wrong['value'][0]}); expected a decimal number with a point"
        )
        raise DataError(msg)
    return value


def _milliseconds(path: Path, known: pl.DataFrame) -> pl.Series:
    """The times since which items are available, milliseconds UTC."""
    found: list[int | None] = []
    for item, written in known.select("item", "available_since").iter_rows():
        try:
            moment = None if written is None else datetime.fromisoformat(written)
        except ValueError as error:
            msg = (
                f"{path}: item {item} has available_since = {written!r}, expected an ISO 8601 date "
                "or time such as 2025-09-01, or nothing"
            )
            raise DataError(msg) from error
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found.append(None if moment is None else round(moment.timestamp() * 1000))
    return pl.Series(found, dtype=pl.Int64)


def relative_values(
    path: Path, attributes: pl.DataFrame, train_clicks_I: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The value of every item, divided by the mean value of a click in train.

    Raises:
        DataError: if an item's value is missing, negative or not a number, or the value of all
            clicked items is 0.
    """
    value = attributes["value"]
    bad = attributes.filter(value.is_null() | ~value.is_finite() | (value < 0))
    if bad.height:
        msg = (
            f"{path}: {bad.height} of the catalogue's {attributes.height} items have no valid value, "
            f"such as {bad['item'][0]} ({bad['value'][0]}); expected a number ≥ 0 for every item"
        )
        raise DataError(msg)
    value_I = value.to_numpy()
    mean = np.average(value_I, weights=train_clicks_I)
    if not mean > 0:
        msg = f"{path}: the value of every clicked item is 0; is 'value' the right column?"
        raise DataError(msg)
    return value_I / mean


_EXPECTED = (
    "dataset.item_attributes expects a CSV or parquet file with the column item and one or more of "
    f"{', '.join(_ATTRIBUTES)}"
)


def _read(path: Path) -> pl.DataFrame:
    """The known columns of the file, as strings."""
    table = read_table_file(path, _EXPECTED)
    if "item" not in table.columns:
        found = f"{', '.join(table.columns)}{did_you_mean('item', table.columns)}"
        msg = f"{path} has no column item; found {found}; {_EXPECTED}"
        raise DataError(msg)
    columns = ["item", *(name for name in _ATTRIBUTES if name in table.columns)]
    return table.select(pl.col(columns).cast(pl.String))

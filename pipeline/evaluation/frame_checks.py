"""Checks of the frames that callers evaluate."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.errors import DataError


def typed_columns(
    frame: pl.DataFrame, types: Mapping[str, pl.DataType], *, required: Sequence[str]
) -> pl.DataFrame:
    """Cast the columns of ``types`` that the frame has.

    Raises:
        DataError: if a required column is missing, one of them is null or of another type, or the
            frame is empty.
    """
    if missing := [name for name in required if name not in frame.columns]:
        msg = f"the frame lacks the columns {missing}; it has {frame.columns}"
        raise DataError(msg)
    if frame.is_empty():
        msg = "the frame has no rows; expected one per target, or one per session with its list"
        raise DataError(msg)
    present = [name for name in types if name in frame.columns]
    for name in {*present, *required}:
        if nulls := frame[name].null_count():
            msg = f"column {name!r} is null in {nulls} of {frame.height} rows; drop these or fill them"
            raise DataError(msg)
    for name in present:
        column = frame[name]
        if types[name].is_integer() and column.dtype.is_float() and (column % 1 != 0).any():
            found = column.filter(column % 1 != 0)[0]
            msg = f"column {name!r} holds {found}; expected integers"
            raise DataError(msg)
    try:
        return frame.with_columns(frame[name].cast(types[name]) for name in present)
    except pl.exceptions.PolarsError as error:
        wanted = ", ".join(f"{name}: {types[name]}" for name in present)
        msg = f"the frame's columns are of another type than expected ({wanted}): {error}"
        raise DataError(msg) from error


def check_same_ids(lists: pl.Series, ids: pl.Series) -> None:
    """Raise :class:`DataError` if items of lists and of the catalogue are of different types."""
    inner = getattr(lists.dtype, "inner", None)
    if inner is None or (
        inner != ids.dtype and not (inner.is_integer() and ids.dtype.is_integer())
    ):
        msg = (
            f"column 'items' of the lists is {lists.dtype}, column 'item' of the catalogue is "
            f"{ids.dtype}; expected lists of the same type: cast one of them"
        )
        raise DataError(msg)


def check_unique(keys: pl.Series, words: str) -> None:
    """Raise :class:`DataError` if a key is repeated; ``words`` has ``{}`` for the key."""
    if len(twice := keys.filter(keys.is_duplicated())):
        msg = f"{words.format(repr(twice[0]))}; expected one row for each"
        raise DataError(msg)


def dense_codes(session: pl.Series) -> NDArray[np.int64]:
    """Integer codes of sessions."""
    return session.rank("dense").cast(pl.Int64).to_numpy()

"""The token store: one memory-mapped safetensors file per study.

Layout: for each split, ``<split>.items`` (int32), ``<split>.ordered`` and ``<split>.carted`` (uint8)
and ``<split>.offsets`` (int64), as :class:`models.tokens.SessionTokens` describes them, and
``<split>.ts`` (int64, milliseconds UTC), the time of every click. The format is 8 bytes of header
length (little endian), a JSON header, and the concatenated arrays; any safetensors reader can open
it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tokens import SessionTokens
from pipeline.core.contracts import Split
from pipeline.core.errors import DataError

DTYPES = {"I32": np.int32, "U8": np.uint8, "I64": np.int64}


def open_tokens(path: Path, split: Split) -> SessionTokens:
    """Map one split's tokens into memory; data is read on access.

    Raises:
        DataError: if the file is not a token store, lacks the split, or is inconsistent.
    """
    names = ("items", "ordered", "carted", "offsets")
    items, ordered, carted, offsets = _open(path, split, names)
    valid = len(offsets) and offsets[0] == 0 and offsets[-1] == len(items)
    if not (valid and len(items) == len(ordered) == len(carted)):
        msg = f"{path}: the arrays of split {split} have inconsistent lengths. Materialise 'sessions' again"
        raise DataError(msg)
    return SessionTokens(items=items, ordered=ordered, carted=carted, offsets=offsets)


def open_times(path: Path, split: Split) -> NDArray[np.int64]:
    """Map the times of one split's clicks into memory; raises as :func:`open_tokens` does."""
    (times,) = _open(path, split, ("ts",))
    return times


def _open(path: Path, split: Split, names: tuple[str, ...]) -> list[NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
        return [_map(path, 8 + size, header[f"{split}.{name}"]) for name in names]
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        msg = (
            f"{path} is not a token store with split {split}: {error}. Materialise 'sessions' again"
        )
        raise DataError(msg) from error


def _map(path: Path, base: int, entry: dict[str, Any]) -> NDArray[Any]:
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    if 0 in shape:
        return np.empty(shape, dtype=dtype)
    return np.memmap(
        path, dtype=dtype, mode="r", offset=base + entry["data_offsets"][0], shape=shape
    )

"""Writer of the token store (:mod:`pipeline.sessions.token_store`), in constant memory."""

import json
import shutil
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import Split
from pipeline.sessions.token_store import DTYPES

_ARRAYS = {"offsets": "I64", "ts": "I64", "items": "I32", "ordered": "U8", "carted": "U8"}
"""The widest types first, so that every array is aligned to the size of its elements."""


class TokenWriter:
    """Appends sessions to their splits; the store is written when the block ends without an error."""

    def __init__(self, path: Path) -> None:
        """Arrays are collected in temporary files next to ``path``."""
        self._path = path
        names = [f"{split}.{array}" for array in _ARRAYS for split in Split]
        self._files = {name: path.with_name(f"{path.name}.{name}") for name in names}
        self._streams: dict[str, BinaryIO] = {}
        self._ends = dict.fromkeys(Split, 0)

    def __enter__(self) -> Self:
        self._streams = {name: file.open("wb") for name, file in self._files.items()}
        for split in Split:
            self._put(split, "offsets", np.zeros(1, dtype=np.int64))
        return self

    def __exit__(self, _class: object, error: BaseException | None, _trace: object) -> None:
        for stream in self._streams.values():
            stream.close()
        if error is None:
            self._concatenate()
        for file in self._files.values():
            file.unlink(missing_ok=True)

    def append(self, split: Split, clicks: pl.DataFrame, lengths: NDArray[np.int64]) -> None:
        """Append sessions.

        Args:
            split: The split of all of them.
            clicks: Columns item, ts, ordered and carted, in the order of the sessions.
            lengths: Clicks of each session.
        """
        offsets = self._ends[split] + np.cumsum(lengths)
        self._put(split, "offsets", offsets)
        self._put(split, "items", clicks["item"].to_numpy())
        for name in ("ts", "ordered", "carted"):
            self._put(split, name, clicks[name].to_numpy())
        self._ends[split] += clicks.height

    def _put(self, split: Split, array: str, values: NDArray[np.generic]) -> None:
        dtype = DTYPES[_ARRAYS[array]]
        self._streams[f"{split}.{array}"].write(np.ascontiguousarray(values, dtype=dtype).data)

    def _concatenate(self) -> None:
        header, start = {}, 0
        for name, file in self._files.items():
            dtype = _ARRAYS[name.split(".")[1]]
            size = file.stat().st_size
            shape = [size // np.dtype(DTYPES[dtype]).itemsize]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
            start += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with self._path.open("wb") as store:
            store.write(len(text).to_bytes(8, "little") + text)
            for file in self._files.values():
                with file.open("rb") as stream:
                    shutil.copyfileobj(stream, store)

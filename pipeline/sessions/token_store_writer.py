"""Writes the token store of :mod:`pipeline.sessions.token_store` piece by piece, in constant memory."""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import Split
from pipeline.sessions.token_store import DTYPES

_ARRAYS = {"offsets": "I64", "ts": "I64", "items": "I32", "ordered": "U8", "carted": "U8"}
"""The widest first, so that every array begins at a multiple of its item's size."""


class TokenWriter:
    """Appends sessions to their splits; the store is there when the block ends well."""

    def __init__(self, path: Path) -> None:
        """Arrays grow in files beside ``path`` until they are put together."""
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

    def __exit__(
        self,
        event_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in self._streams.values():
            stream.close()
        if error is None:
            self._put_together()
        for file in self._files.values():
            file.unlink(missing_ok=True)

    def append(self, split: Split, clicks: pl.DataFrame, lengths: NDArray[np.int64]) -> None:
        """Append sessions.

        Args:
            split: Theirs.
            clicks: Columns item, ts, ordered and carted; sessions one after another.
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

    def _put_together(self) -> None:
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

"""A file as blocks of whole lines, which several threads can parse at once.

Compressed files (:data:`pipeline.datasets.io.files.COMPRESSIONS`) are decompressed while they are read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.file_content import BYTE_ORDER_MARK
from pipeline.datasets.io.files import (
    COMPRESSIONS,
    is_compressed,
    name_of_compressed,
    open_stream,
)

BLOCK_BYTES = 8 << 20
_FIRST_BLOCK_BYTES = 256 << 10
"""Small, so that a file of another format is detected before much of it is read."""

_MAX_LINE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of a file.

    Attributes:
        source: Name of the file.
        first_line: Number of the first line, from 1.
        data: The lines; each ends in a newline, which is appended to the file's last line if missing.
    """

    source: str
    first_line: int
    data: bytes

    def without_first_line(self) -> "Block":
        """The block without its header line."""
        start = self.data.index(b"\n") + 1
        return Block(self.source, self.first_line + 1, self.data[start:])


def count_lines(data: bytes) -> int:
    """Newlines in ``data``; several times faster than ``bytes.count`` if there are many."""
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")))


def line_ends(data: bytes) -> NDArray[np.int64]:
    """Offset after the newline of each line in ``data``."""
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1


def input_files(path: Path, *suffixes: str) -> list[Path]:
    """``path`` itself, or the files of a folder with one of the suffixes, sorted by name.

    A suffix such as ``.csv`` also matches ``.CSV``, ``.csv.gz`` and the other compressions.

    Raises:
        DataError: if a folder has no such file.
    """
    if not path.is_dir():
        return [path]
    endings = tuple(
        suffix + compression for suffix in suffixes for compression in ("", *COMPRESSIONS)
    )
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(endings))
    if not files:
        found = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))
        hint = name_of_compressed(Path(found[0])) if found else ""
        has = (
            f"only {', '.join(found[:3])}{', …' if len(found) > 3 else ''}"
            if found
            else "the folder is empty"
        )
        msg = (
            f"{path} has no file that ends in {', '.join(suffixes)} (compressed: also "
            f"{', '.join(COMPRESSIONS)}), {has}{hint}; check dataset.path"
        )
        raise DataError(msg)
    return files


def find_files(path: Path, *names: str) -> list[Path]:
    """``path`` itself, or the files of a folder with these names, compressed or not, in this order.

    Raises:
        DataError: if a folder lacks the first one, which is required.
    """
    if not path.is_dir():
        return [path]
    present = sorted(path.iterdir())
    found = [
        file
        for name in names
        for file in present
        if (file.with_suffix("") if is_compressed(file) else file).name.lower() == name
    ]
    if not found or not found[0].name.lower().startswith(names[0]):
        msg = f"{path} has no {names[0]} (nor {', '.join(COMPRESSIONS)}); check dataset.path"
        raise DataError(msg)
    return found


def read_blocks(file: Path, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The blocks of a file; none if it is empty.

    Raises:
        DataError: if the file cannot be read or decompressed to its end.
    """
    try:
        yield from _read_blocks(file, block_bytes)
    except OSError as error:  # Arrow also raises it for damaged archives, without a number
        msg = (
            f"cannot read {file} to its end: {os.strerror(error.errno) if error.errno else error}. "
            "Restore the file, or correct dataset.path"
        )
        raise DataError(msg) from error


def _read_blocks(file: Path, block_bytes: int) -> Iterator[Block]:
    line, rest = 1, b""
    with open_stream(file) as stream:
        first = stream.read(max(min(_FIRST_BLOCK_BYTES, block_bytes), len(BYTE_ORDER_MARK)))
        others = iter(partial(stream.read, block_bytes), b"")
        for chunk in chain([first.removeprefix(BYTE_ORDER_MARK)], others):
            cut = chunk.rfind(b"\n") + 1
            if len(rest) + len(chunk) > _MAX_LINE_BYTES + block_bytes and not cut:
                msg = (
                    f"{file}: line {line} is longer than {_MAX_LINE_BYTES >> 20} MiB; is this a text "
                    "file with one event or session per line?"
                )
                raise DataError(msg)
            if cut:
                data = b"".join((rest, memoryview(chunk)[:cut]))
                yield Block(file.name, line, data)
                line += count_lines(data)
                rest = chunk[cut:]
            else:
                rest += chunk
    if rest:
        yield Block(file.name, line, rest + b"\n")

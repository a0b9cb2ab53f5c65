"""Whether a file has changed, without reading it."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

FileState = tuple[str, int, int, int] | None

_LARGE = 64 << 20
"""Bytes from which a file cannot be written twice within a tick of the file system's clock."""


def file_state(file: Path) -> FileState:
    """Identifies the content of a file; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns


def kept_while_unchanged(file: Path, read: Callable[[Path], str]) -> str:
    """What ``read`` finds in a file; of a large one it is kept until the file changes.

    A run needs the md5 of the raw data and of the tokens several times.
    """
    state = file_state(file)
    if state is None or state[2] < _LARGE:
        return read(file)
    return _kept(file, read, state)


@lru_cache(maxsize=256)
def _kept(file: Path, read: Callable[[Path], str], _: FileState) -> str:
    return read(file)

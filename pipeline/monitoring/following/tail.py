"""New lines of log files that grow, are renamed, compressed, or cut by a crash.

A file is known by its folder and its name up to the first dot, which a server never gives to two files:
several servers of one log write to a folder each, at any depth. Renaming ``x.jsonl.open`` to ``x.jsonl``,
or compressing that to ``x.jsonl.gz``, changes nothing. Where the inode has changed, or a file is
compressed, byte offsets mean nothing, and as many rows are skipped as were read: the endpoint's recovery after a crash removes incomplete lines only.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from pipeline.artifacts.storage import storage_errors
from pipeline.experiment.log.log_files import LogTable

_SUFFIXES = (".jsonl.open", ".jsonl", ".jsonl.gz")
"""In the order in which a file has them."""

_COMPRESSED = _SUFFIXES[-1]
_BATCH_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file has been read.

    Attributes:
        inode: Of the file when it was last read.
        offset: Bytes that were read, decompressed.
        rows: Rows that were read: lines with a JSON object.
        compressed: Bytes of a compressed file that was read to its end; else 0.
    """

    inode: int = 0
    offset: int = 0
    rows: int = 0
    compressed: int = 0


class Unread(NamedTuple):
    """A file with unread bytes; ``limit`` is its size at the moment of the look, None if compressed."""

    name: str
    limit: int | None
    modified: float


class Batch(NamedTuple):
    """New rows of a file, the number of lines that are no JSON objects, the cursor after them, and why no more follow.

    ``damage`` is of a compressed file: what comes after these rows cannot be read.
    """

    rows: list[dict[str, Any]]
    broken: int
    cursor: Cursor
    damage: str = ""


def unread_files(
    folder: Path, table: LogTable, cursors: Mapping[str, Cursor]
) -> tuple[list[Unread], float]:
    """The files of a table with unread bytes, oldest first, and when any file was last written.

    Names are paths in the folder, without suffix.

    The time is in seconds since 1970, 0.0 without files.
    """
    found = _states(folder, table)
    if known := [name for name in cursors if _is_of(name, table) and name not in found]:
        # a rename during the listing can hide a file; one that is gone stays away the second time
        found |= {name: state for name, state in _states(folder, table).items() if name in known}
    files: list[Unread] = []
    for name, (suffix, state) in sorted(found.items(), key=lambda one: (Path(one[0]).name, one[0])):
        cursor, is_compressed = cursors.get(name, Cursor()), suffix == _COMPRESSED
        read = cursor.compressed if is_compressed else cursor.offset
        if (state.st_ino, state.st_size) != (cursor.inode, read):
            files.append(Unread(name, None if is_compressed else state.st_size, state.st_mtime))
    return files, max((state.st_mtime for _, state in found.values()), default=0.0)


def new_batches(folder: Path, file: Unread, cursor: Cursor) -> Iterator[Batch]:
    """The complete lines that were not read, up to the file's limit; nothing if it is gone.

    A damaged file is read as far as it goes, and from there on once it has another size or inode.
    """
    if (opened := _opened(folder, file.name)) is None:
        return
    stream, state, is_compressed = opened
    with stream:
        is_same = (
            not is_compressed and state.st_ino == cursor.inode and state.st_size >= cursor.offset
        )
        skipped = 0 if is_same else cursor.rows
        offset, rows = (cursor.offset, cursor.rows) if is_same else (0, 0)
        stream.seek(offset)
        batch, broken, lines = list[dict[str, Any]](), 0, _Lines(stream)
        for line in lines:
            if not line.endswith(b"\n") or (
                file.limit is not None and offset + len(line) > file.limit
            ):
                break
            offset += len(line)
            row = _object(line)
            rows += row is not None
            if row is None:
                broken += rows >= skipped
            elif rows > skipped:
                batch.append(row)
            if len(batch) == _BATCH_ROWS:
                yield Batch(batch, broken, Cursor(state.st_ino, offset, rows))
                batch, broken = [], 0
        end = Cursor(state.st_ino, offset, rows, state.st_size if is_compressed else 0)
        yield Batch(batch, broken, end, lines.damage)


class _Lines:
    """The lines of a file up to its damage, if it is a compressed one that has any."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = str(error)


def _states(folder: Path, table: LogTable) -> dict[str, tuple[str, os.stat_result]]:
    """Suffix and state of the files of a table, by name; of two with one name, the earlier suffix."""
    found: dict[str, tuple[str, os.stat_result]] = {}
    with storage_errors(folder):
        for path in _walk(folder):
            name, dot, rest = path.name.partition(".")
            suffix = dot + rest
            if not _is_of(name, table) or suffix not in _SUFFIXES:
                continue
            known = (path.parent.relative_to(folder) / name).as_posix()
            with suppress(FileNotFoundError):
                state = path.lstat()
                other = found.get(known)
                is_earlier = other is None or _SUFFIXES.index(suffix) < _SUFFIXES.index(other[0])
                if stat.S_ISREG(state.st_mode) and is_earlier:
                    found[known] = suffix, state
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders; none of a folder that has gone.

    Raises:
        OSError: if a folder cannot be read.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def _is_of(name: str, table: LogTable) -> bool:
    return Path(name).name.startswith(f"{table}-")


def _opened(folder: Path, name: str) -> tuple[BinaryIO, os.stat_result, bool] | None:
    """The file under the first of its names that exists; it may be renamed at any moment."""
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            path, is_compressed = folder / f"{name}{suffix}", suffix == _COMPRESSED
            stream = cast("BinaryIO", gzip.GzipFile(path)) if is_compressed else path.open("rb")
            return stream, os.fstat(stream.fileno()), is_compressed
    return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None

"""The log's files: appended to under one name, closed under another, mended after a crash.

A file that is being written ends in ``.jsonl.open``; it gets its name, ``.jsonl``, when no more will
come. docs/serving.md says what stands in it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LogTable
from pipeline.study import Durability, ServingConfig

CLOSED = ".jsonl"
OPEN = ".jsonl.open"
_MENDED = ".jsonl.mended"
_LOCK = ".lock"


WRITTEN = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS, LogTable.CONFIRMATIONS)
"""The tables that the endpoint writes."""


def folder_of(table: LogTable, log: Path) -> Path:
    """The folder of a table's files; confirmations are kept apart, since they are not ingested."""
    return log / "confirmations" if table is LogTable.CONFIRMATIONS else log


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a file is closed: at this age or this size, whichever comes first."""

    seconds: float
    size: int
    durability: Durability

    @classmethod
    def of(cls, section: ServingConfig) -> "Rotation":
        """The rotation of a study."""
        return cls(
            seconds=60 * section.rotate_minutes,
            size=round(section.rotate_megabytes * 1e6),
            durability=section.durability,
        )


class LogFile:
    """The file rows of one table are appended to; another one after each rotation."""

    def __init__(self, log: Path, table: LogTable, rotation: Rotation) -> None:
        self._folder = folder_of(table, log)
        self._table = table
        self._rotation = rotation
        self._path: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._opened = 0.0

    def append(self, rows: bytes) -> None:
        """Append whole rows; if that fails, none of them is in the file.

        When it returns, the rows are as durable as the rotation says.

        Raises:
            OSError: if the disk is full or broken.
        """
        if self._path is None:
            self._begin()
        try:
            _write_all(self._descriptor, rows)
            if self._rotation.durability is Durability.FSYNC:
                os.fsync(self._descriptor)
        except OSError:
            self._abandon()
            raise
        self._size += len(rows)

    def rotate_if_due(self) -> None:
        """Close the file if it is old or large enough."""
        if self._path is None:
            return
        old = time.monotonic() - self._opened >= self._rotation.seconds
        if old or self._size >= self._rotation.size:
            self.close()

    def close(self) -> None:
        """Give the file its name; without a row, remove it."""
        if self._path is None:
            return
        path, self._path = self._path, None
        os.close(self._descriptor)
        _give_name(path)

    def _abandon(self) -> None:
        """Cut what was not written whole; what a failed fsync has left on the disk is not known.

        If that fails, too, the file keeps its name, and is mended at the next start.
        """
        path, self._path = self._path, None
        assert path is not None
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return
        finally:
            os.close(self._descriptor)
        _give_name(path)

    def _begin(self) -> None:
        path = self._folder / f"{_next_name(self._folder, self._table)}{OPEN}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, flags, 0o640)
        self._path, self._size, self._opened = path, 0, time.monotonic()
        sync_folder(self._folder)


def lock_folder(log: Path) -> int:
    """Make the log's folders and keep other servers out; the lock goes with the process.

    Raises:
        LogError: if another server is writing there, or the folder cannot be written.
    """
    try:
        for table in WRITTEN:
            folder_of(table, log).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log / _LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        msg = f"cannot write into {log}: {error.strerror}; serving.log_path names the log's folder"
        raise LogError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        msg = f"another server writes its log into {log}; give this one another serving.log_path"
        raise LogError(msg) from error
    return descriptor


def recover_files(log: Path) -> int:
    """Close the files a crash has left open; returns how many damaged lines were cut.

    What a line must be to stay is a whole JSON object; a crash tears the last line of a file at most,
    a loss of power may damage more. Interrupted, it is done again.
    """
    cut = 0
    for table in WRITTEN:
        folder = folder_of(table, log)
        for unfinished in folder.glob(f"*{_MENDED}"):
            unfinished.unlink()
        for path in sorted(folder.glob(f"*{OPEN}")):
            cut += _mend(path)
            _give_name(path)
    return cut


def read_rows(log: Path, table: LogTable, *, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """The rows of a table's closed files that were changed at or after ``since`` (seconds)."""
    for path in sorted(folder_of(table, log).glob(f"{table}-*{CLOSED}")):
        if path.stat().st_mtime >= since:
            with path.open("rb") as stream:
                yield from map(orjson.loads, stream)


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mend(path: Path) -> int:
    with path.open("rb") as stream:
        lines = list(stream)
    whole = [line for line in lines if _is_row(line)]
    if len(whole) < len(lines):
        mended = path.with_name(path.name.removesuffix(OPEN) + _MENDED)
        with mended.open("wb") as stream:
            stream.writelines(whole)
            stream.flush()
            os.fsync(stream.fileno())
        mended.replace(path)
    return len(lines) - len(whole)


def _is_row(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _give_name(path: Path) -> None:
    if path.stat().st_size:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.rename(path.with_name(path.name.removesuffix(OPEN) + CLOSED))
    else:
        path.unlink()
    sync_folder(path.parent)


def _next_name(folder: Path, table: LogTable) -> str:
    """A name that sorts after all there are, so that ingestion adds the file to what it has."""
    taken = [path.name.split(".")[0] for path in folder.glob(f"{table}-*")]
    now = f"{table}-{datetime.now(UTC):%Y%m%dT%H%M%S-%f}"
    last = max(taken, default="")
    return now if now > last else f"{last}x"


def _write_all(descriptor: int, rows: bytes) -> None:
    left = memoryview(rows)
    while left:
        left = left[os.write(descriptor, left) :]

"""Files of the event log: append, rotation and crash recovery.

A file ends in ``.jsonl.open`` while it is written and in ``.jsonl`` once it is closed.
docs/serving.md describes the columns.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LogTable
from pipeline.study import Durability, ServingConfig

CLOSED = ".jsonl"
OPEN = ".jsonl.open"
_RECOVERED = ".jsonl.recovered"
_LOCK = ".lock"


WRITTEN = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS, LogTable.CONFIRMATIONS)
"""The tables that the endpoint writes."""


def folder_of(table: LogTable, log: Path) -> Path:
    """The folder of a table's files; confirmations are kept apart, since they are not ingested."""
    return log / "confirmations" if table is LogTable.CONFIRMATIONS else log


class LogFile:
    """The open file of one table; a new one after each rotation."""

    def __init__(self, log: Path, table: LogTable, config: ServingConfig) -> None:
        self._folder = folder_of(table, log)
        self._table = table
        self._durability = config.durability
        self._max_seconds = 60 * config.rotate_minutes
        self._max_bytes = config.rotate_megabytes * 1e6
        self._path: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._opened = 0.0

    def append(self, rows: bytes) -> None:
        """Append complete rows, all or none, with the durability of the configuration.

        Raises:
            OSError: if they cannot be written.
        """
        if self._path is None:
            self._open()
        try:
            _write_all(self._descriptor, rows)
            if self._durability is Durability.FSYNC:
                os.fsync(self._descriptor)
        except OSError:
            self._discard_partial()
            raise
        self._size += len(rows)

    def rotate_if_due(self) -> None:
        """Close the file if it has reached its maximum age or size."""
        if self._path is None:
            return
        is_old = time.monotonic() - self._opened >= self._max_seconds
        if is_old or self._size >= self._max_bytes:
            self.close()

    def close(self) -> None:
        """Close and rename the file, or delete it if it is empty."""
        if self._path is None:
            return
        path, self._path = self._path, None
        os.close(self._descriptor)
        _publish(path)

    def _discard_partial(self) -> None:
        """Truncate the rows of a failed write and close the file.

        If truncation fails, too, the file stays open and is recovered at the next start.
        """
        path, self._path = self._path, None
        assert path is not None
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return
        finally:
            os.close(self._descriptor)
        _publish(path)

    def _open(self) -> None:
        path = self._folder / f"{_next_name(self._folder, self._table)}{OPEN}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, flags, 0o640)
        self._path, self._size, self._opened = path, 0, time.monotonic()
        _sync(self._folder)


def lock_folder(log: Path) -> int:
    """Create the log's folders and lock them against other servers until the process ends.

    Raises:
        LogError: if another server holds the lock, or the folder is not writable.
    """
    try:
        for table in WRITTEN:
            folder_of(table, log).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log / _LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        msg = f"cannot write to {log}: {error.strerror}; set serving.log_path to a writable folder"
        raise LogError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        msg = f"another server writes its log to {log}; set another serving.log_path"
        raise LogError(msg) from error
    return descriptor


def recover_files(log: Path) -> int:
    """Close the files that a crash has left open; returns the number of removed lines.

    Only complete JSON objects are kept. A crash damages at most the last line of a file, a power
    loss possibly more. Recovery can be interrupted and repeated.
    """
    removed = 0
    for table in WRITTEN:
        folder = folder_of(table, log)
        for unfinished in folder.glob(f"*{_RECOVERED}"):
            unfinished.unlink()
        for path in sorted(folder.glob(f"*{OPEN}")):
            removed += _recover(path)
            _publish(path)
    return removed


def read_rows(log: Path, table: LogTable, *, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """The rows of a table's closed files that were modified at or after ``since`` (seconds)."""
    for path in sorted(folder_of(table, log).glob(f"{table}-*{CLOSED}")):
        if path.stat().st_mtime >= since:
            with path.open("rb") as stream:
                yield from map(orjson.loads, stream)


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _recover(path: Path) -> int:
    with path.open("rb") as stream:
        lines = list(stream)
    complete = [line for line in lines if _is_row(line)]
    if len(complete) < len(lines):
        recovered = path.with_name(path.name.removesuffix(OPEN) + _RECOVERED)
        recovered.write_bytes(b"".join(complete))
        _sync(recovered)
        recovered.replace(path)
    return len(lines) - len(complete)


def _is_row(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _publish(path: Path) -> None:
    if path.stat().st_size:
        _sync(path)
        path.rename(path.with_name(path.name.removesuffix(OPEN) + CLOSED))
    else:
        path.unlink()
    _sync(path.parent)


def _next_name(folder: Path, table: LogTable) -> str:
    """A name that sorts after all existing files, even if the clock goes back."""
    existing = [path.name.split(".")[0] for path in folder.glob(f"{table}-*")]
    now = f"{table}-{datetime.now(UTC):%Y%m%dT%H%M%S-%f}"
    last = max(existing, default="")
    return now if now > last else f"{last}x"


def _write_all(descriptor: int, rows: bytes) -> None:
    remaining = memoryview(rows)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]

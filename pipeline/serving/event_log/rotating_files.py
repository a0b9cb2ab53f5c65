"""Files of the event log: append and rotation; one server per folder.

A file ends in ``.jsonl.open`` while it is written and in ``.jsonl`` once it is closed.
docs/serving.md describes the columns.
"""

import errno
import fcntl
import logging
import os
import re
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.artifacts.durable import sync, write_all
from pipeline.artifacts.lock import LOCK
from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LogTable
from pipeline.study import Durability, ServingConfig

_LOG = logging.getLogger(__name__)

CLOSED = ".jsonl"
OPEN = ".jsonl.open"
_PROBE = ".probe"
_PROBE_BYTES = 4096
_TIME = "%Y%m%dT%H%M%S-%f"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

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
        if self._path is not None and os.fstat(self._descriptor).st_nlink == 0:
            _LOG.warning("%s was deleted; its rows are lost", self._path.name)
            os.close(self._descriptor)
            self._path = None
        if self._path is None:
            self._open()
        try:
            write_all(self._descriptor, rows)
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
        publish(path)

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
        publish(path)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{_next_name(self._folder, self._table)}{OPEN}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, flags, 0o640)
        self._path, self._size, self._opened = path, 0, time.monotonic()
        sync(self._folder)


def lock_folder(log: Path) -> int:
    """Create the log's folders and lock them against other servers until the process ends.

    The lock file names the process that holds it.

    Raises:
        LogError: if another server holds the lock, or the folder is not writable. A full disk is no
            error, because it can be freed while the server runs.
    """
    try:
        for table in WRITTEN:
            folder_of(table, log).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log / LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise not_writable(log, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 256).decode("utf-8", "replace").strip() or "unknown process"
        os.close(descriptor)
        msg = (
            f"another server writes its log to {log} ({holder}); stop it, or give each server a folder of its "
            "own in the log: paretoscope serve --replica NAME"
        )
        raise LogError(msg) from error
    try:
        check_writable(log)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError as error:
        if error.errno not in _NO_SPACE:
            os.close(descriptor)
            raise not_writable(log, error) from error
    return descriptor


def not_writable(log: Path, error: OSError) -> LogError:
    """The error of a folder that cannot be written, with what to set."""
    msg = f"cannot write to {log}: {error.strerror}; set serving.log_path to a writable folder"
    return LogError(msg)


def check_writable(log: Path) -> None:
    """Write and delete a file in the log's folders.

    Raises:
        OSError: if it cannot be written.
    """
    for folder in {folder_of(table, log) for table in WRITTEN}:
        probe = folder / _PROBE
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
            sync(probe)
        finally:
            with suppress(OSError):
                probe.unlink()


def publish(path: Path) -> None:
    """Give a complete file its final name, or delete it if it is empty."""
    if path.stat().st_size:
        sync(path)
        path.rename(path.with_name(path.name.removesuffix(OPEN) + CLOSED))
    else:
        path.unlink()
    sync(path.parent)


def log_name(path: Path, table: LogTable) -> str:
    """The part of a file's name before its suffix; empty if the server did not write the file."""
    name = path.name.partition(".")[0]
    return name if re.fullmatch(rf"{table}-\d{{8}}T\d{{6}}-\d{{6}}", name) else ""


def _next_name(folder: Path, table: LogTable) -> str:
    """A name of fixed length that sorts after all existing files, even if the clock goes back."""
    last = max((log_name(path, table) for path in folder.glob(f"{table}-*")), default="")
    moment = datetime.now(UTC)
    with suppress(ValueError, OverflowError):  # no such date, or the end of the calendar
        after = datetime.strptime(last, f"{table}-{_TIME}").replace(tzinfo=UTC)
        moment = max(moment, after + timedelta(microseconds=1))
    return f"{table}-{moment:{_TIME}}"

"""Group commit: one thread writes the log, and one fsync serves all rows that are waiting.

A row is acknowledged when it is durable.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.kafka_sink import KafkaSink, LogRow
from pipeline.serving.event_log.recovery import SkippedLines, recover_files
from pipeline.serving.event_log.rotating_files import (
    WRITTEN,
    LogFile,
    check_writable,
    lock_folder,
)
from pipeline.study import ServingConfig

_LOG = logging.getLogger(__name__)
_ROTATION_CHECK_SECONDS = 1.0
"""Interval of rotation checks while no rows arrive."""


class _Pending(NamedTuple):
    row: LogRow
    done: asyncio.Future[None]


class EventLogWriter:
    """The writer of one server's event log."""

    def __init__(
        self,
        folder: Path,
        config: ServingConfig,
        *,
        sink: KafkaSink | None = None,
        observe: Callable[[int, float], None] = lambda _rows, _seconds: None,
    ) -> None:
        """Lock the folder and recover the files that a crash has left open.

        Args:
            folder: The log's folder.
            config: Durability and rotation.
            sink: Receives every row that has been written.
            observe: Receives the rows and seconds of each commit.

        Raises:
            LogError: if another server writes to the folder, or it is not writable.
        """
        self._folder = folder
        self._lock = lock_folder(folder)
        self.removed = _recovered(folder)
        """Incomplete lines after a crash, by file."""
        self._files = {table: LogFile(folder, table, config) for table in WRITTEN}
        self._sink = sink
        self._observe = observe
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self.failure: str | None = None
        """Why the last commit failed; None if it succeeded."""

    def start(self) -> None:
        """Start the writer thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the writer thread is running."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write all waiting rows, close the files and release the folder."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                _LOG.exception("cannot close a file of the event log; the next start recovers it")
        if self._sink is not None:
            self._sink.close()
        os.close(self._lock)

    def append(self, row: LogRow) -> asyncio.Future[None]:
        """A future that is done when the row is durable; OSError if it cannot be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(row, done))
        return done

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._collect()
            if batch:
                self._commit(batch)
            elif self.failure is not None:
                self._try_again()
            for file in self._files.values():
                try:
                    file.rotate_if_due()
                except OSError:
                    _LOG.exception("cannot close a file of the event log")

    def _try_again(self) -> None:
        """Check the folder, since a server that is failing may get no requests."""
        try:
            check_writable(self._folder)
        except OSError as error:
            self._set_failure(error.strerror)
        else:
            self._set_failure(None)

    def _set_failure(self, failure: str | None) -> None:
        was_failing, self.failure = self.failure, failure
        if was_failing and not failure:
            _LOG.warning("the event log can be written again")

    def _collect(self) -> tuple[list[_Pending], bool]:
        """Wait for a row and take all that are waiting; False after the last."""
        batch: list[_Pending] = []
        try:
            while True:
                one = self._queue.get(block=not batch, timeout=_ROTATION_CHECK_SECONDS)
                if one is None:
                    return batch, False
                batch.append(one)
        except queue.Empty:
            return batch, True

    def _commit(self, batch: list[_Pending]) -> None:
        started = time.perf_counter()
        rows: dict[LogTable, list[bytes]] = {}
        for row, _ in batch:
            rows.setdefault(row.table, []).append(row.content)
        failed: dict[LogTable, OSError] = {}
        for table, contents in rows.items():
            try:
                self._files[table].append(b"".join(contents))
            except OSError as error:
                _LOG.exception("cannot write %s to the event log", table)
                failed[table] = error
        self._set_failure(next((error.strerror for error in failed.values()), None))
        self._observe(len(batch), time.perf_counter() - started)
        results = [(done, failed.get(row.table)) for row, done in batch]
        loop = batch[0].done.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, results)
        if self._sink is not None:
            for row, _ in batch:
                if row.table not in failed:
                    self._sink.send(row)


def _recovered(folder: Path) -> SkippedLines:
    try:
        return recover_files(folder)
    except OSError as error:
        msg = f"cannot recover the event log in {folder}: {error.strerror} ({error.filename})"
        raise LogError(msg) from error


def _resolve(results: list[tuple[asyncio.Future[None], OSError | None]]) -> None:
    for done, error in results:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

"""What is answered and what happens, on disk before it is acknowledged.

One thread writes. Rows that come while it waits for the disk are written together (group commit), so
that one fsync serves many requests.
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

from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.kafka_sink import Row, Sink
from pipeline.serving.event_log.rotating_files import (
    WRITTEN,
    LogFile,
    Rotation,
    lock_folder,
    recover_files,
)

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
"""How often files are looked at for their age while nothing comes."""


class _Pending(NamedTuple):
    row: Row
    done: asyncio.Future[None]


class Journal:
    """The log of one server."""

    def __init__(
        self,
        folder: Path,
        rotation: Rotation,
        *,
        sink: Sink | None = None,
        observe: Callable[[int, float], None] = lambda _rows, _seconds: None,
    ) -> None:
        """Take the folder, and close what a crash has left open in it.

        ``sink`` is sent every row that is in its file. ``observe`` is told the rows of every commit
        and the seconds it took.

        Raises:
            LogError: if another server writes there.
        """
        self._lock = lock_folder(folder)
        self.cut_lines = recover_files(folder)
        if self.cut_lines:
            _LOG.warning("%d lines that a crash had torn were cut from the log", self.cut_lines)
        self._files = {table: LogFile(folder, table, rotation) for table in WRITTEN}
        self._sink = sink
        self._observe = observe
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.is_failing = False
        """Whether the last commit failed."""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether rows are written."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what is waiting, give all files their names, and let others into the folder."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        for file in self._files.values():
            file.close()
        if self._sink is not None:
            self._sink.close()
        os.close(self._lock)

    def append(self, row: Row) -> asyncio.Future[None]:
        """Done when the row is durable; raises OSError if it cannot be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(row, done))
        return done

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._collect()
            if batch:
                self._commit(batch)
            for file in self._files.values():
                try:
                    file.rotate_if_due()
                except OSError:
                    _LOG.exception("a file of the log cannot be closed")

    def _collect(self) -> tuple[list[_Pending], bool]:
        """Wait for rows, and take all there are; False at the end."""
        batch: list[_Pending] = []
        try:
            while True:
                one = self._queue.get(block=not batch, timeout=_LOOK_SECONDS)
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
                _LOG.exception("the log of %s cannot be written", table)
                failed[table] = error
        self.is_failing = bool(failed)
        self._observe(len(batch), time.perf_counter() - started)
        ended = [(done, failed.get(row.table)) for row, done in batch]
        loop = batch[0].done.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_end, ended)
        if self._sink is not None:
            for row, _ in batch:
                if row.table not in failed:
                    self._sink.send(row)


def _end(ended: list[tuple[asyncio.Future[None], OSError | None]]) -> None:
    for done, error in ended:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

"""Deduplication of events that a client sends again because it got no response."""

import asyncio
import time
from hashlib import blake2b
from pathlib import Path

from pipeline.core.contracts import HOUR_MS
from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.recovery import SkippedLines, read_rows

_DIGEST_BYTES = 16
_KEYS = {"impression": str, "event": str, "received": int}
"""The columns that are read from the log, and their types."""


class EventDeduplicator:
    """The events of the last hours, by event type, impression id and event id.

    An event that is still being written is pending: its duplicates wait for the same write.
    """

    def __init__(self, hours: float) -> None:
        self._window_ms = round(hours * HOUR_MS)
        self._received: dict[bytes, int] = {}
        self._pending: dict[bytes, asyncio.Future[None]] = {}

    def load(self, log: Path, now_ms: int) -> SkippedLines:
        """Add the events of the log's closed files that are within the window.

        Events of the future, after the clock was set back, count as received now: events expire in
        the order of their times.

        Returns the lines and files that cannot be read, such as those of other programs.
        """
        earliest = now_ms - self._window_ms
        skipped: SkippedLines = {}
        found = [
            (min(received, now_ms), _digest(table, row["impression"], row["event"]))
            for table in (LogTable.CLICKS, LogTable.ORDERS, LogTable.CONFIRMATIONS)
            for row in read_rows(log, table, _KEYS, since=earliest / 1000, skipped=skipped)
            if (received := row["received"]) >= earliest
        ]
        self._received |= {digest: received for received, digest in sorted(found)}
        return skipped

    def is_known(self, table: LogTable, impression: str, event: str) -> bool:
        """Whether the event is in the log."""
        return _digest(table, impression, event) in self._received

    def pending(self, table: LogTable, impression: str, event: str) -> asyncio.Future[None] | None:
        """The unfinished write of the same event, if there is one."""
        return self._pending.get(_digest(table, impression, event))

    def register(
        self, table: LogTable, impression: str, event: str, write: asyncio.Future[None]
    ) -> None:
        """Add a new event; it becomes known when ``write`` succeeds."""
        digest = _digest(table, impression, event)
        self._pending[digest] = write

        def finish(done: asyncio.Future[None]) -> None:
            del self._pending[digest]
            if not done.cancelled() and done.exception() is None:
                now = time.time_ns() // 1_000_000
                self._received[digest] = now
                self._expire(now - self._window_ms)

        write.add_done_callback(finish)

    def _expire(self, earliest: int) -> None:
        while self._received:
            digest = next(iter(self._received))
            if self._received[digest] >= earliest:
                return
            del self._received[digest]


def _digest(table: LogTable, impression: str, event: str) -> bytes:
    text = f"{table}\0{impression}\0{event}"
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()

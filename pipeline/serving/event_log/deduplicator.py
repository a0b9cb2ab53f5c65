"""Events that come twice: a client that got no answer sends them again."""

import asyncio
import time
from hashlib import blake2b
from pathlib import Path

from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.rotating_files import read_rows

_DIGEST = 16


class EventDeduplicator:
    """The events of the last hours, by impression and event id.

    An event that is being written is not known yet, but a second one like it waits for the first.
    """

    def __init__(self, hours: float) -> None:
        self._ms = round(hours * 3_600_000)
        self._known: dict[bytes, int] = {}
        self._under_way: dict[bytes, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        """Events that are known."""
        return len(self._known)

    def read(self, log: Path, now_ms: int) -> None:
        """Know the events of the log's closed files, as far back as is remembered."""
        found: list[tuple[int, bytes]] = []
        earliest = now_ms - self._ms
        for table in (LogTable.CLICKS, LogTable.ORDERS, LogTable.CONFIRMATIONS):
            rows = read_rows(log, table, since=earliest / 1000)
            found.extend(
                (row["received"], _digest(row["impression"], row["event"]))
                for row in rows
                if row["received"] >= earliest
            )
        for received, digest in sorted(found):
            self._known[digest] = received

    def is_known(self, impression: str, event: str) -> bool:
        """Whether the event is in the log."""
        return _digest(impression, event) in self._known

    def under_way(self, impression: str, event: str) -> asyncio.Future[None] | None:
        """The writing of the same event, if it is not at its end."""
        return self._under_way.get(_digest(impression, event))

    def begin(self, impression: str, event: str, written: asyncio.Future[None]) -> None:
        """The event, which is neither known nor under way, is being written."""
        digest = _digest(impression, event)
        self._under_way[digest] = written

        def end(done: asyncio.Future[None]) -> None:
            del self._under_way[digest]
            if not done.cancelled() and done.exception() is None:
                now = time.time_ns() // 1_000_000
                self._known[digest] = now
                self._forget(now - self._ms)

        written.add_done_callback(end)

    def _forget(self, earliest: int) -> None:
        while self._known:
            digest = next(iter(self._known))
            if self._known[digest] >= earliest:
                return
            del self._known[digest]


def _digest(impression: str, event: str) -> bytes:
    return blake2b(f"{impression}\0{event}".encode(), digest_size=_DIGEST).digest()

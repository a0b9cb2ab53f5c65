"""Requests that come within moments of each other are answered together, by one thread."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from pipeline.serving.ranking.rank import RankRequest, rank
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.snapshot import Snapshot

_LOG = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    snapshot: Snapshot
    ask: RankRequest
    answer: asyncio.Future[Candidates]


class MicroBatcher:
    """One thread that ranks; requests of several snapshots never share a batch."""

    def __init__(
        self, *, size: int, wait_seconds: float, observe: Callable[[int, float], None]
    ) -> None:
        """``observe`` is told the size of every batch and the seconds it took."""
        self._size = size
        self._wait_seconds = wait_seconds
        self._observe = observe
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ranking", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Answer what is waiting, and end."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, snapshot: Snapshot, ask: RankRequest) -> asyncio.Future[Candidates]:
        """The list for one request, of this snapshot's model; cancel it if it is late."""
        answer: asyncio.Future[Candidates] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(snapshot, ask, answer))
        return answer

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._collect()
            wanted = [one for one in batch if not one.answer.cancelled()]
            for _, same in groupby(wanted, key=lambda one: id(one.snapshot)):
                self._answer(list(same))

    def _collect(self) -> tuple[list[_Waiting], bool]:
        """Wait for a request, then a moment for others; False at the end."""
        batch: list[_Waiting] = []
        deadline: float | None = None
        while len(batch) < self._size:
            try:
                left = None if deadline is None else deadline - time.monotonic()
                one = self._queue.get(block=left is None or left > 0, timeout=left)
            except queue.Empty:
                break
            if one is None:
                return batch, False
            batch.append(one)
            deadline = deadline or time.monotonic() + self._wait_seconds
        return batch, True

    def _answer(self, batch: list[_Waiting]) -> None:
        started = time.perf_counter()
        loop = batch[0].answer.get_loop()
        try:
            lists = rank(batch[0].snapshot, [one.ask for one in batch])
            answers = [(one.answer, found) for one, found in zip(batch, lists, strict=True)]
        except Exception as error:  # noqa: BLE001 - whatever it is, the requests must get their fallback
            _LOG.exception("the model failed on %d requests", len(batch))
            _soon(loop, _fail, [one.answer for one in batch], error)
            return
        self._observe(len(batch), time.perf_counter() - started)
        _soon(loop, _deliver, answers)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, *arguments)


def _deliver(answers: list[tuple[asyncio.Future[Candidates], Candidates]]) -> None:
    for answer, found in answers:
        if not answer.done():
            answer.set_result(found)


def _fail(answers: list[asyncio.Future[Candidates]], error: Exception) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(error)

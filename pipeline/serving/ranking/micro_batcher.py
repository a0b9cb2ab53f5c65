"""Micro-batching: concurrent requests share one forward pass of the model."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.serving.ranking.rank import RankRequest, rank
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.served_model import ServedModel

_LOG = logging.getLogger(__name__)


class _Pending(NamedTuple):
    model: ServedModel
    request: RankRequest
    result: asyncio.Future[Candidates]


class MicroBatcher:
    """Ranks requests in one thread; a batch contains requests of one model only."""

    def __init__(
        self, *, size: int, wait_seconds: float, observe: Callable[[int, float], None]
    ) -> None:
        """Batches have up to ``size`` requests, of which the first waits ``wait_seconds``.

        ``observe`` receives the size and seconds of each batch.
        """
        self._size = size
        self._wait_seconds = wait_seconds
        self._observe = observe
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ranking", daemon=True)

    def start(self) -> None:
        """Start the ranking thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the ranking thread is running."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Rank all waiting requests and stop the thread."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, model: ServedModel, request: RankRequest) -> asyncio.Future[Candidates]:
        """A future of the list, ranked by this model; a cancelled future is skipped."""
        result: asyncio.Future[Candidates] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(model, request, result))
        return result

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._collect()
            by_model: dict[ServedModel, list[_Pending]] = {}
            for one in batch:
                if not one.result.cancelled():
                    by_model.setdefault(one.model, []).append(one)
            for of_model in by_model.values():
                self._rank(of_model)

    def _collect(self) -> tuple[list[_Pending], bool]:
        """Wait for a request and then briefly for others; False after the last."""
        batch: list[_Pending] = []
        deadline: float | None = None
        while len(batch) < self._size:
            try:
                timeout = None if deadline is None else deadline - time.monotonic()
                one = self._queue.get(block=timeout is None or timeout > 0, timeout=timeout)
            except queue.Empty:
                break
            if one is None:
                return batch, False
            batch.append(one)
            deadline = deadline or time.monotonic() + self._wait_seconds
        return batch, True

    def _rank(self, batch: list[_Pending]) -> None:
        started = time.perf_counter()
        results: Sequence[Candidates | Exception]
        try:
            results = rank(batch[0].model, [one.request for one in batch])
        except Exception as error:  # noqa: BLE001 - on any error, requests get the fallback
            _LOG.exception("ranking failed for %d requests", len(batch))
            results = [error] * len(batch)
        else:
            self._observe(len(batch), time.perf_counter() - started)
        loop = batch[0].result.get_loop()
        if not loop.is_closed():
            futures = [one.result for one in batch]
            loop.call_soon_threadsafe(_resolve, futures, results)


def _resolve(
    futures: Sequence[asyncio.Future[Candidates]], results: Sequence[Candidates | Exception]
) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

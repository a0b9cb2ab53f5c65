"""Requests share batches, are ranked by their model, and never wait forever."""

import asyncio
import threading

import pytest

from pipeline.serving.ranking import micro_batcher
from pipeline.serving.ranking.micro_batcher import MicroBatcher
from pipeline.serving.ranking.rank import rank
from tests.pipeline.serving.shop import rank_request, served_model


@pytest.fixture
def served(tmp_path, small_params):
    return served_model(tmp_path, small_params)


def run(scenario, *, size=8, wait_seconds=0.0):
    """Run ``scenario(batcher)``; returns its result and the sizes of the batches."""
    sizes = []

    async def main_task():
        batcher = MicroBatcher(
            size=size, wait_seconds=wait_seconds, observe=lambda n, _: sizes.append(n)
        )
        batcher.start()
        try:
            return await scenario(batcher)
        finally:
            await asyncio.to_thread(batcher.close)
            assert not batcher.is_alive

    return asyncio.run(main_task()), sizes


def test_waiting_requests_share_batches(served):
    requests = [rank_request([n], k=3 + n) for n in range(20)]

    async def scenario(batcher):
        return await asyncio.gather(*(batcher.submit(served, one) for one in requests))

    found, sizes = run(scenario, wait_seconds=0.5)

    alone = [rank(served, [one])[0].items.tolist() for one in requests]
    assert [one.items.tolist() for one in found] == alone
    assert sizes == [8, 8, 4]


def test_a_request_is_ranked_by_its_model(tmp_path, small_params):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = served_model(tmp_path / "old", small_params, seed=1)
    new = served_model(tmp_path / "new", small_params, seed=2)

    async def scenario(batcher):
        wanted = [(old, 1), (new, 1), (new, 2), (old, 3), (new, 3)]
        return await asyncio.gather(*(batcher.submit(s, rank_request([n])) for s, n in wanted))

    found, sizes = run(scenario, wait_seconds=0.5)

    expected = [
        rank(s, [rank_request([n])])[0]
        for s, n in ((old, 1), (new, 1), (new, 2), (old, 3), (new, 3))
    ]
    assert [one.items.tolist() for one in found] == [one.items.tolist() for one in expected]
    assert sizes == [2, 3]


def test_a_cancelled_request_is_not_ranked(served):
    async def scenario(batcher):
        kept, cancelled = (batcher.submit(served, rank_request([n])) for n in (1, 2))
        cancelled.cancel()
        return await kept

    found, sizes = run(scenario, wait_seconds=0.2)

    assert len(found.items) == 5
    assert sizes == [1]


def test_a_failing_model_fails_its_batch_only(served, monkeypatch):
    async def scenario(batcher):
        monkeypatch.setattr(micro_batcher, "rank", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(served, rank_request([1]))
        monkeypatch.undo()
        return await batcher.submit(served, rank_request([1]))

    found, _ = run(scenario)

    assert len(found.items) == 5


def test_close_ranks_waiting_requests(served, monkeypatch):
    started, resume = threading.Event(), threading.Event()

    def slow(*arguments):
        started.set()
        resume.wait(10)
        return rank(*arguments)

    monkeypatch.setattr(micro_batcher, "rank", slow)

    async def scenario(batcher):
        first = batcher.submit(served, rank_request([1]))
        await asyncio.to_thread(started.wait, 10)
        second = batcher.submit(served, rank_request([2]))
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        resume.set()
        return (await first, await second, await closing)[:2]

    async def main_task():
        batcher = MicroBatcher(size=8, wait_seconds=0.0, observe=lambda *_: None)
        batcher.start()
        return await scenario(batcher)

    assert [len(one.items) for one in asyncio.run(main_task())] == [5, 5]

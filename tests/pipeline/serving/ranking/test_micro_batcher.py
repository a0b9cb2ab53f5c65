"""Requests share a pass, are answered by the model they began with, and never wait for ever."""

import asyncio
import threading

import pytest

from pipeline.serving.ranking import micro_batcher
from pipeline.serving.ranking.micro_batcher import MicroBatcher
from pipeline.serving.ranking.rank import rank
from tests.pipeline.serving.shop import ask, snapshot_of


@pytest.fixture
def snapshot(tmp_path, small_params):
    return snapshot_of(tmp_path, small_params)


def run(scenario, *, size=8, wait_seconds=0.0):
    """Run ``scenario(batcher)`` on a batcher; its result and the sizes of the batches."""
    sizes = []

    async def whole():
        batcher = MicroBatcher(
            size=size, wait_seconds=wait_seconds, observe=lambda n, _: sizes.append(n)
        )
        batcher.start()
        try:
            return await scenario(batcher)
        finally:
            await asyncio.to_thread(batcher.close)
            assert not batcher.is_alive

    return asyncio.run(whole()), sizes


def test_what_waits_together_is_answered_together(snapshot):
    asks = [ask([n], k=3 + n) for n in range(20)]

    async def scenario(batcher):
        return await asyncio.gather(*(batcher.submit(snapshot, one) for one in asks))

    found, sizes = run(scenario, wait_seconds=0.5)

    alone = [rank(snapshot, [one])[0].items.tolist() for one in asks]
    assert [one.items.tolist() for one in found] == alone
    assert sizes == [8, 8, 4]


def test_a_request_is_answered_by_the_model_it_began_with(tmp_path, small_params):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = snapshot_of(tmp_path / "old", small_params, seed=1)
    new = snapshot_of(tmp_path / "new", small_params, seed=2)

    async def scenario(batcher):
        wanted = [(old, 1), (new, 1), (new, 2), (old, 3), (new, 3)]
        return await asyncio.gather(*(batcher.submit(s, ask([n])) for s, n in wanted))

    found, sizes = run(scenario, wait_seconds=0.5)

    expected = [
        rank(s, [ask([n])])[0] for s, n in ((old, 1), (new, 1), (new, 2), (old, 3), (new, 3))
    ]
    assert [one.items.tolist() for one in found] == [one.items.tolist() for one in expected]
    assert sizes == [1, 2, 1, 1]


def test_a_request_that_no_longer_waits_is_not_computed(snapshot):
    async def scenario(batcher):
        kept, given_up = (batcher.submit(snapshot, ask([n])) for n in (1, 2))
        given_up.cancel()
        return await kept

    found, sizes = run(scenario, wait_seconds=0.2)

    assert len(found.items) == 5
    assert sizes == [1]


def test_a_failing_model_fails_its_requests_and_the_next_ones_are_answered(snapshot, monkeypatch):
    async def scenario(batcher):
        monkeypatch.setattr(micro_batcher, "rank", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(snapshot, ask([1]))
        monkeypatch.undo()
        return await batcher.submit(snapshot, ask([1]))

    found, _ = run(scenario)

    assert len(found.items) == 5


def test_closing_answers_what_is_waiting(snapshot, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        go_on.wait(10)
        return rank(*arguments)

    monkeypatch.setattr(micro_batcher, "rank", slow)

    async def scenario(batcher):
        first = batcher.submit(snapshot, ask([1]))
        await asyncio.to_thread(begun.wait, 10)
        second = batcher.submit(snapshot, ask([2]))
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        go_on.set()
        return (await first, await second, await closing)[:2]

    async def whole():
        batcher = MicroBatcher(size=8, wait_seconds=0.0, observe=lambda *_: None)
        batcher.start()
        return await scenario(batcher)

    assert [len(one.items) for one in asyncio.run(whole())] == [5, 5]

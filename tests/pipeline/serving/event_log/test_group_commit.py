"""A row is acknowledged when it is on disk, and not before."""

import asyncio
import errno
import os
import threading

import pytest

from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import Journal
from pipeline.serving.event_log.kafka_sink import KafkaSink, Row, open_kafka
from pipeline.serving.event_log.rotating_files import WRITTEN, LogFile, Rotation
from pipeline.study import Durability, KafkaTopic
from tests.pipeline.serving.shop import rows_of

ROTATION = Rotation(seconds=3600.0, size=10**9, durability=Durability.FSYNC)


def row(n, table=LogTable.CLICKS):
    content = f'{{"impression":"x{n}","event":"e{n}","received":{n}}}\n'
    return Row(table, f"x{n}", content.encode())


def run(folder, scenario, **options):
    async def whole():
        journal = Journal(folder, ROTATION, **options)
        journal.start()
        try:
            return await scenario(journal)
        finally:
            await asyncio.to_thread(journal.close)

    return asyncio.run(whole())


def test_rows_go_to_the_files_of_their_tables(tmp_path):
    async def scenario(journal):
        await asyncio.gather(*(journal.append(row(n, table)) for n, table in enumerate(WRITTEN)))

    run(tmp_path, scenario)

    assert [file.name.split("-")[0] for file in sorted(tmp_path.glob("*.jsonl"))] == [
        "clicks",
        "impressions",
        "orders",
    ]
    assert [one["impression"] for one in rows_of(tmp_path / "confirmations", "shown")] == ["x3"]


def test_nothing_is_acknowledged_before_the_disk_has_it(tmp_path, monkeypatch):
    disk = threading.Event()
    real = os.fsync

    def slow(descriptor):
        disk.wait(10)
        real(descriptor)

    async def scenario(journal):
        await journal.append(row(0))
        monkeypatch.setattr(os, "fsync", slow)
        waiting = [journal.append(row(n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.1)
        before = [one.done() for one in waiting]
        disk.set()
        await asyncio.gather(*waiting)
        return before

    assert run(tmp_path, scenario) == [False, False, False]
    assert len(rows_of(tmp_path, "clicks")) == 4


def test_rows_that_come_while_the_disk_works_share_its_next_turn(tmp_path, monkeypatch):
    disk, commits = threading.Event(), []
    real = LogFile.append

    def slow(self, rows):
        disk.wait(10)
        real(self, rows)

    monkeypatch.setattr(LogFile, "append", slow)

    async def scenario(journal):
        first = journal.append(row(0))
        await asyncio.sleep(0.05)
        waiting = [journal.append(row(n)) for n in range(1, 50)]
        disk.set()
        await asyncio.gather(first, *waiting)

    run(tmp_path, scenario, observe=lambda rows, _: commits.append(rows))

    assert commits == [1, 49]


def test_a_full_disk_fails_the_request_and_says_so_until_it_is_mended(tmp_path, monkeypatch):
    def full(_self, _rows):
        raise OSError(errno.ENOSPC, "no space left on device")

    async def scenario(journal):
        monkeypatch.setattr(LogFile, "append", full)
        with pytest.raises(OSError, match="no space left"):
            await journal.append(row(1))
        failing = journal.is_failing
        monkeypatch.undo()
        await journal.append(row(2))
        return failing, journal.is_failing, journal.is_alive

    assert run(tmp_path, scenario) == (True, False, True)
    assert [one["impression"] for one in rows_of(tmp_path, "clicks")] == ["x2"]


def test_a_journal_closes_what_a_killed_one_left_open(tmp_path):
    (tmp_path / "clicks-1.jsonl.open").write_bytes(row(1).content + b'{"tor')

    async def scenario(journal):
        return journal.cut_lines

    assert run(tmp_path, scenario) == 1
    assert [one["impression"] for one in rows_of(tmp_path, "clicks")] == ["x1"]


def test_repeated_events_are_known_while_they_are_written_and_after_a_restart(tmp_path):
    repeats = EventDeduplicator(hours=1.0)

    async def scenario(journal):
        written = journal.append(row(1))
        repeats.begin("x1", "e1", written)
        during = repeats.under_way("x1", "e1") is written, repeats.is_known("x1", "e1")
        await written
        await asyncio.sleep(0)
        return *during, repeats.under_way("x1", "e1") is None, repeats.is_known("x1", "e1")

    assert run(tmp_path, scenario) == (True, False, True, True)
    assert not repeats.is_known("x1", "e2")
    assert not repeats.is_known("x", "1e1")
    again = EventDeduplicator(hours=1.0)
    again.read(tmp_path, now_ms=1)
    assert again.is_known("x1", "e1")
    late = EventDeduplicator(hours=1.0)
    late.read(tmp_path, now_ms=3_600_002)
    assert len(late) == 0


def test_an_event_that_could_not_be_written_may_come_again():
    repeats = EventDeduplicator(hours=1.0)

    async def scenario():
        written = asyncio.get_running_loop().create_future()
        repeats.begin("x", "e", written)
        written.set_exception(OSError("full"))
        await asyncio.sleep(0)
        return repeats.is_known("x", "e"), repeats.under_way("x", "e")

    assert asyncio.run(scenario()) == (False, None)


def test_old_events_are_forgotten(monkeypatch):
    repeats = EventDeduplicator(hours=1.0)

    async def scenario():
        for n, hour in enumerate((0, 0.5, 1.2)):
            monkeypatch.setattr("time.time_ns", lambda hour=hour: int(hour * 3.6e12))
            written = asyncio.get_running_loop().create_future()
            repeats.begin("x", f"e{n}", written)
            written.set_result(None)
            await asyncio.sleep(0)

    asyncio.run(scenario())

    assert [repeats.is_known("x", f"e{n}") for n in range(3)] == [False, True, True]


class Broker:
    """A producer with the methods of confluent_kafka's; it loses every third message."""

    def __init__(self, room=100):
        self.taken, self.waiting, self.room = [], [], room

    def produce(self, topic, *, key, value, headers, on_delivery):
        if len(self.taken) >= self.room:
            raise BufferError("queue full")
        self.taken.append((topic, key, value, headers))
        self.waiting.append(on_delivery)

    def poll(self, _timeout):
        for on_delivery in self.waiting:
            on_delivery("broker gone" if len(self.taken) % 3 == 0 else None, None)
        self.waiting = []
        return 0

    def flush(self, _timeout):
        return 2


def test_kafka_gets_a_copy_of_every_row_and_lost_ones_are_counted(tmp_path):
    broker, lost = Broker(room=5), []

    async def scenario(journal):
        for n in range(7):
            await journal.append(row(n))

    run(tmp_path, scenario, sink=KafkaSink(broker, "lists", lost.append))

    assert broker.taken[0] == (
        "lists",
        b"x0",
        b'{"impression":"x0","event":"e0","received":0}',
        [("table", b"clicks")],
    )
    assert len(broker.taken) == 5
    assert lost == [1, 1, 1, 2]  # the third on its way, two for want of room, two at the end
    assert len(rows_of(tmp_path, "clicks")) == 7


def test_the_real_producer_takes_rows_without_a_broker():
    lost = []
    sink = open_kafka(KafkaTopic(servers="127.0.0.1:1", topic="lists"), lost.append)

    sink.send(row(1))

    assert sink._producer.flush(0.01) == 1
    sink._producer.purge()
    sink.close()
    assert lost == [1]

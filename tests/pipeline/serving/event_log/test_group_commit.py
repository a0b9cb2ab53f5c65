"""A row is acknowledged when it is durable."""

import asyncio
import errno
import os
import threading

import pytest

from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import EventLogWriter
from pipeline.serving.event_log.kafka_sink import KafkaSink, LogRow, open_kafka
from pipeline.serving.event_log.rotating_files import WRITTEN, LogFile
from pipeline.study import KafkaTopic, ServingConfig
from tests.pipeline.serving.shop import rows_of

CLICKS = LogTable.CLICKS
CONFIG = ServingConfig(rotate_minutes=60.0, rotate_megabytes=1000.0)


def row(n, table=LogTable.CLICKS):
    content = f'{{"impression":"x{n}","event":"e{n}","received":{n}}}\n'
    return LogRow(table, f"x{n}", content.encode())


def run(folder, scenario, **options):
    async def main_task():
        writer = EventLogWriter(folder, CONFIG, **options)
        writer.start()
        try:
            return await scenario(writer)
        finally:
            await asyncio.to_thread(writer.close)

    return asyncio.run(main_task())


def test_rows_are_written_to_the_files_of_their_tables(tmp_path):
    async def scenario(writer):
        await asyncio.gather(*(writer.append(row(n, table)) for n, table in enumerate(WRITTEN)))

    run(tmp_path, scenario)

    assert [file.name.split("-")[0] for file in sorted(tmp_path.glob("*.jsonl"))] == [
        "clicks",
        "impressions",
        "orders",
    ]
    assert [one["impression"] for one in rows_of(tmp_path / "confirmations", "shown")] == ["x3"]


def test_no_row_is_acknowledged_before_fsync(tmp_path, monkeypatch):
    disk = threading.Event()
    real = os.fsync

    def slow(descriptor):
        disk.wait(10)
        real(descriptor)

    async def scenario(writer):
        await writer.append(row(0))
        monkeypatch.setattr(os, "fsync", slow)
        waiting = [writer.append(row(n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.1)
        before = [one.done() for one in waiting]
        disk.set()
        await asyncio.gather(*waiting)
        return before

    assert run(tmp_path, scenario) == [False, False, False]
    assert len(rows_of(tmp_path, "clicks")) == 4


def test_rows_that_arrive_during_a_commit_share_the_next(tmp_path, monkeypatch):
    disk, commits = threading.Event(), []
    real = LogFile.append

    def slow(self, rows):
        disk.wait(10)
        real(self, rows)

    monkeypatch.setattr(LogFile, "append", slow)

    async def scenario(writer):
        first = writer.append(row(0))
        await asyncio.sleep(0.05)
        waiting = [writer.append(row(n)) for n in range(1, 50)]
        disk.set()
        await asyncio.gather(first, *waiting)

    run(tmp_path, scenario, observe=lambda rows, _: commits.append(rows))

    assert commits == [1, 49]


def test_a_full_disk_fails_the_row_until_space_is_freed(tmp_path, monkeypatch):
    def full(_self, _rows):
        raise OSError(errno.ENOSPC, "no space left on device")

    async def scenario(writer):
        monkeypatch.setattr(LogFile, "append", full)
        with pytest.raises(OSError, match="no space left"):
            await writer.append(row(1))
        failing = writer.failure
        monkeypatch.undo()
        await writer.append(row(2))
        return failing, writer.failure, writer.is_alive

    assert run(tmp_path, scenario) == ("no space left on device", None, True)
    assert [one["impression"] for one in rows_of(tmp_path, "clicks")] == ["x2"]


def test_a_new_writer_recovers_open_files(tmp_path):
    (tmp_path / "clicks-20260101T000000-000000.jsonl.open").write_bytes(row(1).content + b'{"tor')

    async def scenario(writer):
        return sum(writer.removed.values())

    assert run(tmp_path, scenario) == 1
    assert [one["impression"] for one in rows_of(tmp_path, "clicks")] == ["x1"]


def test_duplicates_are_detected_while_pending_and_after_a_restart(tmp_path):
    deduplicator = EventDeduplicator(hours=1.0)

    async def scenario(writer):
        written = writer.append(row(1))
        deduplicator.register(CLICKS, "x1", "e1", written)
        during = (
            deduplicator.pending(CLICKS, "x1", "e1") is written,
            deduplicator.is_known(CLICKS, "x1", "e1"),
        )
        await written
        await asyncio.sleep(0)
        return (
            *during,
            deduplicator.pending(CLICKS, "x1", "e1") is None,
            deduplicator.is_known(CLICKS, "x1", "e1"),
        )

    assert run(tmp_path, scenario) == (True, False, True, True)
    assert not deduplicator.is_known(CLICKS, "x1", "e2")
    assert not deduplicator.is_known(LogTable.ORDERS, "x1", "e1")
    assert not deduplicator.is_known(CLICKS, "x", "1e1")
    again = EventDeduplicator(hours=1.0)
    again.load(tmp_path, now_ms=1)
    assert again.is_known(CLICKS, "x1", "e1")
    assert not again.is_known(LogTable.ORDERS, "x1", "e1")
    late = EventDeduplicator(hours=1.0)
    late.load(tmp_path, now_ms=3_600_002)
    assert not late.is_known(CLICKS, "x1", "e1")


def test_an_event_whose_write_failed_can_be_sent_again():
    deduplicator = EventDeduplicator(hours=1.0)

    async def scenario():
        written = asyncio.get_running_loop().create_future()
        deduplicator.register(CLICKS, "x", "e", written)
        written.set_exception(OSError("full"))
        await asyncio.sleep(0)
        return deduplicator.is_known(CLICKS, "x", "e"), deduplicator.pending(CLICKS, "x", "e")

    assert asyncio.run(scenario()) == (False, None)


def test_events_expire_after_the_window(monkeypatch):
    deduplicator = EventDeduplicator(hours=1.0)

    async def scenario():
        for n, hour in enumerate((0, 0.5, 1.2)):
            monkeypatch.setattr("time.time_ns", lambda hour=hour: int(hour * 3.6e12))
            written = asyncio.get_running_loop().create_future()
            deduplicator.register(CLICKS, "x", f"e{n}", written)
            written.set_result(None)
            await asyncio.sleep(0)

    asyncio.run(scenario())

    assert [deduplicator.is_known(CLICKS, "x", f"e{n}") for n in range(3)] == [False, True, True]


def test_events_of_the_future_in_a_log_do_not_keep_later_ones(tmp_path, monkeypatch):
    """A clock that was set back, or a damaged row: it expires after the window, and so do others."""
    hour = 3_600_000
    rows = [
        b'{"impression":"x","event":"e%d","received":%d}\n' % (n, received)
        for n, received in enumerate((hour, 2**62))
    ]
    (tmp_path / "clicks-20260101T000000-000000.jsonl").write_bytes(b"".join(rows))
    deduplicator = EventDeduplicator(hours=1.0)
    deduplicator.load(tmp_path, now_ms=hour)

    async def scenario():
        for at in (1.5 * hour, 3 * hour):
            monkeypatch.setattr("time.time_ns", lambda at=at: int(at * 1e6))
            written = asyncio.get_running_loop().create_future()
            deduplicator.register(CLICKS, "x", f"at {at}", written)
            written.set_result(None)
            await asyncio.sleep(0)
            yield [deduplicator.is_known(CLICKS, "x", f"e{n}") for n in range(2)]

    async def known():
        return [one async for one in scenario()]

    assert asyncio.run(known()) == [[True, True], [False, False]]
    assert not deduplicator.is_known(CLICKS, "x", f"at {1.5 * hour}")


class Broker:
    """A fake confluent_kafka producer that loses every third message."""

    def __init__(self, capacity=100):
        self.messages, self.callbacks, self.capacity = [], [], capacity

    def produce(self, topic, *, key, value, headers, on_delivery):
        if len(self.messages) >= self.capacity:
            raise BufferError("queue full")
        self.messages.append((topic, key, value, headers))
        self.callbacks.append(on_delivery)

    def poll(self, _timeout):
        for on_delivery in self.callbacks:
            on_delivery("broker gone" if len(self.messages) % 3 == 0 else None, None)
        self.callbacks = []
        return 0

    def flush(self, _timeout):
        return 2


def test_kafka_receives_every_row_and_lost_rows_are_counted(tmp_path):
    broker, lost = Broker(capacity=5), []

    async def scenario(writer):
        for n in range(7):
            await writer.append(row(n))

    run(tmp_path, scenario, sink=KafkaSink(broker, "lists", lost.append))

    assert broker.messages[0] == (
        "lists",
        b"x0",
        b'{"impression":"x0","event":"e0","received":0}',
        [("table", b"clicks")],
    )
    assert len(broker.messages) == 5
    assert lost == [1, 1, 1, 2]  # the third on delivery, two with a full queue, two at close
    assert len(rows_of(tmp_path, "clicks")) == 7


def test_the_real_producer_queues_rows_without_a_broker():
    lost = []
    sink = open_kafka(KafkaTopic(servers="127.0.0.1:1", topic="lists"), lost.append)

    sink.send(row(1))

    assert sink._producer.flush(0.01) == 1
    sink._producer.purge()
    sink.close()
    assert lost == [1]

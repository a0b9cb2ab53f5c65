"""Where a copy of the log goes besides its files: Kafka, with ``pip install paretoscope[kafka]``."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from pipeline.core.errors import StudyError
from pipeline.experiment.log.log_files import LogTable
from pipeline.study import KafkaTopic

_LOG = logging.getLogger(__name__)
_FLUSH_SECONDS = 10.0


class Row(NamedTuple):
    """A line of the log, its line break included, and the impression it is about."""

    table: LogTable
    impression: str
    content: bytes


class Sink(Protocol):
    """Takes rows that are in their files already; it may lose them, and counts those it does."""

    def send(self, row: Row) -> None:
        """Take a row; returns at once."""
        ...

    def close(self) -> None:
        """Wait a while for what is under way."""
        ...


class Producer(Protocol):
    """What is used of ``confluent_kafka.Producer``."""

    def produce(self, topic: str, **message: Any) -> None:
        """Queue a message; BufferError if the queue is full."""
        ...

    def poll(self, timeout: float) -> int:
        """Call back for messages that were delivered or lost."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait for all; returns how many are still under way."""
        ...


class KafkaSink:
    """Rows as messages of one topic: the impression is the key, the table a header."""

    def __init__(self, producer: Producer, topic: str, lost: Callable[[int], None]) -> None:
        """``lost`` is told how many rows Kafka did not get; they are in the files all the same."""
        self._producer = producer
        self._topic = topic
        self._lost = lost

    def send(self, row: Row) -> None:
        """Queue the row."""
        try:
            self._producer.produce(
                self._topic,
                key=row.impression.encode(),
                value=row.content.rstrip(b"\n"),
                headers=[("table", row.table.encode())],
                on_delivery=self._delivered,
            )
            self._producer.poll(0)
        except Exception as error:  # noqa: BLE001 - a copy may fail in any way, the log goes on
            _LOG.warning("Kafka cannot take a row: %s", error)
            self._lost(1)

    def close(self) -> None:
        """Wait for what is queued, ten seconds at most."""
        if left := self._producer.flush(_FLUSH_SECONDS):
            self._lost(left)

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            _LOG.warning("Kafka did not take a row: %s", error)
            self._lost(1)


def open_kafka(section: KafkaTopic, lost: Callable[[int], None]) -> KafkaSink:
    """A sink that writes to the study's topic.

    Raises:
        StudyError: if the extra is not installed.
    """
    try:
        from confluent_kafka import Producer as Confluent  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = "serving.kafka needs an extra; install it with: pip install 'paretoscope[kafka]'"
        raise StudyError(msg) from error
    producer: Any = Confluent(
        {"bootstrap.servers": section.servers, "enable.idempotence": True, "linger.ms": 5}
    )
    return KafkaSink(producer, section.topic, lost)

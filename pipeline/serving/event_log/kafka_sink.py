"""A copy of the event log in Kafka; requires ``pip install 'paretoscope[kafka]'``."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.core.errors import StudyError
from pipeline.experiment.log.log_files import LogTable
from pipeline.study import KafkaTopic

_LOG = logging.getLogger(__name__)
_FLUSH_SECONDS = 10.0


class LogRow(NamedTuple):
    """One line of the log, with its line break, and its impression id."""

    table: LogTable
    impression: str
    content: bytes


class KafkaSink:
    """Sends rows that are in the log's files; key is the impression id, header is the table.

    Args:
        producer: A ``confluent_kafka.Producer``.
        topic: The topic.
        count_lost: Receives the number of rows that were not delivered.
    """

    def __init__(self, producer: Any, topic: str, count_lost: Callable[[int], None]) -> None:
        self._producer = producer
        self._topic = topic
        self._count_lost = count_lost

    def send(self, row: LogRow) -> None:
        """Queue the row; never blocks or raises."""
        try:
            self._producer.produce(
                self._topic,
                key=row.impression.encode(),
                value=row.content.rstrip(b"\n"),
                headers=[("table", row.table.encode())],
                on_delivery=self._on_delivery,
            )
            self._producer.poll(0)
        except Exception as error:  # noqa: BLE001 - no failure of the copy may stop the log
            _LOG.warning("Kafka rejected a row: %s", error)
            self._count_lost(1)

    def close(self) -> None:
        """Wait up to ten seconds for queued rows."""
        if pending := self._producer.flush(_FLUSH_SECONDS):
            self._count_lost(pending)

    def _on_delivery(self, error: object, _message: object) -> None:
        if error is not None:
            _LOG.warning("Kafka did not deliver a row: %s", error)
            self._count_lost(1)


def open_kafka(topic: KafkaTopic, count_lost: Callable[[int], None]) -> KafkaSink:
    """A sink for the study's topic.

    Raises:
        StudyError: if the extra ``kafka`` is not installed.
    """
    try:
        from confluent_kafka import Producer as Confluent  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = "serving.kafka requires an extra; install it with: pip install 'paretoscope[kafka]'"
        raise StudyError(msg) from error
    producer = Confluent(
        {"bootstrap.servers": topic.servers, "enable.idempotence": True, "linger.ms": 5}
    )
    return KafkaSink(producer, topic.topic, count_lost)

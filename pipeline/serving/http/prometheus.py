"""What Prometheus is told."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServerMetrics:
    """The counters of one server; none has a label that comes from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept: Any = {"registry": self.registry, "namespace": "paretoscope"}
        self.requests = Counter("requests", "Requests answered.", ["route", "status"], **kept)
        self.seconds = Histogram(
            "request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, **kept
        )
        self.lists = Counter("lists", "Lists by group; empty outside.", ["group"], **kept)
        self.fallbacks = Counter("fallbacks", "Lists of popular items.", ["reason"], **kept)
        self.unknown_items = Counter("unknown_items", "Items the catalogue lacks.", **kept)
        self.events = Counter("events", "Events that are in the log.", ["event_type"], **kept)
        self.repeated_events = Counter("repeated_events", "Events that came again.", **kept)
        self.batch_size = Histogram("batch_size", "Requests a pass.", buckets=_SIZES, **kept)
        self.batch_seconds = Histogram("batch_seconds", "Time of a pass.", buckets=_SECONDS, **kept)
        self.commit_rows = Histogram("commit_rows", "Rows a commit.", buckets=_SIZES, **kept)
        self.commit_seconds = Histogram(
            "commit_seconds", "Time of a commit.", buckets=_SECONDS, **kept
        )
        self.cut_lines = Counter("cut_lines", "Lines of the log a crash had torn.", **kept)
        self.reloads = Counter("reloads", "Reloads of the study.", ["outcome"], **kept)
        self.not_copied = Counter("rows_not_copied", "Rows that Kafka did not get.", **kept)
        self.started = Gauge("start_time_seconds", "When the server started.", **kept)
        self.served = Info("served", "Model, rules and experiment.", **kept)
        self.started.set_to_current_time()

    def observe_batch(self, requests: int, seconds: float) -> None:
        """A pass of the model."""
        self.batch_size.observe(requests)
        self.batch_seconds.observe(seconds)

    def observe_commit(self, rows: int, seconds: float) -> None:
        """A commit of the log."""
        self.commit_rows.observe(rows)
        self.commit_seconds.observe(seconds)

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

"""Prometheus metrics of the server."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from pipeline.experiment.log.log_files import ArmName
from pipeline.serving.ranking.snapshot import Snapshot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServerMetrics:
    """The metrics of one server; no label value comes from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: Any = {"registry": self.registry, "namespace": "paretoscope"}
        seconds: Any = {"buckets": _SECONDS, **common}
        sizes: Any = {"buckets": _SIZES, **common}
        self.requests = Counter("requests", "Requests.", ["route", "status"], **common)
        self.seconds = Histogram("request_seconds", "Response time.", ["route"], **seconds)
        self.lists = Counter("lists", "Lists by group or arm.", ["group", "arm"], **common)
        self.explored_lists = Counter("explored_lists", "Lists drawn at random.", **common)
        self.fallbacks = Counter("fallbacks", "Lists of popular items.", ["reason"], **common)
        self.unknown_items = Counter("unknown_items", "Items not in the catalogue.", **common)
        self.events = Counter(
            "events", "New events by group or arm.", ["kind", "group", "arm"], **common
        )
        self.duplicate_events = Counter("duplicate_events", "Duplicate events.", **common)
        self.unknown_impressions = Counter(
            "unknown_impressions", "New events of impressions of no server of the study.", **common
        )
        self.batch_size = Histogram("batch_size", "Requests per batch.", **sizes)
        self.batch_seconds = Histogram("batch_seconds", "Duration of a batch.", **seconds)
        self.commit_rows = Histogram("commit_rows", "Rows per commit.", **sizes)
        self.commit_seconds = Histogram("commit_seconds", "Duration of a commit.", **seconds)
        self.removed_log_lines = Counter(
            "removed_log_lines", "Incomplete lines removed after a crash.", **common
        )
        self.skipped_log_lines = Counter(
            "skipped_log_lines", "Lines of the log that cannot be read at the start.", **common
        )
        self.reloads = Counter("reloads", "Reloads of the study.", ["outcome"], **common)
        self.kafka_rows_lost = Counter("kafka_rows_lost", "Rows not delivered to Kafka.", **common)
        self.start_time = Gauge("start_time_seconds", "Start of the server.", **common)
        self.served = Info("served", "Versions of model, rules and experiment.", **common)
        self.rollout_share = Gauge(
            "rollout_share", "Share of the candidate.", ["release", "stage"], **common
        )
        self.fuse_blown = Gauge(
            "fuse_blown", "1 while the fuse keeps the candidate from being served.", **common
        )
        self.start_time.set_to_current_time()

    def observe_batch(self, requests: int, seconds: float) -> None:
        """Record a batch of the model."""
        self.batch_size.observe(requests)
        self.batch_seconds.observe(seconds)

    def observe_commit(self, rows: int, seconds: float) -> None:
        """Record a commit of the event log."""
        self.commit_rows.observe(rows)
        self.commit_seconds.observe(seconds)

    def count_event(self, kind: str, label: str) -> None:
        """Record an event of an impression of a group or arm; empty if it is of neither."""
        is_arm = label in set(ArmName)
        self.events.labels(kind, "" if is_arm else label, label if is_arm else "").inc()

    def follow(self, snapshot: Snapshot) -> None:
        """Say what is served from now on."""
        self.served.info(
            {
                "model": snapshot.model.version,
                "rules": snapshot.model.rules.version,
                "experiment": snapshot.plan.experiment,
            }
        )
        self.rollout_share.clear()
        if (rollout := snapshot.rollout) is not None:
            self.rollout_share.labels(rollout.release, rollout.stage or "").set(rollout.share)

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

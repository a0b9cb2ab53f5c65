"""The server process: loads a study and serves it."""

import gc
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import uvicorn

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import EventLogWriter
from pipeline.serving.event_log.kafka_sink import open_kafka
from pipeline.serving.event_log.recovery import named
from pipeline.serving.event_log.replicas import (
    close_abandoned,
    one_start_at_a_time,
    replica_folder,
)
from pipeline.serving.http.app import build_app
from pipeline.serving.http.connections import (
    IDLE_SECONDS,
    LimitedProtocol,
    connection_limit,
    limit_kernel_buffers,
)
from pipeline.serving.http.log_lines import one_line_logs
from pipeline.serving.http.prometheus import ServerMetrics
from pipeline.serving.http.service import Service
from pipeline.serving.http.watcher import StudyWatcher, log_served, warn_of_unknown_items
from pipeline.serving.ranking.snapshot import (
    Snapshot,
    file_fingerprint,
    load_snapshot,
    record_index,
)
from pipeline.study import SERVING_KEY, Study

LOCAL = "127.0.0.1"

_LOG = logging.getLogger(__name__)
_BACKLOG = 2048
_GRACE_SECONDS = 30
_MIN_KEY_LENGTH = 16


def serve(
    study: Study,
    paths: StudyPaths,
    *,
    host: str = LOCAL,
    port: int = 8350,
    replica: str | None = None,
) -> None:
    """Serve requests until SIGTERM or SIGINT; port 0 selects a free port.

    ``replica`` is the name of this server among several; its log is in the folder of that name.

    Raises:
        MissingArtifact: if the study is not finished.
        StudyError: if the address cannot be used, the key is too short, or the replica's name is not valid.
        LogError: if another server writes to the same folder.
    """
    key = _read_key()
    if key is None and not _is_local(host):
        _LOG.warning("%s accepts remote requests without a key; set %s", host, SERVING_KEY)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    torch.set_num_threads(study.serving.threads)
    fingerprint = file_fingerprint(study, paths, None)
    snapshot = load_snapshot(study, paths)
    warn_of_unknown_items(snapshot)
    with one_line_logs(), _listen(host, port) as listening:
        service = build_service(snapshot, study, paths, replica)
        watcher = StudyWatcher(service, study, paths, fingerprint)
        service.swap_snapshot(watcher.with_current_rollout(snapshot, study))
        record_index(service.snapshot, paths)
        config = uvicorn.Config(
            build_app(service, paths, key=key, host=host, background=watcher.run),
            loop="uvloop",
            http=LimitedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=connection_limit(),
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        gc.collect()
        gc.freeze()  # objects loaded so far live on: collecting them would delay requests
        server = _Server(
            config, on_start=lambda: log_served(service.snapshot, f"on {_address(listening)}")
        )
        try:
            server.run(sockets=[listening])
        finally:
            gc.unfreeze()  # libraries report objects that are never collected as leaks
        _LOG.info("stopped by %s; the event log is closed", server.stopped_by)


def build_service(
    snapshot: Snapshot, study: Study, paths: StudyPaths, replica: str | None = None
) -> Service:
    """A service with an open event log and the events of the deduplication window.

    Raises:
        LogError: if another server writes to the same folder.
        StudyError: if the replica's name is not valid.
    """
    config, log = study.serving, paths.root / study.serving.log_path
    folder = replica_folder(log, replica)
    metrics = ServerMetrics()
    sink = open_kafka(config.kafka, metrics.kafka_rows_lost.inc) if config.kafka else None
    with one_start_at_a_time(log):
        event_log = EventLogWriter(folder, config, sink=sink, observe=metrics.observe_commit)
        removed = event_log.removed | close_abandoned(log)
    if removed:
        metrics.removed_log_lines.inc(lines := sum(removed.values()))
        _LOG.warning("removed %d incomplete lines after a crash: %s", lines, named(removed))
    deduplicator = EventDeduplicator(config.dedup_window_hours)
    if skipped := deduplicator.load(folder, time.time_ns() // 1_000_000):
        metrics.skipped_log_lines.inc(lines := sum(skipped.values()))
        _LOG.warning("skipped %d lines that are no events, in %s", lines, named(skipped))
    return Service(
        snapshot, config, event_log=event_log, deduplicator=deduplicator, metrics=metrics
    )


class _Server(uvicorn.Server):
    """Exits with 0 after SIGTERM; uvicorn would raise the signal again."""

    def __init__(self, config: uvicorn.Config, *, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopped_by = "request"
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests; from here on, signals stop the server gracefully."""
        await super().startup(sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; remembers the signal."""
        self.stopped_by = signal.Signals(sig).name
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the server after running requests; a second one at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror or error}; choose another"
        raise StudyError(msg) from error
    limit_kernel_buffers(listening)
    return listening


def _address(listening: socket.socket) -> str:
    address, port = listening.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _read_key() -> str | None:
    key = os.environ.get(SERVING_KEY)
    if key is not None and len(key) < _MIN_KEY_LENGTH:
        msg = f"{SERVING_KEY} has {len(key)} characters; expected {_MIN_KEY_LENGTH} or more"
        raise StudyError(msg)
    return key


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

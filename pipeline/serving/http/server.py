"""One process: loads the study, listens, and follows the study's changes."""

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import torch
import uvicorn
from fastapi import FastAPI

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, StudyError
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import EventLogWriter
from pipeline.serving.event_log.kafka_sink import open_kafka
from pipeline.serving.event_log.rotating_files import Rotation
from pipeline.serving.http.app import build_app
from pipeline.serving.http.prometheus import ServerMetrics
from pipeline.serving.http.service import Service
from pipeline.serving.ranking.snapshot import (
    Snapshot,
    check_compatible,
    file_fingerprint,
    load_snapshot,
)
from pipeline.study import PARAMS_FILE, Study, load_study

KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the key, if requests need one."""

LOCAL = "127.0.0.1"

_LOG = logging.getLogger(__name__)
_BACKLOG = 2048
_GRACE_SECONDS = 30
_SHORTEST_KEY = 16


def serve(study: Study, paths: StudyPaths, *, host: str = LOCAL, port: int = 8350) -> None:
    """Answer requests until the process is told to end; port 0 is any that is free.

    Raises:
        MissingArtifact: if the study is not finished.
        StudyError: if the address cannot be used, or the key is too short.
        LogError: if another server writes the same log.
    """
    key = _key()
    if key is None and not _is_local(host):
        _LOG.warning("%s is reached from elsewhere, and there is no key in %s", host, KEY)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    torch.set_num_threads(study.serving.threads)
    seen = file_fingerprint(study, paths)
    snapshot = load_snapshot(study, paths)
    _warn_of_unknown(snapshot)
    with _listen(host, port) as listening:
        service = build_service(snapshot, study, paths)
        follower = StudyWatcher(service, study, paths, seen)
        config = uvicorn.Config(
            build_app(service, key=key, background=follower.run),
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        _LOG.info(
            "serving %s with model %s on %s",
            snapshot.plan.experiment,
            snapshot.version,
            _address(listening),
        )
        gc.collect()
        gc.freeze()  # what is loaded stays: to look through it again and again holds requests up
        _Server(config).run(sockets=[listening])


def build_service(snapshot: Snapshot, study: Study, paths: StudyPaths) -> Service:
    """The service with its log opened, and the events of its last hours known.

    Raises:
        LogError: if another server writes the same log.
    """
    section = study.serving
    folder = paths.root / section.log_path
    metrics = ServerMetrics()
    sink = open_kafka(section.kafka, metrics.not_copied.inc) if section.kafka else None
    journal = EventLogWriter(folder, Rotation.of(section), sink=sink, observe=metrics.observe_commit)
    metrics.cut_lines.inc(journal.cut_lines)
    repeats = EventDeduplicator(section.dedup_window_hours)
    repeats.load(folder, time.time_ns() // 1_000_000)
    return Service(snapshot, section, journal=journal, repeats=repeats, metrics=metrics)


class StudyWatcher:
    """Takes over a new model, plan or rule when the study's files change, or at SIGHUP."""

    def __init__(
        self, service: Service, study: Study, paths: StudyPaths, seen: tuple[object, ...]
    ) -> None:
        self._service = service
        self._study = study
        self._paths = paths
        self._seen = seen
        self._told = asyncio.Event()

    @asynccontextmanager
    async def run(self, _app: FastAPI) -> AsyncIterator[None]:
        """Look at the study now and then."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._told.set)
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            loop.remove_signal_handler(signal.SIGHUP)

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), self._study.serving.reload_seconds)
            told = self._told.is_set()
            self._told.clear()
            if told or file_fingerprint(self._study, self._paths) != self._seen:
                await self._reload()

    async def _reload(self) -> None:
        """Serve what the study says now; what cannot be served leaves all as it is.

        Files that change while they are read are looked at again the next time.
        """
        before = file_fingerprint(self._study, self._paths)
        try:
            study, snapshot, seen = await asyncio.to_thread(self._load)
            check_compatible(self._service.snapshot, snapshot)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old is served
            strange = not isinstance(error, (*USER_ERRORS, OSError))
            self._service.metrics.reloads.labels("refused").inc()
            self._seen = before
            _LOG.error("the study was not taken over: %s", error, exc_info=strange)
            return
        self._study, self._seen = study, seen
        self._service.swap_snapshot(snapshot)
        self._service.metrics.reloads.labels("taken over").inc()
        _warn_of_unknown(snapshot)
        _LOG.info(
            "now serving %s with model %s, rules %s",
            snapshot.plan.experiment,
            snapshot.version,
            snapshot.rules.version,
        )

    def _load(self) -> tuple[Study, Snapshot, tuple[object, ...]]:
        study = load_study(self._paths.root / PARAMS_FILE)
        paths = StudyPaths.of(study, self._paths.root)
        seen = file_fingerprint(study, paths)
        snapshot = load_snapshot(study, paths)
        if file_fingerprint(study, paths) != seen:
            msg = "its files changed while they were read; it is looked at again"
            raise StudyError(msg)
        return study, snapshot, seen


class _Server(uvicorn.Server):
    """Ends in peace: uvicorn's own raises the signal again when all is done."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server after the requests under way; a second one at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror or error}; choose another"
        raise StudyError(msg) from error


def _address(listening: socket.socket) -> str:
    address, port = listening.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _key() -> str | None:
    key = os.environ.get(KEY)
    if key is not None and len(key) < _SHORTEST_KEY:
        msg = f"the key in {KEY} is shorter than {_SHORTEST_KEY} characters; make a longer one"
        raise StudyError(msg)
    return key


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_of_unknown(snapshot: Snapshot) -> None:
    if snapshot.rules.unknown_items:
        _LOG.warning(
            "%d items that rules and filters name are not in the catalogue", snapshot.rules.unknown_items
        )

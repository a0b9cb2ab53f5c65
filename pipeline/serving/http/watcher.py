"""Follows the files of a study while it is served: its snapshot, and the rollout of a release."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from fastapi import FastAPI

from pipeline.artifacts.file_state import file_state
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, StudyError
from pipeline.core.sections import SERVED_SECTIONS
from pipeline.experiment.design.plan_checks import check_not_running
from pipeline.rollout.events import Actor
from pipeline.rollout.operations import blow_fuse
from pipeline.rollout.served import read_served, served_file
from pipeline.rollout.store import Author
from pipeline.serving.http.service import Service
from pipeline.serving.ranking.snapshot import (
    Snapshot,
    file_fingerprint,
    load_snapshot,
    record_index,
    served_indexes,
    with_rollout,
)
from pipeline.study import Study, load_study

_LOG = logging.getLogger(__name__)

_LOW_RECALL = 0.95
"""Below, the server warns of lists from an index."""


class StudyWatcher:
    """Loads a snapshot when the study's files change or at SIGHUP, and follows ``rollout.json``.

    A snapshot is loaded in a task of its own, so that a rollback never waits for it.
    """

    def __init__(
        self, service: Service, study: Study, paths: StudyPaths, fingerprint: tuple[object, ...]
    ) -> None:
        self._service = service
        self._study = study
        self._paths = paths
        self._fingerprint = fingerprint
        self._rollout_file: object = None
        self._swapping = asyncio.Lock()
        self._wake = asyncio.Event()
        self._is_requested = False
        self._reloading: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def run(self, _app: FastAPI) -> AsyncIterator[None]:
        """Watch the study while the application runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._request)
        self._service.fuse.on_blow = self._wake.set
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            if self._reloading is not None:
                self._reloading.cancel()
            loop.remove_signal_handler(signal.SIGHUP)

    def _request(self) -> None:
        self._is_requested = True
        self._wake.set()

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._study.serving.reload_seconds)
            self._wake.clear()
            if self._service.fuse.is_unwritten:
                await self._write_fuse()
            if file_state(served_file(self._paths)) != self._rollout_file:
                await self._swap()
            if self._reloading is not None and not self._reloading.done():
                continue
            is_requested, self._is_requested = self._is_requested, False
            if is_requested or self._fingerprint_now(self._study) != self._fingerprint:
                self._reloading = asyncio.create_task(self._reload())

    async def _write_fuse(self) -> None:
        """Put the blown fuse into the audit trail; until then it is tried at every check.

        A reload can bring another release meanwhile: the event is not that of its fuse.
        """
        fuse, rollout = self._service.fuse, self._service.snapshot.rollout
        if rollout is None or fuse.blown_by is None:
            return
        author = Author(by=Actor.ENDPOINT, who=f"process {os.getpid()} on {socket.gethostname()}")
        _LOG.error("the incumbent is served to everybody: %s", fuse.blown_by)
        try:
            after = await asyncio.to_thread(
                blow_fuse, self._paths, rollout.release, author, fuse.blown_by, fuse.evidence
            )
        except (*USER_ERRORS, OSError) as error:
            _LOG.error("the audit trail does not say so yet: %s", error)
        else:
            served = self._service.snapshot.rollout
            if served is not None and served.release == rollout.release:
                fuse.written(after.seq)

    async def _swap(self, loaded: Snapshot | None = None) -> None:
        """Serve a loaded snapshot, or that which is served, with the rollout as it is now."""
        async with self._swapping:
            state = file_state(served_file(self._paths))
            snapshot = loaded or self._service.snapshot
            followed = await asyncio.to_thread(self.with_current_rollout, snapshot, self._study)
            self._service.swap_snapshot(followed)
            self._rollout_file = state

    def with_current_rollout(self, snapshot: Snapshot, study: Study) -> Snapshot:
        """The snapshot with the arms of ``rollout.json``, under the rules of ``study``.

        With the arms as they are served if one cannot be loaded again, without the candidate if it cannot be
        loaded at all, and with the rollout that is served if the file cannot be read.
        """
        try:
            rollout = read_served(self._paths)
        except USER_ERRORS as error:
            self._report("the rollout stays as it is served", error)
            rollout = self._service.snapshot.rollout
        if rollout is not None:
            before = self._service.snapshot
            for wanted, served in (
                (rollout, None),
                (rollout, before),
                (replace(rollout, share=0.0), before),
            ):
                try:
                    return with_rollout(snapshot, study, self._paths, wanted, served)
                except Exception as error:  # noqa: BLE001 - on any error, the incumbent is served
                    self._report("an arm of the rollout is not served", error)
        return with_rollout(snapshot, study, self._paths, None)

    async def _reload(self) -> None:
        """Load and serve the current files; on an error, keep serving the old snapshot.

        Files that change during the reload are reloaded at the next check.
        """
        before = self._fingerprint_now(self._study)
        try:
            study, snapshot, fingerprint = await asyncio.to_thread(self._load)
            check_not_running(self._service.snapshot.plan, snapshot.plan)
        except Exception as error:  # noqa: BLE001 - on any error, the old snapshot is served
            self._fingerprint = before
            self._report("the old snapshot stays", error)
            return
        self._study, self._fingerprint = study, fingerprint
        await self._swap(snapshot)
        await asyncio.to_thread(record_index, snapshot, self._paths)
        self._service.metrics.reloads.labels("succeeded").inc()
        warn_of_unknown_items(snapshot)
        log_served(self._service.snapshot, "after a reload")

    def _load(self) -> tuple[Study, Snapshot, tuple[object, ...]]:
        study = load_study(self._paths.params_file, touched=SERVED_SECTIONS)
        paths = StudyPaths(self._paths.root, study.study.name, self._paths.params)
        rollout = self._service.snapshot.rollout
        fingerprint = file_fingerprint(study, paths, rollout)
        snapshot = load_snapshot(study, paths)
        if file_fingerprint(study, paths, rollout) != fingerprint:
            msg = "files changed during the reload; it will be repeated"
            raise StudyError(msg)
        return study, self.with_current_rollout(snapshot, study), fingerprint

    def _fingerprint_now(self, study: Study) -> tuple[object, ...]:
        return file_fingerprint(study, self._paths, self._service.snapshot.rollout)

    def _report(self, outcome: str, error: Exception) -> None:
        is_unexpected = not isinstance(error, (*USER_ERRORS, OSError))
        self._service.metrics.reloads.labels("failed").inc()
        _LOG.error("reload failed, %s: %s", outcome, error, exc_info=is_unexpected)


def log_served(snapshot: Snapshot, where: str) -> None:
    """Say what is served."""
    _LOG.info(
        "serving experiment %s with model %s, rules %s %s",
        snapshot.plan.experiment,
        snapshot.model.version,
        snapshot.model.rules.version,
        where,
    )
    for found in served_indexes(snapshot):
        recall = ", ".join(f"{name} {value:.3f}" for name, value in found.recall.items())
        _LOG.info(
            "lists from %s; recall@20 on %d test sessions: %s", found.index, found.sessions, recall
        )
        if (lowest := min(found.recall.values())) < _LOW_RECALL:
            _LOG.warning(
                "recall@20 of the index is %.3f at its lowest: groups differ by the index, too; with serving.index: "
                "null lists are exact",
                lowest,
            )


def warn_of_unknown_items(snapshot: Snapshot) -> None:
    """Say how many items of rules and filters the catalogue lacks."""
    models = {id(arm.model): arm.model for arm in snapshot.arms.values()}
    if unknown := sum(one.rules.unknown_items for one in models.values()):
        _LOG.warning("%d items of rules and filters are not in the catalogue", unknown)

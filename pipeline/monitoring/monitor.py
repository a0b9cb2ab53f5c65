"""The monitor of a study: looks at the log again and again, and publishes what it finds."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import polars as pl

from pipeline.artifacts.lock import file_lock
from pipeline.artifacts.storage import StudyPaths, atomic_file
from pipeline.core.contracts import Kpi
from pipeline.core.errors import USER_ERRORS, StudyError
from pipeline.experiment.design.traffic_plan import TrafficPlan, read_plan
from pipeline.monitoring.alarms import Alarm, AlertName, overlap_alarms
from pipeline.monitoring.alert_book import AlertBook, Send
from pipeline.monitoring.calibrations import calibration_table
from pipeline.monitoring.evaluate import Findings, Watched, evaluate
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.follower import Follower, LogRules
from pipeline.monitoring.following.outcomes import Windows, known_kpis
from pipeline.monitoring.following.sums import DATABASE, hourly_table
from pipeline.monitoring.metrics_page import MetricsPage, Page
from pipeline.monitoring.panel import PanelSession, compare
from pipeline.monitoring.statistics.silence import HOUR_SECONDS
from pipeline.monitoring.status import (
    MonitorStatus,
    monitoring_folder,
    status_of,
    write_status,
)
from pipeline.reporting.webhook import WEBHOOK_VARIABLE, send_message
from pipeline.study import Study

TABLE = "monitoring.parquet"
_LOCK = ".lock"
_LOG = logging.getLogger(__name__)

Panel = Callable[[], Sequence[PanelSession]]
"""Makes the panel of the current model, plan and rules; cached by whoever makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look.

    Attributes:
        rows: New rows of the log.
        findings: What the sums say.
        status: What is published of it, with the alerts that are on.
    """

    rows: int
    findings: Findings
    status: MonitorStatus


class Monitor:
    """Looks at one study's log. Use :func:`open_monitor`."""

    def __init__(
        self,
        database: Database,
        study: Study,
        paths: StudyPaths,
        *,
        panel: Panel | None = None,
        send: Send | None = None,
    ) -> None:
        self._database = database
        self._study = study
        self._paths = paths
        self._panel = panel
        self._folder = monitoring_folder(paths)
        self._book = AlertBook(
            database,
            self._folder,
            study=study.study.name,
            cooldown_seconds=3600 * study.monitoring.cooldown_hours,
            send=send,
        )
        self._kpis = known_kpis(has_revenue=study.serving.orders_have_revenue)
        self.metrics = MetricsPage()

    def look(self, now: float) -> Look:
        """Read what is new, evaluate it, and publish metrics, alerts, status and, once an hour, the table.

        Raises:
            DataError: if the database is damaged or locked.
            MissingArtifact, LogError: if the plan is missing or damaged.
        """
        with self._database.errors():
            return self._look(now)

    def _look(self, now: float) -> Look:
        plan = read_plan(self._paths)
        follower = self._follower(plan)
        rows = follower.look(now)
        findings = evaluate(self._database, self._watched(plan), now=now, written=follower.written)
        overlaps, of_panel = self._compare()
        active = self._book.update([*findings.alarms, *of_panel], now)
        self.metrics.page = Page(findings=findings, plan=plan, overlaps=overlaps, active=active)
        status = status_of(findings, self._study, plan.experiment, overlaps=overlaps, alerts=active)
        write_status(status, self._paths)
        self._write_table_hourly(now)
        return Look(rows=rows, findings=findings, status=status)

    def write_table(self) -> None:
        """Write the table of hours, and of days with predicted clicks."""
        hours = hourly_table(self._database, self._kpis)
        days = calibration_table(self._database, read_plan(self._paths).experiment)
        with atomic_file(self._folder / TABLE) as file:
            pl.concat([hours, days]).write_parquet(file)

    def _follower(self, plan: TrafficPlan) -> Follower:
        experiment = self._study.experiment
        rules = LogRules(
            windows=Windows.of(experiment.attribution_hours, experiment.clock_tolerance_seconds),
            forced=dict(plan.forced_assignment),
        )
        return Follower(self._database, self._paths.root / self._study.serving.log_path, rules)

    def _watched(self, plan: TrafficPlan) -> Watched:
        experiment = self._study.experiment
        planning = experiment.planning
        users = planning.returning_users + planning.new_users_per_day * experiment.days
        return Watched(
            plan=plan,
            kpis=self._kpis,
            dropped=[Kpi.CTR.value, *([Kpi.CVR.value] if plan.has_orders else [])],
            planned_users=users,
            silence_minutes=self._study.monitoring.silence_minutes,
        )

    def _compare(self) -> tuple[dict[str, float], list[Alarm]]:
        """The panel's overlaps, and the alarms; no panel without an address of the endpoint."""
        address = self._study.monitoring.endpoint
        if address is None or self._panel is None:
            return {}, []
        try:
            overlaps = compare(address, self._panel())
        except USER_ERRORS as error:
            alarm = Alarm(
                name=AlertName.PANEL_FAILED,
                subject="",
                text=f"the panel cannot be compared: {error}",
                value=0.0,
                limit=1.0,
            )
            return {}, [alarm]
        return overlaps, overlap_alarms(overlaps)

    def _write_table_hourly(self, now: float) -> None:
        hour = int(now) // HOUR_SECONDS
        if self._database.get("table_hour") != hour:
            self.write_table()
            with self._database.transaction():
                self._database.put("table_hour", hour)


@contextmanager
def open_monitor(
    study: Study, paths: StudyPaths, *, panel: Panel | None = None
) -> Iterator[Monitor]:
    """The only monitor of a study; the webhook is used if its address is set.

    Raises:
        StudyError: if another monitor of the study is running.
        DataError: if the database is damaged.
        StorageError: if the folder cannot be written.
    """
    folder = monitoring_folder(paths)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / _LOCK, waits=False))
        except BlockingIOError as error:
            msg = f"another monitor of this study is running (it holds {folder / _LOCK}); stop it first"
            raise StudyError(msg) from error
        database = stack.enter_context(closing(Database.open(folder / DATABASE)))
        send = send_message if os.environ.get(WEBHOOK_VARIABLE) else None
        yield Monitor(database, study, paths, panel=panel, send=send)


def run(monitor: Monitor, *, interval: float, stop: threading.Event) -> None:
    """Look every ``interval`` seconds until ``stop`` is set; an error ends a look, not the monitor."""
    while True:
        started = time.monotonic()
        try:
            found = monitor.look(time.time())
            if found.rows:
                _LOG.debug("%d new rows", found.rows)
        except (*USER_ERRORS, OSError) as error:
            _LOG.error("the look failed, the next one is tried: %s", error)
        if stop.wait(max(interval - (time.monotonic() - started), 0.0)):
            return

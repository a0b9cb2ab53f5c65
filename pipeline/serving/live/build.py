"""Builds the live page's view from the files, the endpoint and the time."""

from datetime import UTC, datetime

from pipeline.core.labels import counted
from pipeline.monitoring.status import MonitorStatus
from pipeline.reporting.text.formatting import percent_trimmed
from pipeline.rollout.fold import Rollout
from pipeline.serving.live.files import MOST_EVENTS, LiveFiles
from pipeline.serving.live.monitor_view import (
    alert_rows,
    clicks_rows,
    kpi_cards,
    log_view,
    split_view,
)
from pipeline.serving.live.rollout_view import history, rollout_view
from pipeline.serving.live.view import Endpoint, LiveView, Note, RolloutView, SplitView, Tile
from pipeline.serving.live.words import age, ago, capitalised

MONITOR = "paretoscope monitor"

_LATE_LOOKS = 3
"""Looks that may be missing before the page says that the monitor has stopped."""

_LEAST_LATE_SECONDS = 60.0


def build_view(files: LiveFiles, endpoint: Endpoint, now: datetime) -> LiveView:
    """The page at a time."""
    seconds, status, rollout = now.timestamp(), files.status, files.rollout
    split = split_view(status, endpoint.preferences) if status else None
    released = rollout_view(rollout, files.decision, endpoint, now) if rollout else None
    return LiveView(
        at=now.astimezone(UTC),
        endpoint=endpoint,
        headline=_headline(files, endpoint, seconds),
        notes=_notes(files, endpoint, seconds),
        tiles=[
            _data_tile(status, seconds),
            _users_tile(status),
            _split_tile(status, split),
            _rollout_tile(rollout, released, endpoint, now),
        ],
        alerts=alert_rows(status, seconds) if status else [],
        rollout=released,
        split=split,
        kpis=kpi_cards(status, rollout) if status else [],
        clicks=clicks_rows(status) if status else [],
        log=log_view(status) if status else None,
        history=history(rollout, files.alerts, now, MOST_EVENTS),
    )


def _headline(files: LiveFiles, endpoint: Endpoint, now: float) -> Note:
    """The worst of what is known."""
    status = files.status
    alerts = len(status.alerts) if status else 0
    if endpoint.problems:
        return Note(tone="bad", text="The endpoint is failing")
    if endpoint.fuse:
        return Note(tone="bad", text="The fuse has blown: everybody is served the incumbent")
    if status and _is_late(status, now):
        text = f"Nobody has been watching for {age(now - status.at)}"
        return Note(tone="bad" if alerts else "warn", text=text)
    if alerts:
        is_are = "is" if alerts == 1 else "are"
        return Note(tone="bad", text=f"{counted(alerts, 'alert')} {is_are} open")
    if files.problems or status is None:
        text = "A file cannot be read" if files.problems else "Nobody is watching"
        return Note(tone="warn", text=text)
    return Note(tone="good", text="No alert is open")


def _notes(files: LiveFiles, endpoint: Endpoint, now: float) -> list[Note]:
    """What is missing, old, of something else or damaged."""
    notes = [Note(tone="bad", text=f"{capitalised(problem)}.") for problem in endpoint.problems]
    notes += [Note(tone="bad", text=f"{problem}.") for problem in files.problems]
    if files.rollout is None and endpoint.served_share:
        text = (
            f"The endpoint serves a candidate to {percent_trimmed(endpoint.served_share)} of the users, but its events "
            "cannot be read. To serve the incumbent to everybody:"
        )
        notes.append(Note(tone="bad", text=text, command="paretoscope rollout rollback"))
    status = files.status
    if status is None:
        text = f"No look of a monitor at study {endpoint.study} is known. Start it in the endpoint's project:"
        return [*notes, Note(tone="warn", text=text, command=MONITOR)]
    if _is_late(status, now):
        text = (
            f"The monitor last looked {ago(now - status.at)}; while it runs, it looks every "
            f"{age(status.interval_seconds)}. Users, KPIs and alerts below are of that time. Start it again:"
        )
        notes.append(Note(tone="warn", text=text, command=MONITOR))
    if (status.study, status.experiment) != (endpoint.study, endpoint.experiment):
        text = (
            f"The monitor's last look was at experiment {status.experiment} of study {status.study}, but this "
            f"endpoint serves experiment {endpoint.experiment} of study {endpoint.study}. Users and KPIs below "
            "are of the former. Start the monitor again in the endpoint's project:"
        )
        notes.append(Note(tone="bad", text=text, command=MONITOR))
    return notes


def _is_late(status: MonitorStatus, now: float) -> bool:
    return now - status.at > max(_LATE_LOOKS * status.interval_seconds, _LEAST_LATE_SECONDS)


def _data_tile(status: MonitorStatus | None, now: float) -> Tile:
    if status is None:
        return Tile(label="Data", value="unknown", detail="no look of a monitor", tone="warn")
    looked = f"looked {ago(now - status.at)}"
    if status.written is None:
        return Tile(label="Newest list", value="none yet", detail=looked, tone="warn")
    label, tone = (
        ("Newest list seen", "warn") if _is_late(status, now) else ("Newest list", "plain")
    )
    return Tile(label=label, value=ago(now - status.written), detail=looked, tone=tone)


def _users_tile(status: MonitorStatus | None) -> Tile:
    found = status.sample_ratio if status else None
    if found is None:
        return Tile(label="Users", value="none yet", detail="in the groups")
    total = sum(found.users.values())
    return Tile(
        label="Users", value=f"{total:,}", detail=f"in {counted(len(found.users), 'group')}"
    )


def _split_tile(status: MonitorStatus | None, split: SplitView | None) -> Tile:
    if status is None or split is None or status.sample_ratio is None:
        return Tile(label="Split", value="unknown", detail="no users yet")
    value = "mismatch" if split.tone == "bad" else "as planned"
    detail = f"e-value {status.sample_ratio.e_value:.3g}"
    return Tile(label="Split", value=value, detail=detail, tone=split.tone)


def _rollout_tile(
    rollout: Rollout | None, view: RolloutView | None, endpoint: Endpoint, now: datetime
) -> Tile:
    if (rollout is None or view is None) and endpoint.served_share:
        detail = f"a candidate to {percent_trimmed(endpoint.served_share)} of the users"
        return Tile(label="Rollout", value="unknown", detail=detail, tone="bad")
    if rollout is None or view is None:
        return Tile(label="Rollout", value="none", detail="the incumbent is served")
    since = ago((now - rollout.events[-1].ts).total_seconds())
    detail = f"candidate to {percent_trimmed(rollout.share)} of the users; {since}"
    if rollout.stage is not None and rollout.state.is_live:
        days = (now - rollout.stage_starts[-1]).total_seconds() / 86_400
        detail = f"{percent_trimmed(rollout.share)} of the users, {days:.1f} of {counted(rollout.stage.days, 'day')}"
    return Tile(label="Rollout", value=view.state, detail=detail, tone=view.tone)

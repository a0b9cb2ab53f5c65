"""Alerts over time: grace before they fire, reminders after a cooldown, and the all-clear.

State and history are in the monitor's database; ``alerts.jsonl`` is its copy for other programs, and
messages go to the webhook. Both are caught up with after a failure, so nothing is lost or repeated.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import StudyError
from pipeline.monitoring.alarms import Alarm, AlertName
from pipeline.monitoring.following.database import Database

GRACE_SECONDS = 45.0
"""An alarm fires if it is still there after that time: at the second look, by default."""

CLEAR_SECONDS = 300.0
"""An alert ends if there was no alarm for that time."""

ALERTS = "alerts.jsonl"

_LOG = logging.getLogger(__name__)
_STATE = "alerts"

Send = Callable[[Iterable[str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveAlert:
    """An alert that has not ended.

    Attributes:
        alarm: As last seen.
        since: When it was first seen, in seconds since 1970.
        seen: When it was last seen.
        reported: When it was last reported; None during its grace.
    """

    alarm: Alarm
    since: float
    seen: float
    reported: float | None = None


class AlertBook:
    """The alerts in a database.

    Args:
        database: The monitor's.
        folder: Where ``alerts.jsonl`` is written.
        study: Name of the study, for messages.
        cooldown_seconds: Time between two reports of an alert that is still on.
        send: Sends a message; None without a webhook.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        study: str,
        cooldown_seconds: float,
        send: Send | None,
    ) -> None:
        self._database = database
        self._file = folder / ALERTS
        self._study = study
        self._cooldown = cooldown_seconds
        self._send = send

    def update(self, alarms: Sequence[Alarm], now: float) -> tuple[ActiveAlert, ...]:
        """Record the alarms of a look; returns the alerts that have fired and not ended."""
        active = self._active()
        current = {f"{one.name}|{one.subject}": one for one in alarms}
        with self._database.transaction():
            for key, alarm in current.items():
                known = active.get(key) or ActiveAlert(alarm=alarm, since=now, seen=now)
                active[key] = self._report_if_due(known, alarm, now)
            for key in [key for key in active if key not in current]:
                if active[key].reported is None:
                    del active[key]  # was gone within its grace
                elif now - active[key].seen >= CLEAR_SECONDS:
                    self._record(active.pop(key), "resolved", now)
            self._database.put(_STATE, {key: asdict(one) for key, one in active.items()})
        self._write_file()
        self._send_unsent()
        return tuple(one for one in active.values() if one.reported is not None)

    def _report_if_due(self, known: ActiveAlert, alarm: Alarm, now: float) -> ActiveAlert:
        reported = known.reported
        is_due = (
            now - known.since >= GRACE_SECONDS
            if reported is None
            else now - reported >= self._cooldown
        )
        updated = ActiveAlert(
            alarm=alarm, since=known.since, seen=now, reported=now if is_due else reported
        )
        if is_due:
            self._record(updated, "firing" if reported is None else "still firing", now)
        return updated

    def _record(self, alert: ActiveAlert, state: str, now: float) -> None:
        content = {
            "ts": _time(now),
            "state": state,
            "alert": str(alert.alarm.name),
            "subject": alert.alarm.subject,
            "since": _time(alert.since),
            "value": alert.alarm.value,
            "limit": alert.alarm.limit,
            "text": alert.alarm.text,
            "runbook": f"docs/runbooks/{alert.alarm.name}.md",
        }
        self._database.connection.execute(
            "INSERT INTO alerts (content, sent) VALUES (?, ?)",
            (json.dumps(content, ensure_ascii=False), int(self._send is None)),
        )

    def _active(self) -> dict[str, ActiveAlert]:
        return {key: _alert(one) for key, one in self._database.get(_STATE, {}).items()}

    def _write_file(self) -> None:
        """Append the alerts that the file lacks; a line that a crash has cut is completed.

        A file of another database, which was deleted, is kept under the time of its last alert.
        """
        rows = self._database.connection.execute("SELECT content FROM alerts ORDER BY id")
        whole = "".join(f"{content}\n" for (content,) in rows).encode()
        found = self._file.read_bytes() if self._file.exists() else b""
        if not whole.startswith(found):
            written = datetime.fromtimestamp(self._file.stat().st_mtime, UTC)
            self._file.rename(self._file.with_stem(f"alerts-{written:%Y%m%dT%H%M%S}"))
            found = b""
        if found != whole:
            with self._file.open("ab") as stream:
                stream.write(whole[len(found) :])
                stream.flush()
                os.fsync(stream.fileno())

    def _send_unsent(self) -> None:
        if self._send is None:
            return
        rows = self._database.connection.execute(
            "SELECT id, content FROM alerts WHERE NOT sent ORDER BY id"
        ).fetchall()
        for number, content in rows:
            try:
                self._send(_message(self._study, json.loads(content)))
            except StudyError as error:
                _LOG.warning(
                    "an alert is not delivered, it is tried again at the next look: %s", error
                )
                return
            with self._database.transaction():
                self._database.connection.execute(
                    "UPDATE alerts SET sent = 1 WHERE id = ?", (number,)
                )


def _message(study: str, found: dict[str, Any]) -> list[str]:
    name = " ".join(part for part in (found["alert"], found["subject"]) if part)
    head = f"Paretoscope, {study}: {name} {found['state']}"
    return [head, found["text"], f"since {found['since']}; what to do: {found['runbook']}"]


def _alert(values: dict[str, Any]) -> ActiveAlert:
    """Read back what was stored."""
    alarm = values["alarm"]
    return ActiveAlert(
        alarm=Alarm(**alarm | {"name": AlertName(alarm["name"])}),
        since=values["since"],
        seen=values["seen"],
        reported=values["reported"],
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

"""The files of the monitor and of the rollout that the live page shows, read when they change."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, DataError
from pipeline.monitoring.alert_history import AlertRecord, alerts_file, read_last_alerts
from pipeline.monitoring.status import STATUS, MonitorStatus, monitoring_folder, read_status
from pipeline.rollout.decisions.recorded import RecordedDecision, decision_file, read_decision
from pipeline.rollout.fold import Rollout
from pipeline.rollout.served import served_file
from pipeline.rollout.store import current_rollout, events_file, releases, verify_rollouts
from pipeline.serving.ranking.snapshot import file_state

MOST_EVENTS = 12
"""Events and alerts that the page shows at most."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFiles:
    """The content of the files.

    Attributes:
        status: The monitor's last look; None without one.
        alerts: What it has reported last, oldest first.
        rollout: The release under way, or the last one; None without any.
        decision: The last decision on it; None without one.
        problems: Files that cannot be read, and what to type.
    """

    status: MonitorStatus | None
    alerts: tuple[AlertRecord, ...]
    rollout: Rollout | None
    decision: RecordedDecision | None
    problems: tuple[str, ...]


class FileCache:
    """Reads the files of a study; those that have not changed are not read again. Not for threads at once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, Any]] = {}
        self._problems: list[str] = []

    def read(self, paths: StudyPaths) -> LiveFiles:
        """What the files say now; a file that is missing or damaged takes nothing else away."""
        self._problems = []
        status_file = monitoring_folder(paths) / STATUS
        status = self._of("status", [status_file], lambda: read_status(paths), None)
        alerts = self._of(
            "alerts", [alerts_file(paths)], lambda: read_last_alerts(paths, MOST_EVENTS), ()
        )
        rollout = self._rollout(paths)
        decision = None
        if rollout is not None:
            name = rollout.release
            decision = self._of(
                "decision", [decision_file(paths, name)], lambda: read_decision(paths, name), None
            )
        return LiveFiles(
            status=status,
            alerts=alerts,
            rollout=rollout,
            decision=decision,
            problems=tuple(dict.fromkeys(self._problems)),
        )

    def _rollout(self, paths: StudyPaths) -> Rollout | None:
        try:
            files = [events_file(paths, name) for name in releases(paths)]
        except OSError as error:
            self._problems.append(f"the rollout's folder cannot be read: {error.strerror}")
            return None
        chain = [*files, served_file(paths)]
        self._problems += self._of("chain", chain, lambda: verify_rollouts(paths), [])
        return self._of("rollout", chain, lambda: current_rollout(paths), None)

    def _of(self, name: str, files: Sequence[Path], read: Callable[[], T], without: T) -> T:
        """The content of files, read again if they have changed; ``without`` if they cannot be read."""
        state, kept = tuple(map(file_state, files)), self._kept.get(name)
        found: T | Exception
        if kept is not None and kept[0] == state:
            found = kept[1]
        else:
            try:
                _check_readable(files)
                found = read()
            except (*USER_ERRORS, OSError) as error:
                found = error
            self._kept[name] = (state, found)
        if isinstance(found, Exception):
            self._problems.append(str(found))
            return without
        return found


def _check_readable(files: Sequence[Path]) -> None:
    """Raise for a pipe or a device, which reading would wait for without an end."""
    for file in files:
        if file.exists() and not (file.is_file() or file.is_dir()):
            msg = f"{file} is neither a file nor a folder; move it away"
            raise DataError(msg)

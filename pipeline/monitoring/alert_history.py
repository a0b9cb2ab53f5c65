"""Reads ``alerts.jsonl``: what :class:`~pipeline.monitoring.alert_book.AlertBook` has reported."""

import os
from datetime import datetime
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError
from pipeline.monitoring.alert_book import ALERTS
from pipeline.monitoring.status import monitoring_folder

_TAIL_BYTES = 65_536
"""At the end of the file; older alerts are not read."""


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(strict=True))
class AlertRecord:
    """One line: an alert that fires, is still on, or has ended.

    Attributes:
        ts: When it was reported.
        state: ``firing``, ``still firing`` or ``resolved``.
        alert: Name of the alert.
        subject: What it is about, such as a group and a KPI; may be empty.
        text: One sentence with the numbers.
    """

    ts: datetime
    state: str
    alert: str
    subject: str
    text: str


_RECORD = TypeAdapter(AlertRecord)


def alerts_file(paths: StudyPaths) -> Path:
    """The alerts of a study's monitor."""
    return monitoring_folder(paths) / ALERTS


def read_last_alerts(paths: StudyPaths, number: int) -> tuple[AlertRecord, ...]:
    """The last alerts, oldest first; a line that a crash has cut is left out.

    Raises:
        DataError: if one of them is damaged, or the file cannot be read.
    """
    file = alerts_file(paths)
    try:
        lines = _last_lines(file)[-number:]
        return tuple(_RECORD.validate_json(line) for line in lines)
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        msg = (
            f"{file.relative_to(paths.root)} cannot be read. The next look keeps it under another name and "
            "writes it again: paretoscope monitor"
        )
        raise DataError(msg) from error


def _last_lines(file: Path) -> list[bytes]:
    """The complete lines at the end of a file."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _TAIL_BYTES, 0))
        lines = stream.read().split(b"\n")[:-1]
    return lines if size <= _TAIL_BYTES else lines[1:]

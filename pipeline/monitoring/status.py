"""``status.json``: the last look of a study's monitor, for other programs such as the endpoint's live page."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from models.strict import STRICT, first_problem
from pipeline.artifacts.storage import StudyPaths, atomic_file
from pipeline.core.errors import DataError
from pipeline.monitoring.alarms import Alarm, SampleRatio
from pipeline.monitoring.alert_book import ActiveAlert
from pipeline.monitoring.evaluate import Findings
from pipeline.monitoring.following.rows import Slice
from pipeline.monitoring.statistics.calibration import Calibration
from pipeline.monitoring.statistics.lost_clicks import LostClicks
from pipeline.monitoring.statistics.rates import Band
from pipeline.study import Study

FOLDER = "monitoring"
STATUS = "status.json"

Seconds = Annotated[float, Interval(ge=0, lt=1e11)]
"""Since 1970."""


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KpiBand:
    """A KPI of a group, or of an arm in a stage, since the start.

    Attributes:
        experiment: Name of the experiment.
        group: The group; None for an arm.
        arm: ``incumbent`` or ``candidate``; None for a group.
        release: The release that is rolled out.
        stage: The stage of the rollout.
        kpi: The KPI.
        rate: Successes per trial.
        low: Anytime-valid lower limit, 95%.
        high: Its upper limit.
        users: Users with a trial.
    """

    experiment: str
    group: str | None
    arm: str | None
    release: str | None
    stage: str | None
    kpi: str
    rate: float
    low: float
    high: float
    users: int

    @classmethod
    def of(cls, part: Slice, kpi: str, band: Band) -> "KpiBand":
        """The band of a KPI of a slice."""
        return cls(**asdict(part), kpi=kpi, **asdict(band))


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RowCount:
    """Rows of a table of the log, since it was first read; the problem is empty for rows that count."""

    table: str
    problem: str
    rows: int


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HourlyLists:
    """Lists that count, in one hour since 1970 UTC."""

    hour: int
    lists: int


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MonitorStatus:
    """One look.

    Attributes:
        format: Of the file.
        study: Name of the study.
        experiment: Name of the experiment of its plan.
        at: Time of the look, in seconds since 1970.
        interval_seconds: Time to the next one, while the monitor runs.
        written: When impressions were last logged; None if never.
        kpis: KPIs with their bands.
        sample_ratio: Users of the groups against the plan; None without users.
        overlaps: Mean rank-biased overlap of the panel by group; empty without a panel.
        lost_clicks: Orders without a click on the last day that has enough orders, by group.
        calibrations: Clicks against predicted clicks on the last complete day, of all groups and of each.
        lists: Of the last 24 hours that have any.
        log_rows: Rows by table and problem.
        alarms: What was wrong with the log at this look.
        alerts: Alerts that have fired and not ended.
    """

    format: Literal[1] = 1
    study: str
    experiment: str
    at: Seconds
    interval_seconds: Annotated[float, Interval(gt=0, le=3600)]
    written: Seconds | None
    kpis: tuple[KpiBand, ...]
    sample_ratio: SampleRatio | None
    overlaps: dict[str, float]
    lost_clicks: tuple[LostClicks, ...]
    calibrations: tuple[Calibration, ...]
    lists: tuple[HourlyLists, ...]
    log_rows: tuple[RowCount, ...]
    alarms: tuple[Alarm, ...]
    alerts: tuple[ActiveAlert, ...]


_STATUS = TypeAdapter(MonitorStatus)


def monitoring_folder(paths: StudyPaths) -> Path:
    """Where a study's monitor keeps its database, table, status and alerts."""
    return paths.artifact(FOLDER)


def status_of(
    findings: Findings,
    study: Study,
    experiment: str,
    *,
    overlaps: Mapping[str, float],
    alerts: Iterable[ActiveAlert],
) -> MonitorStatus:
    """The status after a look.

    Args:
        findings: Of the look.
        study: The study.
        experiment: Name of the experiment of its plan.
        overlaps: Of the panel, by group.
        alerts: Alerts that have fired and not ended.
    """
    return MonitorStatus(
        study=study.study.name,
        experiment=experiment,
        at=findings.at,
        interval_seconds=study.monitoring.interval_seconds,
        written=findings.written or None,
        kpis=tuple(
            KpiBand.of(part, kpi, band)
            for part, by_kpi in findings.bands.items()
            for kpi, band in by_kpi.items()
        ),
        sample_ratio=findings.sample_ratio,
        overlaps=dict(overlaps),
        lost_clicks=tuple({one.group: one for one in findings.lost_clicks}.values()),
        calibrations=tuple(findings.calibrations),
        lists=tuple(HourlyLists(hour=hour, lists=n) for hour, n in findings.lists.items()),
        log_rows=tuple(
            RowCount(table=table, problem=problem, rows=n)
            for (table, problem), n in findings.rows.items()
        ),
        alarms=tuple(findings.alarms),
        alerts=tuple(alerts),
    )


def read_status(paths: StudyPaths) -> MonitorStatus | None:
    """The last look of a study's monitor; None if there was none.

    Raises:
        DataError: if the file is damaged.
    """
    file = monitoring_folder(paths) / STATUS
    try:
        return _STATUS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        problem = first_problem(error)
    except OSError as error:
        problem = str(error.strerror)
    msg = (
        f"{file.relative_to(paths.root)} cannot be read ({problem}). The next look writes it again: "
        "paretoscope monitor"
    )
    raise DataError(msg)


def write_status(status: MonitorStatus, paths: StudyPaths) -> None:
    """Replace the status atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    with atomic_file(monitoring_folder(paths) / STATUS) as file:
        file.write_bytes(orjson.dumps(status_dict(status)) + b"\n")


def status_dict(status: MonitorStatus) -> dict[str, Any]:
    """As plain values for JSON."""
    return _STATUS.dump_python(status, mode="json")

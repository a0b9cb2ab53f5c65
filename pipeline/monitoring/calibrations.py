"""The calibration of every model that was served to the groups, out of the monitor's database."""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from pipeline.core.contracts import DAY_MS
from pipeline.monitoring.following.click_cells import ClickCells, DayCells
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.sums import monitoring_frame
from pipeline.monitoring.statistics.calibration import (
    LEAST_CLICKS,
    LEAST_DAYS,
    MOST_DAYS,
    Calibration,
    calibration_of,
    day_sums,
    predicted_chances,
)

STATISTIC = "clicks_per_predicted_click"
"""Of the rows in the table ``monitoring``."""

_DAY_SECONDS = DAY_MS // 1000


def calibrations(
    database: Database, experiment: str, groups: Iterable[str], day: int
) -> list[Calibration]:
    """Clicks against predicted clicks on a complete day, of all groups together and of each.

    Args:
        database: The monitor's.
        experiment: Whose lists count.
        groups: Names of the groups.
        day: Since 1970 UTC.
    """
    found: list[Calibration] = []
    for model, days in ClickCells(database).read(experiment).items():
        for tested, reference in days_with_reference(days):
            if tested == day:
                each = (
                    calibration_of(model, name, days[day], reference) for name in (None, *groups)
                )
                found += [one for one in each if one is not None]
    return found


def calibration_table(database: Database, experiment: str) -> pl.DataFrame:
    """Rows of the table ``monitoring``: the sums of every tested day, one row per model and group."""
    rows: list[tuple[object, ...]] = []
    for days in ClickCells(database).read(experiment).values():
        for day, reference in days_with_reference(days):
            chances = predicted_chances(reference)
            for group in sorted({name for name, _ in days[day]}):
                one = day_sums(days[day], chances, group)
                where = (day * _DAY_SECONDS, experiment, group, None, None, None)
                squares = (one.sum_pp, one.sum_py, float(one.clicks))
                rows.append((*where, STATISTIC, one.predicted, one.clicks, one.users, *squares))
    return monitoring_frame(rows)


def days_with_reference(days: Mapping[int, DayCells]) -> Iterator[tuple[int, list[DayCells]]]:
    """The days that are tested, each with its reference.

    The reference of a model is its first days, at least a week and at most four. Its very first day is not
    complete; days with few clicks are left out, and so are days with an alarm, since a fault must not become what is usual.

    Args:
        days: The cells of a model by day, in order of time.
    """
    reference: list[DayCells] = []
    for day in list(days)[1:]:
        cells = days[day]
        if len(reference) >= LEAST_DAYS:
            yield day, list(reference)
        if len(reference) < MOST_DAYS and _is_usual(cells, reference):
            reference.append(cells)


def _is_usual(cells: DayCells, reference: list[DayCells]) -> bool:
    """Whether a day belongs to the reference."""
    if sum(cell.clicks for cell in cells.values()) < LEAST_CLICKS:
        return False
    if len(reference) < LEAST_DAYS:
        return True
    found = calibration_of("", None, cells, reference)
    return found is not None and not found.is_alarm

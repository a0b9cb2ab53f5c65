"""The calibration of every model that was served to the groups, out of the monitor's database."""

from collections.abc import Iterable, Mapping

import polars as pl

from pipeline.core.contracts import DAY_MS
from pipeline.monitoring.following.click_cells import ClickCells, DayCells
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.sums import monitoring_frame
from pipeline.monitoring.statistics.calibration import (
    LEAST_CLICKS,
    REFERENCE_DAYS,
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
        reference = _reference_days(days)
        if len(reference) < REFERENCE_DAYS or day not in days or day <= reference[-1]:
            continue
        before = [days[one] for one in reference]
        tested = (calibration_of(model, name, days[day], before) for name in (None, *groups))
        found += [one for one in tested if one is not None]
    return found


def calibration_table(database: Database, experiment: str) -> pl.DataFrame:
    """Rows of the table ``monitoring``: the sums of every day after the reference, one row per model and group."""
    rows: list[tuple[object, ...]] = []
    for days in ClickCells(database).read(experiment).values():
        reference = _reference_days(days)
        if len(reference) < REFERENCE_DAYS:
            continue
        chances = predicted_chances([days[one] for one in reference])
        for day in (one for one in days if one > reference[-1]):
            for group in sorted({name for name, _ in days[day]}):
                one = day_sums(days[day], chances, group)
                where = (day * _DAY_SECONDS, experiment, group, None, None, None)
                squares = (one.sum_pp, one.sum_py, float(one.clicks))
                rows.append((*where, STATISTIC, one.predicted, one.clicks, one.users, *squares))
    return monitoring_frame(rows)


def _reference_days(days: Mapping[int, DayCells]) -> list[int]:
    """A model's first days with enough clicks, without its very first day, which is not complete."""
    clicks = {day: sum(cell.clicks for cell in cells.values()) for day, cells in days.items()}
    return [day for day, n in list(clicks.items())[1:] if n >= LEAST_CLICKS][:REFERENCE_DAYS]

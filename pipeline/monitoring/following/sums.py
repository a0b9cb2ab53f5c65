"""Reads the sums that the follower keeps."""

from collections.abc import Iterable, Sequence

import polars as pl

from pipeline.experiment.kpis.contracts import USER_SUMS
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Period, UserSums, parse_sums
from pipeline.monitoring.following.rows import Slice

DATABASE = "monitor.sqlite"

SliceSums = dict[Slice, dict[str, UserSums]]
"""The sums of every slice, by KPI."""


def read_sums(database: Database, period: Period, number: int = 0) -> SliceSums:
    """The sums of one period: all time, or the day or hour with this number."""
    rows = database.connection.execute(
        "SELECT key, content FROM sums JOIN slices ON slices.id = slice "
        "WHERE kind = ? AND number = ? ORDER BY key",
        (period, number),
    )
    return {Slice.from_key(key): parse_sums(content) for key, content in rows}


def lists_by_hour(database: Database, first_hour: int = 0) -> dict[int, int]:
    """Lists that count, of all slices, by hour since 1970 UTC; hours without any are left out."""
    found: dict[int, int] = {}
    rows = database.connection.execute(
        "SELECT number, content FROM sums WHERE kind = ? AND number >= ?",
        (Period.HOUR, first_hour),
    )
    for number, content in rows:
        found[number] = found.get(number, 0) + parse_sums(content)["ctr"].trials
    return found


def row_counts(database: Database, first_hour: int = 0) -> dict[tuple[str, str], int]:
    """Rows by table and problem, since an hour; the problem is empty for rows that count."""
    rows = database.connection.execute(
        "SELECT log, problem, sum(n) FROM problems WHERE hour >= ? GROUP BY log, problem "
        "ORDER BY log, problem",
        (first_hour,),
    )
    return {(log, problem): int(n) for log, problem, n in rows}


def hourly_table(database: Database, kpis: Iterable[str]) -> pl.DataFrame:
    """The table ``monitoring``: the sums of every hour and slice, one row per KPI with a trial."""
    rows: list[tuple[object, ...]] = []
    found = database.connection.execute(
        "SELECT number, key, content FROM sums JOIN slices ON slices.id = slice WHERE kind = ? "
        "ORDER BY number, key",
        (Period.HOUR,),
    )
    known = tuple(kpis)
    for number, key, content in found:
        part, sums = Slice.from_key(key), parse_sums(content)
        for kpi in known:
            if sums[kpi].trials:
                users, trials, successes, *squares = sums[kpi]
                where = (part.experiment, part.group, part.arm, part.release, part.stage)
                amounts = (trials, successes, users, *map(float, squares))
                rows.append((number * 3600, *where, kpi, *amounts))
    return monitoring_frame(rows)


def monitoring_frame(rows: Iterable[Sequence[object]]) -> pl.DataFrame:
    """Rows of the table ``monitoring``; hours are seconds since 1970, trials may be predicted ones."""
    return pl.DataFrame(list(rows), schema=_MONITORING, orient="row").with_columns(
        pl.from_epoch("hour", time_unit="s").dt.replace_time_zone("UTC")
    )


_MONITORING = {
    "hour": pl.Int64,
    **dict.fromkeys(("experiment", "group", "arm", "release", "stage", "statistic"), pl.String),
    "trials": pl.Float64,
    **dict.fromkeys(("successes", USER_SUMS[0]), pl.Int64),
    **dict.fromkeys(USER_SUMS[1:], pl.Float64),
}

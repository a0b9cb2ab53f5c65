"""Builders of plans and small logs, and readers of the resulting database."""

from itertools import count, pairwise

import duckdb
import polars as pl

from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.log import ingest as ingestion
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.study import LogFileNames

TS = 1_760_000_000_000
HOUR = 3_600_000


def plan_of(edges, preferences=None, **changes):
    """A plan with groups g1, g2, …: so many of equal size, or with these bucket edges.

    Preferences are evenly spaced by default; groups with equal preferences share their id.
    """
    if isinstance(edges, int):
        edges = [round(N_BUCKETS * n / edges) for n in range(edges + 1)]
    last = max(len(edges) - 2, 1)
    if preferences is None:
        preferences = [(n / last, 1 - n / last) for n in range(len(edges) - 1)]
    groups = tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{preferences.index(preferences[n])}",
            preference=preferences[n],
            first_bucket=first,
            last_bucket=end - 1,
        )
        for n, (first, end) in enumerate(pairwise(edges))
    )
    keys = {"experiment": "spring", "salt": "salt", "list_length": 5} | changes
    return TrafficPlan(groups=groups, **keys)


PLAN = plan_of(2)


def users_in(group, n, *, plan=PLAN):
    """The first ``n`` users that the plan assigns to ``group``."""
    names = (f"u{number}" for number in count())
    inside = (name for name in names if plan.group_of(name).name == group)
    return [next(inside) for _ in range(n)]


def at(hours):
    """A time so many hours after :data:`TS`."""
    return TS + round(hours * HOUR)


def impression(name, /, **changes):
    """A valid impression, with some fields changed."""
    valid = {
        "experiment": "spring",
        "impression": name,
        "user": users_in("g1", 1)[0],
        "group": "g1",
        "ts": TS,
        "clicked": True,
        "ordered": True,
        "units": 2,
    }
    return valid | changes


def logged_impression(name, /, **changes):
    """A valid impression without outcomes, for a log with files of clicks and orders."""
    row = impression(name, **changes)
    return {key: value for key, value in row.items() if key not in {"clicked", "ordered", "units"}}


def write_impressions(file, rows, **more_columns):
    """Write impressions to a parquet file; returns the file."""
    pl.DataFrame(rows, schema=IMPRESSIONS.columns | more_columns).write_parquet(file)
    return file


def ingest(files, plan, database, **options):
    """Ingest files, whose names say which table they have."""
    found = [one for file in files for one in log_files(file).files]
    return ingestion.ingest(found, plan, database, **options)


def ingest_folder(folder, plan=PLAN, **rules):
    """Ingest all log files of a folder into ``log.duckdb`` in it."""
    files = log_files(folder, LogFileNames(ignored="*.duckdb")).files
    return ingestion.ingest(files, plan, folder / "log.duckdb", rules=LogRules(**rules))


def outcomes(database):
    """Outcome of each impression: clicked, ordered, units, revenue."""
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "SELECT impression, clicked, ordered, units, revenue FROM impressions ORDER BY impression"
        ).fetchall()
    return {name: tuple(rest) for name, *rest in rows}


def contents(database):
    """All rows of every table and view."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = sorted(name for (name,) in connection.execute("SHOW TABLES").fetchall())
        return {t: sorted(connection.table(t).fetchall(), key=str) for t in tables}

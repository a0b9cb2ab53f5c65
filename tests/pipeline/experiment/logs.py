"""Small logs of an experiment with two groups, and what a database holds."""

from itertools import count

import duckdb

from pipeline.experiment.design.traffic_plan import Group, TrafficPlan

TS = 1_760_000_000_000
PLAN = TrafficPlan(
    experiment="spring",
    salt="salt",
    list_length=5,
    groups=tuple(
        Group(
            name=name,
            preference_id=name,
            preference=(0.5, 0.5),
            first_bucket=first,
            last_bucket=first + 4999,
        )
        for name, first in (("g1", 0), ("g2", 5000))
    ),
)


def users_in(group, n, *, plan=PLAN):
    """The first ``n`` units that the plan puts into ``group``."""
    names = (f"u{number}" for number in count())
    inside = (name for name in names if plan.group_of(name).name == group)
    return [next(inside) for _ in range(n)]


def impression(name, /, **changes):
    """A usable row, with some fields changed."""
    usable = {
        "experiment": "spring",
        "impression": name,
        "user": users_in("g1", 1)[0],
        "group": "g1",
        "ts": TS,
        "clicked": True,
        "ordered": True,
        "units": 2,
    }
    return usable | changes


def shown(name, /, **changes):
    """A usable row of a log whose clicks and orders have files of their own."""
    row = impression(name, **changes)
    return {key: row[key] for key in ("experiment", "impression", "user", "group", "ts")}


def outcomes(database):
    """What came of each impression: clicked, ordered, units, revenue."""
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "SELECT impression, clicked, ordered, units, revenue FROM impressions ORDER BY impression"
        ).fetchall()
    return {name: tuple(rest) for name, *rest in rows}


def contents(database):
    """Every row of every table and view."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = sorted(name for (name,) in connection.execute("SHOW TABLES").fetchall())
        return {t: sorted(connection.table(t).fetchall(), key=str) for t in tables}

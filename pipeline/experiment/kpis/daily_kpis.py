"""Totals by day, and of returning users, over random batches of users.

The days of a user are correlated. The users of a group are assigned at random to batches, the same on
all days, and errors over days are estimated from the variation between batches.
"""

from typing import Any

import ibis
import polars as pl

from pipeline.experiment.kpis.contracts import DAILY_TOTALS, RETURNING_USER_TOTALS, TERMS
from pipeline.experiment.kpis.local_days import local_day, offsets_of
from pipeline.experiment.kpis.user_totals import as_integer, exact_quotient, log_totals

_MILLION = 1_000_000


def daily_totals(
    impressions: ibis.Table, users: ibis.Table, time_zone: str = "UTC"
) -> pl.DataFrame:
    """One row per group, day and batch of users.

    ``users`` is the table of :func:`per_user_totals`; ``time_zone`` is that of the days.
    """
    offsets = _offsets(users, time_zone)
    totals = impressions.group_by("group", "batch", day=local_day(impressions.ts, offsets)).agg(
        **log_totals(impressions)
    )
    new = users.group_by("group", "batch", day=local_day(users.first_ts, offsets)).agg(
        new_users=users.count().cast("int64")
    )
    keys = ["group", "day", "batch"]
    table = totals.to_polars().join(new.to_polars(), on=keys, how="left")
    table = table.with_columns(
        pl.from_epoch("day", time_unit="d"), pl.col("new_users").fill_null(0)
    )
    return DAILY_TOTALS.validate(table.select(list(DAILY_TOTALS.columns)).sort(keys))


def returning_user_totals(
    impressions: ibis.Table, users: ibis.Table, time_zone: str = "UTC"
) -> pl.DataFrame:
    """One row per group, batch and KPI: users with several days, on the first day and after it."""
    offsets = _offsets(users, time_zone)
    returning = users.filter(local_day(users.last_ts, offsets) > local_day(users.first_ts, offsets))
    days = returning.select(first_user="user", first_day=local_day(returning.first_ts, offsets))
    first = impressions.mutate(day=local_day(impressions.ts, offsets))
    # later totals are the difference, so only one day of each user is aggregated again
    first = first.join(days, [("user", "first_user"), ("day", "first_day")])
    first = first.group_by("user").agg(**log_totals(first))
    both_periods = returning.join(first, "user", rname="{name}_first")
    found: dict[str, Any] = {}
    for kpi, (trials, successes) in TERMS.items():
        m, later_m = _by_period(both_periods, trials)
        y, later_y = _by_period(both_periods, successes)
        both = (m > 0) & (later_m > 0)
        # integers, whose sums do not depend on the order of the users
        scaled = exact_quotient(_scale(successes) * m * later_y, later_m.nullif(0))
        found |= {
            f"{kpi}_users": as_integer(both).sum(),
            f"{kpi}_trials": m.sum(where=both),
            f"{kpi}_first": y.sum(where=both),
            f"{kpi}_later": scaled.sum(where=both),
        }
    wide = both_periods.group_by("group", "batch").agg(
        **{name: total.cast("int64") for name, total in found.items()}
    )
    return RETURNING_USER_TOTALS.validate(_by_kpi(wide.to_polars()))


def _scale(successes: str) -> int:
    """Resolution of later successes: revenue, in cents, would exceed 64 bits in millionths."""
    return 1 if successes == "revenue" else _MILLION


def _by_period(users: Any, name: str) -> tuple[Any, Any]:
    """A total of returning users on their first day and after it; null where unknown."""
    if name == "users":
        return users.users, users.users
    total = users[name]
    first = users[f"{name}_first"].coalesce(0 * total)
    return first, total - first


def _by_kpi(wide: pl.DataFrame) -> pl.DataFrame:
    """Reshape columns ``ctr_trials``, … to one row per KPI, without unknown KPIs."""
    tables = [
        wide.select(
            "group",
            "batch",
            kpi=pl.lit(kpi.value),
            users=f"{kpi}_users",
            trials=f"{kpi}_trials",
            first_day_successes=f"{kpi}_first",
            later_successes=pl.col(f"{kpi}_later") / _scale(successes),
        )
        for kpi, (_, successes) in TERMS.items()
    ]
    known = (pl.col("users") > 0) & pl.col("first_day_successes").is_not_null()
    return pl.concat(tables).filter(known).sort("kpi", "group", "batch")


def _offsets(users: Any, time_zone: str) -> list[tuple[int, int]]:
    """The offsets of the time zone in the time of the log."""
    if time_zone == "UTC":
        return [(0, 0)]
    times = users.aggregate(first=users.first_ts.min(), last=users.last_ts.max()).to_polars()
    first, last = times.row(0)
    return offsets_of(time_zone, first, last) if first is not None else [(0, 0)]

"""What came of impressions day by day, and of users who came on several: sums over batches of users.

A user's days go together, so a group's users are divided into batches at random, the same all days:
the spread of the batches is what errors over days come from.
"""

from typing import Any

import ibis
import polars as pl

from pipeline.core.contracts import DAY_MS
from pipeline.experiment.kpis.contracts import BATCHES, DAILY_TOTALS, RETURNING_USER_TOTALS, TERMS
from pipeline.experiment.kpis.group_kpis import log_totals

_MILLION = 1_000_000


def daily_totals(impressions: ibis.Table, users: ibis.Table) -> pl.DataFrame:
    """One row a group, day and batch of users, batches drawn by the engine's own hash.

    Args:
        impressions: As for :func:`users_of`.
        users: What that makes of them.
    """
    done = impressions.group_by(
        "group", day=_day(impressions.ts), batch=_batch(impressions.user)
    ).agg(**log_totals(impressions))
    came = users.group_by("group", day=_day(users.first_ts), batch=_batch(users.user)).agg(
        new_users=users.count().cast("int64")
    )
    keys = ["group", "day", "batch"]
    table = done.to_polars().join(came.to_polars(), on=keys, how="left")
    table = table.with_columns(
        pl.from_epoch("day", time_unit="d"), pl.col("new_users").fill_null(0)
    )
    return DAILY_TOTALS.validate(table.select(list(DAILY_TOTALS.columns)).sort(keys))


def returning_user_totals(impressions: ibis.Table, users: ibis.Table) -> pl.DataFrame:
    """One row a group, batch and KPI: users who came on several days, on their first and after.

    Args:
        impressions: As for :func:`users_of`.
        users: What that makes of them.
    """
    back = users.filter(_day(users.last_ts) > _day(users.first_ts))
    days = back.select(first_unit="user", first_day=_day(back.first_ts))
    shown = impressions.mutate(day=_day(impressions.ts))
    # what came later is the rest, so only a day of each user is summed up once more
    shown = shown.join(days, [("user", "first_unit"), ("day", "first_day")])
    first = shown.group_by("user").agg(**log_totals(shown))
    visits = back.join(first, "user", rname="{name}_first")
    found: dict[str, Any] = {}
    for kpi, (trials, successes) in TERMS.items():
        (m, further), (y, gained) = _divided(visits, trials), _divided(visits, successes)
        both = (m > 0) & (further > 0)
        # whole millionths: sums of them do not depend on the order of the users
        later = _MILLION * m * gained // further.nullif(0)
        found |= {
            f"{kpi}_users": both.cast("int64").sum(),
            f"{kpi}_trials": m.sum(where=both),
            f"{kpi}_first": y.sum(where=both),
            f"{kpi}_later": later.sum(where=both),
        }
    wide = visits.group_by("group", batch=_batch(visits.user)).agg(
        **{name: total.cast("int64") for name, total in found.items()}
    )
    return RETURNING_USER_TOTALS.validate(_by_kpi(wide.to_polars()))


def _divided(visits: Any, name: str) -> tuple[Any, Any]:
    """What is counted of returning users on their first day, and after; null where nothing is known."""
    if name == "users":
        return visits.users, visits.users
    whole = visits[name]
    first = visits[f"{name}_first"].coalesce(0 * whole)
    return first, whole - first


def _by_kpi(wide: pl.DataFrame) -> pl.DataFrame:
    """The columns ``ctr_trials``, … of returning users as one row a KPI; those unknown left out."""
    tables = [
        wide.select(
            "group",
            "batch",
            kpi=pl.lit(kpi.value),
            users=f"{kpi}_users",
            trials=f"{kpi}_trials",
            first=f"{kpi}_first",
            later=pl.col(f"{kpi}_later") / _MILLION,
        )
        for kpi in TERMS
    ]
    known = pl.concat(tables).filter((pl.col("users") > 0) & pl.col("first").is_not_null())
    return known.sort("kpi", "group", "batch")


def _day(ts: Any) -> Any:
    return (ts // DAY_MS).cast("int32")


def _batch(user: Any) -> Any:
    return (user.hash() % BATCHES + BATCHES) % BATCHES

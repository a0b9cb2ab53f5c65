"""An experiment log in which every rule for impressions and users rejects some rows."""

import numpy as np
import polars as pl

from pipeline.core.contracts import DAY_MS, HOUR_MS, IMPRESSIONS
from tests.pipeline.experiment.logs import TS, plan_of

NOTHING = pl.lit(None, pl.String)

BUSY = 60
"""Impressions per hour beyond which a user is a bot."""


PLAN = plan_of(3, traffic_share=0.9, holdout=0.05, forced_assignment={"user-0000007": "g2"})
RULES = {"first_ts": TS - 86_400_000, "impressions_per_hour": BUSY, "time_zone": "Europe/Berlin"}


def messy_log(n_users, *, per_user=6, days=14, seed=5):
    """Impressions with revenue, and covariates of users; a tenth of the rows has a fault."""
    rng = np.random.default_rng(seed)
    users = pl.Series(
        "user", [f"üser-{n:07d}" if n % 50 == 0 else f"user-{n:07d}" for n in range(n_users)]
    )
    group = PLAN.assign_many(users)["group"].fill_null("g1")
    shown = rng.poisson(per_user, n_users)
    of = np.repeat(np.arange(n_users), shown)
    n = len(of)
    clicked = rng.random(n) < 0.3
    ordered = clicked & (rng.random(n) < 0.4)
    units = np.where(ordered, 1 + rng.poisson(0.3, n), 0)
    first = rng.integers(0, days, n_users)
    day = np.minimum(first[of] + rng.integers(0, 4, n), days - 1)
    rows = pl.DataFrame(
        {
            "experiment": "spring",
            "impression": [f"x{i}" for i in range(n)],
            "user": users.gather(of),
            "group": group.gather(of),
            "ts": TS // DAY_MS * DAY_MS + day * DAY_MS + rng.integers(0, DAY_MS, n),
            "clicked": clicked,
            "ordered": ordered,
            "units": units,
            "revenue": units * rng.integers(1, 10_000_000_000, n),
        }
    ).with_columns(pl.col("units").cast(pl.Int32))
    return _with_faults(rows, rng), _covariates(users, rng)


def _with_faults(rows, rng):
    draw = pl.Series("draw", rng.integers(0, 400, rows.height))
    n = pl.col("draw")
    some = rows.with_columns(draw)
    some = some.with_columns(
        experiment=pl.when(n == 1).then(pl.lit("autumn")).otherwise("experiment"),
        user=pl.when(n == 2).then(None).when(n == 3).then(pl.lit("null")).otherwise("user"),
        group=pl.when(n == 4).then(pl.lit("g9")).when(n == 5).then(None).otherwise("group"),
        ts=pl.when(n == 6)
        .then(pl.lit(5))
        .when(n == 7)
        .then(pl.col("ts") - 400 * DAY_MS)
        .otherwise("ts"),
        clicked=pl.when(n == 8)
        .then(None)
        .when(n == 9)
        .then(pl.lit(value=False))
        .otherwise("clicked"),
        units=pl.when(n == 10).then(-1).when(n == 11).then(7).otherwise("units"),
        revenue=pl.when(n == 12)
        .then(-5)
        .when(n == 13)
        .then(100)
        .when(n == 14)
        .then(None)
        .otherwise("revenue"),
    )
    again = some.filter(n == 20)  # the same row twice, and once without group or user
    later = some.filter(n == 21).with_columns(
        ts=pl.col("ts") + HOUR_MS, clicked=pl.lit(value=False)
    )
    strays = some.filter(n == 22).with_columns(user=NOTHING, group=NOTHING)
    moved = some.filter(n == 23).with_columns(
        impression="again-" + pl.col("impression"),
        group=pl.when(pl.col("group") == "g1").then(pl.lit("g2")).otherwise(pl.lit("g1")),
    )
    lone = some.filter(n == 24).with_columns(
        impression="lone-" + pl.col("impression"), user="new-" + pl.col("user"), group=NOTHING
    )
    # its user is known from a faulty row of the same impression only
    halves = some.filter(n == 25).with_columns(
        impression="half-" + pl.col("impression"), user=NOTHING, group=NOTHING
    )
    halves = pl.concat([halves, halves.with_columns(user=some.filter(n == 25)["user"])])
    bots = some.filter(n == 26).head(3)
    bots = (
        pl.concat([bots] * (BUSY + 1))
        .with_row_index("copy")
        .with_columns(impression=pl.format("bot-{}-{}", "copy", "impression"))
    )
    parts = (some, again, later, strays, moved, lone, halves, bots.drop("copy"))
    columns = [*IMPRESSIONS.columns, "revenue"]
    return pl.concat([part.select(columns) for part in parts]).sample(
        fraction=1, shuffle=True, seed=1
    )


def _covariates(users, rng):
    n = len(users)
    impressions = rng.poisson(4, n)
    clicks = rng.binomial(impressions, 0.3)
    orders = rng.binomial(clicks, 0.4)
    rows = pl.DataFrame(
        {
            "user": users,
            "segment": pl.Series(rng.choice(["new", "loyal", "no one"], n)).replace("no one", None),
            "impressions": impressions,
            "clicks": clicks,
            "orders": orders,
            "units": orders,
            "revenue": orders * rng.integers(1, 1000, n),
        }
    ).filter(pl.Series(rng.random(n) < 0.8))
    wrong = rows.head(20).with_columns(clicks=pl.lit(-1, pl.Int64), user="w" + pl.col("user"))
    nobody = rows.head(3).with_columns(user=pl.lit(""))
    return pl.concat([rows, rows.head(30), wrong, nobody])

"""The contracts of what an experiment's log is summed up to."""

import polars as pl

from pipeline.contract import Contract

GROUP_KPIS = Contract(
    name="group_kpis",
    row="one KPI of one group, with the user-level sums its covariance needs",
    columns={
        "group": pl.String,
        "preference_id": pl.String,
        "kpi": pl.String,
        "trials": pl.Int64,
        "successes": pl.Int64,
        "rate": pl.Float64,
        "standard_error": pl.Float64,
        "users": pl.Int64,
        "sum_mm": pl.Int64,
        "sum_my": pl.Int64,
        "sum_yy": pl.Int64,
    },
)
"""Per user u: m trials and y successes (or their amount); ``sum_mm`` is the sum of m squared over
users, and so on. A log without revenue has no rows of the KPIs that need it.
``rate`` is successes / trials (null without trials), with a user-clustered standard error."""

DAILY_SUMS = Contract(
    name="daily_sums",
    row="what one batch of a group's users did on one day (UTC)",
    columns={
        "group": pl.String,
        "day": pl.Date,
        "batch": pl.Int64,
        "new_users": pl.Int64,
        "exposures": pl.Int64,
        "clicks": pl.Int64,
        "orders": pl.Int64,
        "units": pl.Int64,
        "revenue": pl.Int64,
    },
)
"""Users are divided into 100 batches at random, the same all days, so that sums over days know how
a user's days go together. ``new_users`` had their first exposure on that day. ``revenue`` is null
where the log has none."""

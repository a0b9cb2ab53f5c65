"""What an experiment's log is summed up to: what is counted, and the contracts of the sums."""

import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.core.frame_contract import Contract

TERMS = {
    Kpi.CTR: ("impressions", "clicks"),
    Kpi.CVR: ("clicks", "orders"),
    Kpi.ORDERS_PER_IMPRESSION: ("impressions", "orders"),
    Kpi.UNITS_PER_IMPRESSION: ("impressions", "units"),
    Kpi.REVENUE_PER_IMPRESSION: ("impressions", "revenue"),
    Kpi.CLICKS_PER_USER: ("users", "clicks"),
    Kpi.ORDERS_PER_USER: ("users", "orders"),
    Kpi.UNITS_PER_USER: ("users", "units"),
    Kpi.REVENUE_PER_USER: ("users", "revenue"),
}
"""What the trials of a KPI are, and what its successes (or their amount)."""

COUNTS = ("users", "impressions", "clicks", "orders", "units", "revenue")
"""What is counted of a group, a user, a day; ``revenue`` in the currency's smallest unit."""

USER_SUMS = ("users", "sum_mm", "sum_my", "sum_yy")
"""Of a KPI, beside its trials and successes: users with a trial, Σ m², Σ m·y and Σ y²."""

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

BATCHES = 100
"""Parts of a group's users in the sums by day; their spread is known to a few per cent."""

DAILY_TOTALS = Contract(
    name="daily_totals",
    row="what one batch of a group's users did on one day (UTC)",
    columns={
        "group": pl.String,
        "day": pl.Date,
        "batch": pl.Int64,
        "new_users": pl.Int64,
        "impressions": pl.Int64,
        "clicks": pl.Int64,
        "orders": pl.Int64,
        "units": pl.Int64,
        "revenue": pl.Int64,
    },
)
"""Users are divided into 100 batches at random, the same all days, so that sums over days know how
a user's days go together. ``new_users`` had their first impression on that day. ``revenue`` is null
where the log has none."""

RETURNING_USER_TOTALS = Contract(
    name="returning_user_totals",
    row="one KPI of one batch of a group's users who came on several days: on their first, and after",
    columns={
        "group": pl.String,
        "batch": pl.Int64,
        "kpi": pl.String,
        "users": pl.Int64,
        "trials": pl.Int64,
        "first_day_successes": pl.Int64,
        "later_successes": pl.Float64,
    },
)
"""Of users with trials both on their first day (UTC) and after it; batches are those of
``daily_totals``. ``trials`` and ``first`` are their trials and successes (or their amount) on the first
day, ``later`` what the days after would bring in as many trials of each user: Σ m · y' / m'. So users
weigh the same both times, however often they come back."""

PRE_PERIOD_TERMS = ("m", "y", "a", "b", "mm", "my", "ma", "mb", "yy", "ya", "yb", "aa", "ab", "bb")

PRE_PERIOD_SUMS = Contract(
    name="pre_period_sums",
    row="one KPI of one group: its users in the experiment and before it",
    columns={
        "group": pl.String,
        "kpi": pl.String,
        "users": pl.Int64,
        **{f"sum_{term}": pl.Int64 for term in PRE_PERIOD_TERMS},
    },
)
"""A user had m trials and y successes (or their amount) in the experiment, a and b of them before;
``sum_ya`` is the sum of y·a over users, and so on. ``users`` are all that had an impression."""

SEGMENT_KPIS = Contract(
    name="segment_kpis",
    row="one KPI of one group's users of one segment, with the sums its covariance needs",
    columns={"segment": pl.String, **GROUP_KPIS.columns},
)
"""As ``group_kpis``. A user's segment is what was known of the user before the experiment."""

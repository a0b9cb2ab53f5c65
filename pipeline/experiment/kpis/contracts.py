"""Definitions of the KPIs and contracts of the aggregated tables."""

from itertools import combinations_with_replacement

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
"""Denominator (trials) and numerator (successes, or their amount) of each KPI."""

COUNTS = ("users", "impressions", "clicks", "orders", "units", "revenue")
"""Totals of a group, a user or a day; ``revenue`` is in the currency's smallest unit."""

USER_SUMS = ("users", "sum_mm", "sum_my", "sum_yy")
"""Per-user sufficient statistics of a KPI: users with a trial, Σ m², Σ m·y and Σ y²."""

GROUP_KPIS = Contract(
    name="group_kpis",
    row="one KPI of one group, with the per-user sums of its covariance",
    columns={
        "group": pl.String,
        "preference_id": pl.String,
        "kpi": pl.String,
        "trials": pl.Int64,
        "successes": pl.Int64,
        "rate": pl.Float64,
        "standard_error": pl.Float64,
        "users": pl.Int64,
        "sum_mm": pl.Float64,
        "sum_my": pl.Float64,
        "sum_yy": pl.Float64,
    },
)
"""User u has m trials and y successes (or their amount); ``sum_mm`` is the sum of m² over users, and so
on. These sums are computed with integers of 128 bits and rounded once, as squares of revenue exceed 64. ``rate`` is successes / trials (null without trials), with a standard error clustered by user. A log
without revenue has no rows of the KPIs that need it."""

DAILY_TOTALS = Contract(
    name="daily_totals",
    row="one batch of a group's users on one day",
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
"""Days are those of ``experiment.time_zone``. Users are assigned at random to 100 batches, the same on all days, so that sums over days reflect the
correlation of a user's days. ``new_users`` had their first impression on the day. ``revenue`` is null
where the log has none."""

RETURNING_USER_TOTALS = Contract(
    name="returning_user_totals",
    row="one KPI of one batch of a group's returning users, on their first day and after it",
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
"""Users with trials both on their first day and after it; batches as in ``daily_totals``.
``trials`` and ``first_day_successes`` are those of the first day. ``later_successes`` is the sum over
users of m · y' / m', with m trials on the first day, and y' successes in m' trials after it: users have
the same weight in both periods, however often they return."""

PRE_PERIOD_TERMS = (*"myab", *map("".join, combinations_with_replacement("myab", 2)))

PRE_PERIOD_SUMS = Contract(
    name="pre_period_sums",
    row="one KPI of one group, with per-user sums in and before the experiment",
    columns={
        "group": pl.String,
        "kpi": pl.String,
        "users": pl.Int64,
        **{f"sum_{term}": pl.Float64 for term in PRE_PERIOD_TERMS},
    },
)
"""A user has m trials and y successes (or their amount) in the experiment, and a trials and b successes
before it; ``sum_ya`` is the sum of y·a over users, and so on. ``users`` counts all users with an
impression."""

SEGMENT_KPIS = Contract(
    name="segment_kpis",
    row="one KPI of one segment of a group's users, with the per-user sums of its covariance",
    columns={"segment": pl.String, **GROUP_KPIS.columns},
)
"""As ``group_kpis``. The segment of a user is a covariate from before the experiment."""

"""Outcomes per user, and their sums per group, as Ibis expressions.

They run where the log is stored, in the study's DuckDB file or in a warehouse
(docs/experiment-log.md); only aggregates are fetched.
"""

from collections.abc import Sequence
from typing import Any

import ibis

from pipeline.experiment.kpis.contracts import COUNTS, TERMS

_WIDE = "decimal(19, 0)"
"""Products of two such numbers have 128 bits."""


def per_user_totals(impressions: ibis.Table) -> ibis.Table:
    """One row per user: impressions and their outcomes.

    Args:
        impressions: One row per impression: user, group, ts (milliseconds since 1970 UTC), clicked,
            ordered, units and revenue.
    """
    return impressions.group_by("group", "user").agg(
        users=ibis.literal(1, "int64"),
        first_ts=impressions.ts.min(),
        last_ts=impressions.ts.max(),
        **log_totals(impressions),
    )


def group_counts(users: ibis.Table, by: Sequence[str] = ("group",)) -> ibis.Table:
    """One row per group: its counts and, for each KPI, per-user sums such as ``ctr_sum_mm``."""
    columns: dict[str, Any] = {name: users[name] for name in COUNTS}
    found = {name: column.sum() for name, column in columns.items()}
    for kpi, (trials, successes) in TERMS.items():
        m, y = columns[trials], columns[successes]
        found |= {
            f"{kpi}_users": (m > 0).sum(),
            f"{kpi}_sum_mm": sum_of_products(trials, m, m),
            f"{kpi}_sum_my": sum_of_products(successes, y, m),
            f"{kpi}_sum_yy": sum_of_products(successes, y, y),
        }
    return users.group_by(*by).agg(**{n: total_of(n, total) for n, total in found.items()})


def sum_of_products(term: str, first: Any, other: Any) -> Any:
    """Σ first · other, exact for units and revenue, too, whose products may exceed 64 bits.

    ``term`` is the count or amount that ``first`` has, in the engine's 64-bit integers.
    """
    return ((first.cast(_WIDE) if term in {"units", "revenue"} else first) * other).sum()


def total_of(name: str, total: Any) -> Any:
    """A sum as it leaves the engine: those of products are rounded once."""
    return total.cast("float64" if "_sum_" in name else "int64")


def log_totals(impressions: Any) -> dict[str, Any]:
    """Totals over impressions, by the names in :data:`COUNTS`."""
    totals = {
        "impressions": impressions.count(),
        "clicks": impressions.clicked.cast("int64").sum(),
        "orders": impressions.ordered.cast("int64").sum(),
        "units": impressions.units.cast("int64").sum(),
        "revenue": impressions.revenue.sum(),
    }
    return {name: total.cast("int64") for name, total in totals.items()}

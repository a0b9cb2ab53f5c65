"""Outcomes per user, and their sums per group, as Ibis expressions.

They run where the log is stored, in the study's DuckDB file or in a warehouse
(docs/how-to/scale.md); only aggregates are fetched. They use nothing that engines define differently: no hash
function, no cast from boolean to integer, no division of integers that may be rounded.
"""

from collections.abc import Sequence
from typing import Any

import ibis

from pipeline.experiment.kpis.contracts import COUNTS, TERMS

_WIDE = "decimal(19, 0)"
"""The type of every 64-bit integer; products of two are decimal(38, 0)."""


def per_user_totals(impressions: ibis.Table) -> ibis.Table:
    """One row per user: impressions and their outcomes.

    Args:
        impressions: One row per impression: user, group, batch (of its user, 0 to 99), ts
            (milliseconds since 1970 UTC), clicked, ordered, units and revenue.
    """
    return impressions.group_by("group", "user").agg(
        users=ibis.literal(1, "int64"),
        batch=impressions.batch.max(),
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
            f"{kpi}_users": as_integer(m > 0).sum(),
            f"{kpi}_sum_mm": sum_of_products(trials, m, m),
            f"{kpi}_sum_my": sum_of_products(successes, y, m),
            f"{kpi}_sum_yy": sum_of_products(successes, y, y),
        }
    return users.group_by(*by).agg(**{n: total_of(n, total) for n, total in found.items()})


def sum_of_products(term: str, first: Any, other: Any) -> Any:
    """Σ first · other, exact for units and revenue, too, whose products may exceed 64 bits.

    ``term`` is the count or amount that ``first`` has, in the engine's 64-bit integers.
    """
    if term in {"units", "revenue"}:
        first, other = first.cast(_WIDE), other.cast(_WIDE)
    return (first * other).sum()


def as_integer(flag: Any) -> Any:
    """1 if true, 0 if false, null if null; not every engine can cast a boolean."""
    return ibis.cases((flag, 1), (~flag, 0))


def exact_quotient(number: Any, divisor: Any) -> Any:
    """Number // divisor of integers of at least 0, exact below 2^53 in every engine.

    Some engines round a quotient, by which the last milliseconds of a day would be of the next; that of a
    multiple of the divisor is an integer.
    """
    return ((number - number % divisor) / divisor).cast("int64")


def total_of(name: str, total: Any) -> Any:
    """A sum as it leaves the engine: those of products are rounded once."""
    return total.cast("float64" if "_sum_" in name else "int64")


def log_totals(impressions: Any) -> dict[str, Any]:
    """Totals over impressions, by the names in :data:`COUNTS`."""
    totals = {
        "impressions": impressions.count(),
        "clicks": as_integer(impressions.clicked).sum(),
        "orders": as_integer(impressions.ordered).sum(),
        "units": impressions.units.cast("int64").sum(),
        "revenue": impressions.revenue.sum(),
    }
    return {name: total.cast("int64") for name, total in totals.items()}

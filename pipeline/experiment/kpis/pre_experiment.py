"""KPIs with pre-experiment covariates: sums for CUPED and balance checks, and KPIs by segment.

The lists cannot affect covariates from before the experiment, so these can remove chance differences
between groups (CUPED: Deng et al., WSDM 2013). For a KPI with m trials and y successes of a user in the
experiment, and a and b before it, the sums over users of these four and of their products suffice.
"""

from collections.abc import Mapping
from typing import Any

import ibis
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import (
    COUNTS,
    PRE_PERIOD_SUMS,
    PRE_PERIOD_TERMS,
    SEGMENT_KPIS,
    TERMS,
)
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.experiment.kpis.user_totals import as_integer, group_counts, sum_of_products, total_of
from pipeline.experiment.log.log_files import PRE_PERIOD_COUNTS

UNKNOWN_SEGMENT = "unknown"
"""The segment of users without one."""


def segment_kpis(
    users: ibis.Table, covariates: Any, preferences: Mapping[str, str]
) -> pl.DataFrame | None:
    """One row per segment, group and KPI; None without segments.

    ``users`` is the table of :func:`pipeline.experiment.kpis.group_kpis.per_user_totals`.
    """
    if not _has_values(covariates, "segment"):
        return None
    joined: Any = users.left_join(covariates.select("user", "segment"), "user")
    segment = joined.segment.fill_null(UNKNOWN_SEGMENT)
    counts = group_counts(joined.mutate(segment=segment), by=("segment", "group")).to_polars()
    parts = counts.partition_by("segment", as_dict=True, include_key=False)
    tables = [
        group_kpis(part, preferences).with_columns(segment=pl.lit(name))
        for (name,), part in sorted(parts.items())
    ]
    return SEGMENT_KPIS.validate(pl.concat(tables).select(list(SEGMENT_KPIS.columns)))


def pre_period_sums(users: ibis.Table, covariates: Any) -> pl.DataFrame | None:
    """One row per group and KPI: sums over all users, with and without trials or a pre-period.

    Args:
        users: The table of :func:`pipeline.experiment.kpis.group_kpis.per_user_totals`.
        covariates: One row per user: user, and impressions, clicks, orders, units and revenue before
            the experiment, null where unknown. Missing users had none.

    Returns:
        The table for the KPIs with a known pre-period; None if there are none.
    """
    known = {name for name in PRE_PERIOD_COUNTS if _has_values(covariates, name)}
    kpis = [kpi for kpi, terms in TERMS.items() if set(terms) <= known | {"users"}]
    if "impressions" not in known or not kpis:
        return None
    before = covariates.mutate(users=as_integer(covariates.impressions > 0))
    before = before.select("user", **{f"{name}_before": before[name] for name in COUNTS})
    joined: Any = users.left_join(before, "user")
    found: dict[str, Any] = {"n_users": joined.count()}
    for kpi in kpis:
        trials, successes = TERMS[kpi]
        m, y = joined[trials], joined[successes]
        a, b = joined[f"{trials}_before"].fill_null(0), joined[f"{successes}_before"].fill_null(0)
        factors: dict[str, Any] = {"m": m, "y": y, "a": a, "b": b}
        found |= {f"{kpi}_sum_{term}": _sum(factors, term, successes) for term in PRE_PERIOD_TERMS}
    wide = joined.group_by("group").agg(**{n: total_of(n, total) for n, total in found.items()})
    return _by_kpi(wide.to_polars(), kpis)


def _sum(factors: dict[str, Any], term: str, successes: str) -> Any:
    """The sum of a factor, or of the product of two; ``successes`` is the amount of y and b."""
    first, *others = (factors[name] for name in term)
    return sum_of_products(successes, first, others[0]) if others else first.sum()


def _has_values(covariates: Any, name: str) -> bool:
    return bool(covariates[name].count().to_pyarrow().as_py())


def _by_kpi(wide: pl.DataFrame, kpis: list[Kpi]) -> pl.DataFrame:
    tables = [
        wide.select(
            "group",
            kpi=pl.lit(kpi.value),
            users="n_users",
            **{f"sum_{term}": f"{kpi}_sum_{term}" for term in PRE_PERIOD_TERMS},
        )
        for kpi in kpis
    ]
    table = pl.concat(tables).filter(pl.col("sum_y").is_not_null()).sort("kpi", "group")
    return PRE_PERIOD_SUMS.validate(table.select(list(PRE_PERIOD_SUMS.columns)))

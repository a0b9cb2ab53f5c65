"""What was known of users before, beside what they did in the experiment: sums for CUPED and A/A.

What was known of a user beforehand cannot be an effect of the lists, so it may be used to tell chance
differences between the groups from effects (Deng et al., WSDM 2013). All that needs of a KPI with m
trials and y successes of a user in the experiment, and a and b of them before it, are sums over users
of these four and of their products.
"""

from collections.abc import Mapping
from typing import Any

import ibis
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import (
    PRE_PERIOD_SUMS,
    PRE_PERIOD_TERMS,
    COUNTS,
    SEGMENT_KPIS,
    TERMS,
)
from pipeline.experiment.kpis.group_kpis import group_counts, group_kpis
from pipeline.experiment.log.log_files import BEFORE

OTHERS = "unknown"
"""The segment of users of whom none is known."""


def segment_kpis(
    users: ibis.Table, known: Any, preferences: Mapping[str, str]
) -> pl.DataFrame | None:
    """One row a segment, group and KPI; None if no segment is known.

    Args:
        users: As :func:`pipeline.experiment.kpis.group_kpis.users_of` makes it.
        known: One row a user: user, segment.
        preferences: Of each of the experiment's groups, the preference's id.
    """
    if not _known(known, "segment"):
        return None
    joined: Any = users.left_join(known.select("user", "segment"), "user")
    counts = group_counts(
        joined.mutate(segment=joined.segment.fill_null(OTHERS)), by=("segment", "group")
    ).to_polars()
    parts = counts.partition_by("segment", as_dict=True, include_key=False)
    tables = [
        group_kpis(part, preferences).with_columns(segment=pl.lit(name))
        for (name,), part in sorted(parts.items())
    ]
    return SEGMENT_KPIS.validate(pl.concat(tables).select(list(SEGMENT_KPIS.columns)))


def pre_period_sums(users: ibis.Table, before: Any) -> pl.DataFrame | None:
    """One row a group and KPI: sums over all its users, those without a trial or a past included.

    Args:
        users: As :func:`pipeline.experiment.kpis.group_kpis.users_of` makes it.
        before: One row a user: user, impressions, clicks, orders, units and revenue before the
            experiment, null where unknown. Users it lacks had none.

    Returns:
        The table, of the KPIs whose past is known; None if that of none is.
    """
    known = {name for name in BEFORE if _known(before, name)}
    kpis = [kpi for kpi, terms in TERMS.items() if set(terms) <= known | {"users"}]
    if "impressions" not in known or not kpis:
        return None
    past = before.mutate(users=(before.impressions > 0).cast("int64"))
    past = past.select("user", **{f"{name}_before": past[name] for name in COUNTS})
    joined: Any = users.left_join(past, "user")
    found: dict[str, Any] = {"n_users": joined.count()}
    for kpi in kpis:
        trials, successes = TERMS[kpi]
        m, y = joined[trials], joined[successes]
        a, b = joined[f"{trials}_before"].fill_null(0), joined[f"{successes}_before"].fill_null(0)
        of: dict[str, Any] = {"m": m, "y": y, "a": a, "b": b}
        found |= {f"{kpi}_{term}": _product(of, term).sum() for term in PRE_PERIOD_TERMS}
    wide = joined.group_by("group").agg(**{n: total.cast("int64") for n, total in found.items()})
    return _by_kpi(wide.to_polars(), kpis)


def _product(of: dict[str, Any], term: str) -> Any:
    first, *others = (of[name] for name in term)
    return first * others[0] if others else first


def _known(before: Any, name: str) -> bool:
    return bool(before[name].count().execute())


def _by_kpi(wide: pl.DataFrame, kpis: list[Kpi]) -> pl.DataFrame:
    tables = [
        wide.select(
            "group",
            kpi=pl.lit(kpi.value),
            users="n_users",
            **{f"sum_{term}": f"{kpi}_{term}" for term in PRE_PERIOD_TERMS},
        )
        for kpi in kpis
    ]
    table = pl.concat(tables).filter(pl.col("sum_y").is_not_null()).sort("kpi", "group")
    return PRE_PERIOD_SUMS.validate(table.select(list(PRE_PERIOD_SUMS.columns)))

"""The tables that hypotheses are tested on, and the arrays that estimators derive from them."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.experiment.kpis.contracts import USER_SUMS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.sensitivity.carry_over import ReturningOutcome, returning_outcome
from pipeline.inference.sensitivity.day_effects import DailyOutcome, daily_outcome
from pipeline.results.family import Family

RESPONSE = {
    **{kpi: kpi for kpi in Kpi},
    Kpi.UNITS_PER_IMPRESSION: Kpi.ORDERS_PER_IMPRESSION,
}
"""The fitted KPI of a hypothesis on each KPI: the KPI itself, but for units per impression, as in
the paper, whether the impression led to an order; their own rate is ``log_rate``."""


@dataclass(frozen=True, slots=True)
class RegressionInputs:
    """The tables that hypotheses are tested on.

    Attributes:
        offline_metrics: The table of that name.
        covariance: ``offline_metric_covariance``; None if the metrics' errors are unknown.
        group_kpis: The table of that name.
        healthy: Whether the sample ratio matches the plan; if not, verdicts are blocked.
        replicates: ``offline_metric_replicates``; None without bootstrap replicates.
        daily_totals: The table of that name; None if days are unknown.
        returning_user_totals: The table of that name; None if days are unknown.
        pre_period_sums: The table of that name; None without pre-experiment data.
        segment_kpis: The table of that name; None without segments.
        planned_days: Planned duration; None for the observed one.
        users_unknown: The KPIs without per-user sufficient statistics, whose rows of ``group_kpis``
            count every trial as a user.
    """

    offline_metrics: pl.DataFrame
    covariance: pl.DataFrame | None
    group_kpis: pl.DataFrame
    healthy: bool = True
    replicates: pl.DataFrame | None = None
    daily_totals: pl.DataFrame | None = None
    returning_user_totals: pl.DataFrame | None = None
    pre_period_sums: pl.DataFrame | None = None
    segment_kpis: pl.DataFrame | None = None
    planned_days: int | None = None
    users_unknown: frozenset[Kpi] = frozenset()


def group_cells(evidence: RegressionInputs, metric: str, kpi: Kpi) -> pl.DataFrame:
    """One row per group: its sums for a KPI, and its metric as ``value``."""
    measured = evidence.offline_metrics.filter(metric=str(metric), segment=ALL_TARGETS)
    return (
        evidence.group_kpis.filter(pl.col("kpi") == kpi.value)
        .join(measured.select("preference_id", "value"), on="preference_id", how="left")
        .sort("group")
    )


def family_of(kpi: Kpi) -> Family:
    """The regression family of a KPI."""
    return Family.BINOMIAL if kpi.is_binary else Family.POISSON


def group_sums(cells: pl.DataFrame, kpi: Kpi) -> GroupSums:
    """The sums of a KPI's cells, as the estimators take them."""
    return GroupSums(
        family=family_of(kpi),
        **{name: _floats(cells, name) for name in ("trials", "successes", *USER_SUMS)},
    )


def daily_kpi(evidence: RegressionInputs, cells: pl.DataFrame, kpi: Kpi) -> DailyOutcome | None:
    """A KPI of the cells' groups by day; None if days are unknown."""
    if evidence.daily_totals is None or evidence.daily_totals.is_empty():
        return None
    return daily_outcome(evidence.daily_totals, cells["group"].to_list(), kpi, family_of(kpi))


def returning_of(
    evidence: RegressionInputs, cells: pl.DataFrame, kpi: Kpi
) -> ReturningOutcome | None:
    """A KPI of the cells' groups on users' first days and after; None if days are unknown."""
    if evidence.returning_user_totals is None:
        return None
    groups = cells["group"].to_list()
    return returning_outcome(evidence.returning_user_totals, groups, kpi, family_of(kpi))


def before_of(evidence: RegressionInputs, cells: pl.DataFrame, kpi: Kpi) -> pl.DataFrame | None:
    """The rows of ``pre_period_sums`` for a KPI of the cells' groups; None where one lacks them."""
    if evidence.pre_period_sums is None:
        return None
    known = evidence.pre_period_sums.filter(kpi=kpi.value)
    found = cells.select("group").join(known, on="group", how="inner", maintain_order="left")
    return found if found.height == cells.height else None


def segments_of(evidence: RegressionInputs, cells: pl.DataFrame, kpi: Kpi) -> dict[str, GroupSums]:
    """A KPI's sums per segment, groups as in the cells; empty without segments."""
    if evidence.segment_kpis is None:
        return {}
    known = evidence.segment_kpis.filter(kpi=kpi.value)
    groups = cells.select("group")
    return {
        str(name): group_sums(groups.join(rows, on="group", how="left", maintain_order="left"), kpi)
        for (name,), rows in known.partition_by("segment", as_dict=True).items()
    }


def metric_values(cells: pl.DataFrame) -> NDArray[np.float64]:
    """The metric of each cell; nan where undefined."""
    return _floats(cells, "value")


def metric_covariance(
    evidence: RegressionInputs, metric: str, cells: pl.DataFrame
) -> NDArray[np.float64] | None:
    """Covariance of the errors of the groups' metrics; None where unknown."""
    table = evidence.covariance
    if table is None:
        return None
    pairs = {
        (row["preference_id"], row["other_preference_id"]): row["covariance"]
        for row in table.filter(metric=str(metric)).iter_rows(named=True)
    }
    ids = cells["preference_id"].to_list()
    found = [[pairs.get((one, other)) for other in ids] for one in ids]
    return None if any(None in row for row in found) else np.array(found, dtype=np.float64)


def metric_replicates(
    evidence: RegressionInputs, metric: str, cells: pl.DataFrame
) -> NDArray[np.float64] | None:
    """Bootstrap replicates of the groups' metrics, R × G; None where one is unknown."""
    if evidence.replicates is None:
        return None
    drawn = dict(
        evidence.replicates.filter(metric=str(metric))
        .select("preference_id", "replicates")
        .iter_rows()
    )
    found = [drawn.get(name) for name in cells["preference_id"]]
    if not found or any(one is None or None in one for one in found):
        return None
    return np.array(found, dtype=np.float64).T


def relative_change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``M / min M - 1`` as a fraction; nan where the smallest metric is 0 or any is undefined."""
    if not len(values) or np.isnan(values).any() or values.min() <= 0:
        return np.full(len(values), np.nan)
    return values / values.min() - 1


def _floats(cells: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return cells[column].cast(pl.Float64).to_numpy()

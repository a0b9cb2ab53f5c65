"""Derive a traffic plan from the Pareto front: the groups' preferences and their buckets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.optimal_design import (
    DesignCriterion,
    Efficiency,
    Floats,
    Ints,
    MetricAxis,
)
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.study import ExperimentConfig, Hypothesis, Study

UserInformation = Callable[[Hypothesis, Floats], Floats]
"""Information per user on a hypothesis's KPI under each preference, given the metric there."""


@dataclass(frozen=True, slots=True)
class MeasuredFront:
    """The offline evaluation of every preference.

    Attributes:
        points: The table ``pareto_front``.
        offline_metrics: The table ``offline_metrics``.
        covariance: The table ``offline_metric_covariance``; None if the metrics' errors are unknown.
    """

    points: pl.DataFrame
    offline_metrics: pl.DataFrame
    covariance: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisInformation:
    """The efficiency of a design for one hypothesis.

    Attributes:
        hypothesis: Id of the hypothesis.
        metric: Name of its metric.
        chosen: Efficiency of the chosen preferences, relative to the best design for this hypothesis.
        even: Efficiency of evenly spaced preferences, likewise.
        gain: Ratio of the slope information of the chosen to that of the evenly spaced preferences,
            minus 1: the additional traffic that the latter need. None if either has no information.
    """

    hypothesis: str
    metric: str
    chosen: Efficiency
    even: Efficiency
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The preferences of a plan, compared with evenly spaced ones.

    Attributes:
        chosen: Ids of the chosen preferences, by ascending recall.
        even: Ids of the same number of preferences, evenly spaced on the grid.
        candidates: Number of candidate preferences.
        only_undominated: Whether the candidates are the undominated preferences only.
        curvature_floor: ``experiment.planning.curvature_floor``.
        hypotheses: Efficiency of both for each hypothesis whose metric varies.
        left_out: Hypotheses not in the criterion, with the reason.
    """

    chosen: tuple[str, ...]
    even: tuple[str, ...]
    candidates: int
    only_undominated: bool
    curvature_floor: float
    hypotheses: tuple[HypothesisInformation, ...]
    left_out: dict[str, str]


def make_plan(
    front: MeasuredFront,
    study: Study,
    *,
    model: str | None = None,
    information: UserInformation = lambda _, metric: np.ones_like(metric),
) -> tuple[TrafficPlan, Design]:
    """Choose the groups' preferences for the study's hypotheses, and allocate the buckets.

    Dominated preferences are candidates only if there are too few others.

    Args:
        front: The offline evaluation.
        study: The study, with its hypotheses and its experiment.
        model: Fingerprint of the evaluated checkpoint.
        information: Information per user under each preference; equal by default.
    """
    section, seed = study.experiment, study.study.seed
    points = front.points.with_row_index("position").sort("recall", maintain_order=True)
    ids: list[str] = points["preference_id"].to_list()
    weights_G = preference_shares(section)
    undominated = np.flatnonzero(~points["dominated"].to_numpy())
    only_undominated = len(undominated) >= len(weights_G)
    pool = undominated if only_undominated else np.arange(len(ids))
    axes, left_out = _axes(front, study, ids, information)
    by_recall = {"": _axis_of(points["recall"].to_numpy(), None, np.ones(len(ids)))}
    selected = [_select(axis, pool) for axis in (axes or by_recall).values()]
    criterion = DesignCriterion.of(selected, weights_G, seed=seed)
    chosen = pool[criterion.choose(floor=section.planning.curvature_floor, seed=seed)]
    even = _even(points, len(weights_G))
    design = Design(
        chosen=tuple(ids[n] for n in chosen),
        even=tuple(ids[n] for n in even),
        candidates=len(pool),
        only_undominated=only_undominated,
        curvature_floor=section.planning.curvature_floor,
        hypotheses=_compare(criterion, axes, study, chosen, even) if axes else (),
        left_out=left_out,
    )
    return _allocate([points.row(int(n), named=True) for n in chosen], section, model), design


def _compare(
    criterion: DesignCriterion, axes: dict[str, MetricAxis], study: Study, chosen: Ints, even: Ints
) -> tuple[HypothesisInformation, ...]:
    """The efficiencies of the chosen and of evenly spaced preferences, by hypothesis."""
    metrics = {one.id: str(one.metric) for one in study.regression.hypotheses}
    both = (criterion.efficiencies(design, list(axes.values())) for design in (chosen, even))
    return tuple(
        HypothesisInformation(
            hypothesis=name, metric=metrics[name], chosen=a, even=b, gain=_gain(a, b)
        )
        for name, a, b in zip(axes, *both, strict=True)
    )


def preference_shares(section: ExperimentConfig) -> Floats:
    """Traffic share of every preference over all its groups; sums to 1."""
    preferences = section.groups // section.replicates
    shares = np.array(section.shares or [1.0] * section.groups)
    return shares.reshape(section.replicates, preferences).sum(axis=0) / shares.sum()


def _allocate(
    rows: Sequence[dict[str, Any]], section: ExperimentConfig, model: str | None
) -> TrafficPlan:
    shares = np.array(section.shares or [1.0] * section.groups)
    ends = [0, *(round(N_BUCKETS * end) for end in shares.cumsum() / shares.sum())]
    groups = [
        Group(
            name=f"g{n + 1}",
            preference_id=row["preference_id"],
            preference=tuple(row["preference"]),
            first_bucket=ends[n],
            last_bucket=ends[n + 1] - 1,
        )
        for n, row in enumerate(list(rows) * section.replicates)
    ]
    return TrafficPlan(
        experiment=section.name,
        salt=section.salt,
        list_length=section.list_length,
        groups=tuple(groups),
        model=model,
        enabled=section.enabled,
        traffic_share=section.traffic_share,
        traffic_salt=f"{section.salt} coverage",
        holdout=section.holdout,
        holdout_salt=section.holdout_salt,
        forced_assignment=dict(section.forced_assignment),
    )


def _axes(
    front: MeasuredFront, study: Study, ids: list[str], information: UserInformation
) -> tuple[dict[str, MetricAxis], dict[str, str]]:
    """An axis per hypothesis with a positive, varying metric, and why the others have none."""
    axes: dict[str, MetricAxis] = {}
    left_out: dict[str, str] = {}
    for one in study.regression.hypotheses:
        found = metric_values(front.offline_metrics, str(one.metric), ids)
        if np.isnan(found).any() or found.min() <= 0:
            left_out[one.id] = "the metric is undefined, 0 or negative under a preference"
        elif not np.ptp(found) > 0:
            left_out[one.id] = "the metric is the same under all preferences"
        else:
            covariance = covariance_of(front.covariance, str(one.metric), ids)
            axes[one.id] = _axis_of(found, covariance, information(one, found))
    return axes, left_out


def metric_values(offline_metrics: pl.DataFrame, metric: str, ids: Sequence[str]) -> Floats:
    """A metric under the given preferences, in their order; nan where undefined."""
    rows = offline_metrics.filter(metric=metric, segment=ALL_TARGETS)
    known = dict(rows.select("preference_id", "value").iter_rows())
    found = [known.get(name) for name in ids]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def covariance_of(table: pl.DataFrame | None, metric: str, ids: Sequence[str]) -> Floats | None:
    """Covariance of a metric's errors under the given preferences; None if unknown."""
    if table is None:
        return None
    rows = table.filter(metric=metric)
    keys = ("preference_id", "other_preference_id", "covariance")
    known = {(one, other): value for one, other, value in rows.select(keys).iter_rows()}
    found = [[known.get((one, other)) for other in ids] for one in ids]
    return None if any(None in row for row in found) else np.array(found, dtype=np.float64)


def _axis_of(values: Floats, covariance: Floats | None, information: Floats) -> MetricAxis:
    scale = float(np.ptp(values)) or 1.0
    noise = np.zeros((len(values), len(values))) if covariance is None else covariance / scale**2
    return MetricAxis((values - values.min()) / scale, noise, information / information.mean())


def _select(axis: MetricAxis, pool: Ints) -> MetricAxis:
    """The axis restricted to some candidates."""
    noise = axis.noise_CC[np.ix_(pool, pool)]
    return MetricAxis(axis.x_C[pool], noise, axis.information_C[pool])


def _even(points: pl.DataFrame, n: int) -> Ints:
    """Rows of ``n`` preferences that are evenly spaced on the grid, by ascending recall."""
    grid = points.with_row_index("by_recall").sort("position")["by_recall"].to_numpy()
    return np.sort(grid[np.round(np.linspace(0, len(grid) - 1, n)).astype(np.int64)])


def _gain(chosen: Efficiency, even: Efficiency) -> float | None:
    if not chosen.slope or not even.slope or min(chosen.slope, even.slope) <= 0:
        return None
    return chosen.slope / even.slope - 1

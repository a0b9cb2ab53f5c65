"""The Pareto front in the space of the metrics that the objectives move; higher is better on all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.fronts import hypervolume, non_dominated, spread
from pipeline.core.contracts import ALL_TARGETS, Metric
from pipeline.core.front_contract import front_contract, front_metrics
from pipeline.evaluation.front_axes import front_axes
from pipeline.study import SecondAxis

_ON_THE_LINE = 1e-9
_PRODUCT = Metric.RECALL_ORDER_DENSITY.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The Pareto front of a model, and its quality.

    A preference without a target within k has no order density, and therefore no point.

    Attributes:
        axes: The metrics that span the front; see :mod:`pipeline.evaluation.front_axes`.
        points: One row per preference, ``dominated`` if another is at least as good on all axes
            and better on one; null without a point.
        hypervolume: Volume dominated by the points, from 0 on every axis; in [0, 1], higher is
            better; 0 without any.
        rank_correlation: Spearman's ρ of the first two axes over the preferences; -1 for a strict
            trade-off, None if one of them does not vary.
        knee: The preference whose point is farthest above the line between the endpoints of the
            front, axes scaled to its width; beyond it, a small gain of one metric costs much of the
            other (Das 1999). None if no point is above the line, or with more than two axes.
        spans: Largest over smallest value of every metric, minus 1; None if the smallest is not
            positive or one is undefined.
    """

    axes: tuple[str, ...]
    points: pl.DataFrame
    hypervolume: float
    rank_correlation: float | None
    knee: str | None
    spans: dict[str, float | None]


def pareto_front(offline_metrics: pl.DataFrame, objectives: Sequence[str]) -> Front:
    """The front of a study's ``offline_metrics``.

    Args:
        offline_metrics: The table of that name.
        objectives: Losses of the model, in the order of the weights.
    """
    axes = front_axes(offline_metrics, objectives)
    offline_metrics = offline_metrics.filter(segment=ALL_TARGETS)
    wide = offline_metrics.pivot(on="metric", index=["preference_id", "preference"], values="value")
    columns = axes + [_PRODUCT] * ({Metric.RECALL, Metric.ORDER_DENSITY} <= set(axes))
    wide = wide.select("preference_id", "preference", *columns)
    placed = wide.filter(pl.all_horizontal(pl.col(axes).is_not_null()))
    points = placed.select(axes).to_numpy()
    box = {"reference": np.zeros(len(axes)), "ideal": np.ones(len(axes))}
    kept = pl.Series(non_dominated(points, **box) if placed.height else [], dtype=pl.Boolean)
    dominated = placed.select("preference_id", dominated=~kept)
    return Front(
        axes=tuple(axes),
        points=front_contract(columns).validate(
            wide.join(dominated, on="preference_id", how="left", maintain_order="left")
        ),
        hypervolume=hypervolume(points, **box) if placed.height else 0.0,
        rank_correlation=_spearman(placed, axes),
        knee=_knee(placed.filter(kept), axes) if len(axes) == 2 else None,
        spans={
            metric: None if values.has_nulls() else spread(values.to_numpy())
            for (metric,), rows in offline_metrics.group_by("metric", maintain_order=True)
            for values in (rows["value"],)
        },
    )


def fronts_by_level(
    offline_metrics: pl.DataFrame, objectives: Sequence[str], second_axis: SecondAxis | None
) -> list[Front]:
    """The front of every level of the second axis, the neutral one first; one front without an axis."""
    if second_axis is None:
        return [pareto_front(offline_metrics, objectives)]
    ids: list[str] = offline_metrics["preference_id"].unique().to_list()
    level = {name: second_axis.split(name)[1] for name in ids}
    return [
        pareto_front(
            offline_metrics.filter(
                pl.col("preference_id").is_in([name for name in ids if level[name] == one])
            ),
            objectives,
        )
        for one in (second_axis.neutral, *second_axis.others)
    ]


def point_rows(front: pl.DataFrame, second_axis: SecondAxis | None = None) -> list[dict[str, Any]]:
    """The points of the table ``pareto_front`` as plain values, their metrics by name.

    Cells off the neutral level of the second axis have a ``level_label``, such as ``diversity 0.3``.
    """
    names = front_metrics(front)
    labels: dict[str, str] = {}
    if second_axis is not None:
        labels = {
            cell: second_axis.label(second_axis.split(cell)[1])
            for cell in second_axis.off_front(front["preference_id"])
        }
    return [
        {
            **{name: value for name, value in row.items() if name not in names},
            "metrics": {name: row[name] for name in names},
            **({"level_label": label} if (label := labels.get(row["preference_id"])) else {}),
        }
        for row in front.iter_rows(named=True)
    ]


def extreme_points(front: Front, objectives: Sequence[str]) -> dict[str, float | None]:
    """The metrics of the front at the endpoints, where one objective has all the weight.

    Args:
        front: The front.
        objectives: Names of the objectives, in the order of the weights.
    """
    return {
        f"{axis}, {objective}-only endpoint": row[axis]
        for row in front.points.iter_rows(named=True)
        for weight, objective in zip(row["preference"], objectives, strict=True)
        if weight == 1.0
        for axis in front.axes
    }


def front_changes(front: Front, previous: pl.DataFrame) -> pl.DataFrame:
    """The metrics of each preference of both fronts, now and before, where both have them."""
    axes = [axis for axis in front.axes if axis in previous.columns]
    names = {axis: f"{axis}_before" for axis in axes}
    return front.points.select("preference_id", "preference", *axes).join(
        previous.select("preference_id", "preference", *axes).rename(names),
        on=["preference_id", "preference"],
        maintain_order="left",
    )


def _knee(best: pl.DataFrame, axes: Sequence[str]) -> str | None:
    """The point farthest above the line between the endpoints of a front of two metrics."""
    if best.is_empty():
        return None
    points = best.select(axes).to_numpy()
    width = np.ptp(points, axis=0)
    if not (width > 0).all():
        return None
    # Scaled, the endpoints are (0, 1) and (1, 0); on the line between them the axes sum to 1.
    above = ((points - points.min(axis=0)) / width).sum(axis=1) - 1
    return best["preference_id"][int(above.argmax())] if above.max() > _ON_THE_LINE else None


def _spearman(wide: pl.DataFrame, axes: Sequence[str]) -> float | None:
    value = wide.select(pl.corr(*axes[:2], method="spearman")).item()
    return None if value is None or np.isnan(value) else float(value)

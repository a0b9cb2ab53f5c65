"""The Pareto front in metric space: Recall@k against OD@k, both higher is better."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.fronts import hypervolume, non_dominated, spread
from pipeline.core.contracts import ALL_TARGETS, PARETO_FRONT, Metric
from pipeline.core.errors import DataError

REFERENCE_POINT = (0.0, 0.0)
"""Reference point of the hypervolume: Recall@k = 0 and OD@k = 0."""
_IDEAL_POINT = (1.0, 1.0)

_ON_THE_LINE = 1e-9

_AXES = [Metric.RECALL.value, Metric.ORDER_DENSITY.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The Pareto front of a model, and its quality.

    Attributes:
        points: One row per preference, ``dominated`` if another is at least as good on both axes
            and better on one.
        hypervolume: Area dominated by the points, from :data:`REFERENCE_POINT`; in [0, 1], higher
            is better.
        recall_span: Largest over smallest recall, minus 1; 0.05 is 5%.
        order_density_span: The same for order density.
        rank_correlation: Spearman's ρ of recall and order density over the preferences; -1 for a
            strict trade-off, None if one of them does not vary.
        knee: The preference whose point is farthest above the line between the endpoints of the
            front, axes scaled to its width; beyond it, a small gain of one metric costs much of the
            other (Das 1999). None if no point is above the line.
        spans: Largest over smallest value of every metric, minus 1; None if the smallest is not
            positive or one is undefined.
    """

    points: pl.DataFrame
    hypervolume: float
    recall_span: float | None
    order_density_span: float | None
    rank_correlation: float | None
    knee: str | None
    spans: dict[str, float | None]


def pareto_front(offline_metrics: pl.DataFrame) -> Front:
    """The front of a study's ``offline_metrics``.

    Raises:
        DataError: if recall or order density of a preference is undefined (no target within k).
    """
    offline_metrics = offline_metrics.filter(segment=ALL_TARGETS)
    wide = offline_metrics.pivot(
        on="metric", index=["preference_id", "preference"], values="value"
    ).select("preference_id", "preference", *_AXES, Metric.RECALL_ORDER_DENSITY.value)
    undefined = wide.filter(pl.any_horizontal(pl.col(_AXES).is_null()))["preference_id"].to_list()
    if undefined:
        msg = (
            f"order density is undefined for preferences {undefined}, which have no target within "
            "the cutoff; train longer, or raise evaluation.cutoff"
        )
        raise DataError(msg)
    points = wide.select(_AXES).to_numpy()
    box = {"reference": np.array(REFERENCE_POINT), "ideal": np.array(_IDEAL_POINT)}
    kept = non_dominated(points, **box)
    return Front(
        points=PARETO_FRONT.validate(wide.with_columns(dominated=~pl.Series(kept))),
        hypervolume=hypervolume(points, **box),
        recall_span=spread(points[:, 0]),
        order_density_span=spread(points[:, 1]),
        rank_correlation=_spearman(wide),
        knee=_knee(wide.filter(pl.Series(kept))),
        spans={
            metric: None if values.has_nulls() else spread(values.to_numpy())
            for (metric,), rows in offline_metrics.group_by("metric", maintain_order=True)
            for values in (rows["value"],)
        },
    )


def extreme_points(front: pl.DataFrame, objectives: Sequence[str]) -> dict[str, float]:
    """Recall and order density at the endpoints, where one objective has all the weight.

    Args:
        front: The points of :class:`Front`.
        objectives: Names of the objectives, in the order of the weights.
    """
    return {
        f"{axis}, {objective}-only endpoint": row[axis]
        for row in front.iter_rows(named=True)
        for weight, objective in zip(row["preference"], objectives, strict=True)
        if weight == 1.0
        for axis in _AXES
    }


def front_changes(front: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Recall and order density of each preference of both fronts, now and before."""
    names = {axis: f"{axis}_before" for axis in _AXES}
    return front.select("preference_id", "preference", *_AXES).join(
        previous.select("preference_id", "preference", *_AXES).rename(names),
        on=["preference_id", "preference"],
        maintain_order="left",
    )


def _knee(best: pl.DataFrame) -> str | None:
    """The point farthest above the line between the endpoints of a front."""
    points = best.select(_AXES).to_numpy()
    width = np.ptp(points, axis=0)
    if not (width > 0).all():
        return None
    # Scaled, the endpoints are (0, 1) and (1, 0); on the line between them the axes sum to 1.
    above = ((points - points.min(axis=0)) / width).sum(axis=1) - 1
    return best["preference_id"][int(above.argmax())] if above.max() > _ON_THE_LINE else None


def _spearman(wide: pl.DataFrame) -> float | None:
    value = wide.select(pl.corr(*_AXES, method="spearman")).item()
    return None if value is None or np.isnan(value) else float(value)

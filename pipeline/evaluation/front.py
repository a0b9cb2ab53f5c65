"""The Pareto front in metric space: Recall@k against OD@k, both higher is better."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.fronts import hypervolume, non_dominated, span
from pipeline.errors import DataError
from pipeline.schemas import PARETO_FRONT, Metric

REFERENCE_POINT = (0.0, 0.0)
"""The worst point of metric space: Recall@k = 0 and OD@k = 0. Hypervolume is measured from here."""
_IDEAL_POINT = (1.0, 1.0)

_AXES = [Metric.RECALL.value, Metric.ORDER_DENSITY.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The points of all preferences, and how good and how wide the front is.

    Attributes:
        points: One row a preference, ``dominated`` if another is at least as good on both axes
            and better on one.
        hypervolume: Area dominated by the points, from :data:`REFERENCE_POINT`; in [0, 1], higher
            is better.
        recall_span: Largest recall over the smallest, less 1; 0.05 is 5 per cent.
        order_density_span: The same of order density.
        rank_correlation: Spearman's ρ of recall and order density over the preferences; -1 where
            each is only to be had for the other, None where one of them does not vary.
    """

    points: pl.DataFrame
    hypervolume: float
    recall_span: float | None
    order_density_span: float | None
    rank_correlation: float | None


def pareto_front(offline_metrics: pl.DataFrame) -> Front:
    """Place every preference in metric space.

    Raises:
        DataError: if a preference has no recall or no order density (no target within the cutoff).
    """
    wide = offline_metrics.pivot(
        on="metric", index=["preference_id", "preference"], values="value"
    ).select("preference_id", "preference", *_AXES, Metric.RECALL_ORDER_DENSITY.value)
    undefined = wide.filter(pl.any_horizontal(pl.col(_AXES).is_null()))["preference_id"].to_list()
    if undefined:
        msg = (
            f"preferences {undefined} have no target within the cutoff, so no order density; "
            "train longer, or raise evaluation.cutoff"
        )
        raise DataError(msg)
    points = wide.select(_AXES).to_numpy()
    box = {"reference": np.array(REFERENCE_POINT), "ideal": np.array(_IDEAL_POINT)}
    kept = non_dominated(points, **box)
    return Front(
        points=PARETO_FRONT.check(wide.with_columns(dominated=~pl.Series(kept))),
        hypervolume=hypervolume(points, **box),
        recall_span=span(points[:, 0]),
        order_density_span=span(points[:, 1]),
        rank_correlation=_spearman(wide),
    )


def _spearman(wide: pl.DataFrame) -> float | None:
    value = wide.select(pl.corr(*_AXES, method="spearman")).item()
    return None if value is None or np.isnan(value) else float(value)

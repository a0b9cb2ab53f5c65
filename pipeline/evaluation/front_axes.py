"""The axes of the Pareto front: a metric for each objective, which its weight raises.

The front of a study is in the space of what its objectives move. With clicks and orders that is
Recall@k and OD@k, as in the paper; with clicks and the distortion loss, Recall@k and the uniformity
of the scores: distortion lowers recall, coverage and diversity alike, so that no list metric shows
what it gains.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import ALL_TARGETS, Metric

_OWN_METRIC: Mapping[str, Metric] = {
    "click": Metric.RECALL,
    "revenue": Metric.RECALL,
    "order": Metric.ORDER_DENSITY,
    "distortion": Metric.SCORE_UNIFORMITY,
}
"""The metric that estimates what a built-in loss is trained for; others have the metric that follows
their weight most."""

_FALLBACK: tuple[Metric, ...] = (
    Metric.ORDER_DENSITY,
    Metric.CATALOGUE_COVERAGE,
    Metric.COLD_ITEM_RECALL,
    Metric.SHORT_SESSION_RECALL,
    Metric.CATEGORY_DIVERSITY,
    Metric.FRESHNESS,
)
"""Metrics in [0, 1], higher is better, that an objective without a metric of its own may move."""


def front_axes(offline_metrics: pl.DataFrame, objectives: Sequence[str]) -> list[str]:
    """The metrics that span the front, at least two: recall, then one per other objective.

    An objective without a metric of its own (carts, custom losses) has the one with the largest
    Spearman correlation with its weight, if that is positive. Objectives that share a metric share
    the axis.

    Args:
        offline_metrics: The table of that name.
        objectives: Losses of the model, in the order of the weights.
    """
    rows = offline_metrics.filter(segment=ALL_TARGETS)
    known = _defined(rows)
    axes = [Metric.RECALL.value]
    for number, loss in enumerate(objectives):
        own = _OWN_METRIC.get(loss)
        found = own.value if own in known else None
        if own is None:
            found = _most_moved(rows, known, number, taken=axes)
        if found and found not in axes:
            axes.append(found)
    if len(axes) == 1:
        axes.append(Metric.CATALOGUE_COVERAGE.value)
    return axes


def _defined(rows: pl.DataFrame) -> set[str]:
    """Metrics that the table contains."""
    return set(rows["metric"].unique())


def _most_moved(
    rows: pl.DataFrame, known: Collection[str], objective: int, *, taken: Collection[str]
) -> str | None:
    """The metric that rises most consistently with an objective's weight; None if none rises."""
    found: dict[str, float] = {}
    for metric in (one.value for one in _FALLBACK if one.value in known and one.value not in taken):
        of = rows.filter(metric=metric)
        if not of["value"].has_nulls():
            weight = of["preference"].list.get(objective).to_numpy()
            found[metric] = _correlation(of["value"].to_numpy(), weight)
    best = max(found, key=lambda metric: found[metric], default=None)
    return best if best is not None and found[best] > 0 else None


def _correlation(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    if np.ptp(values) == 0 or np.ptp(weights) == 0:
        return 0.0
    from scipy.stats import spearmanr  # noqa: PLC0415 - not for a server, whose losses have metrics of their own

    return float(spearmanr(values, weights).statistic)  # pyright: ignore[reportAttributeAccessIssue]

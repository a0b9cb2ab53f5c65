"""Columns of offline metrics, as the table ``offline_metrics`` that hypotheses are tested on."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pipeline.core.contracts import (
    ALL_TARGETS,
    OFFLINE_METRIC_COVARIANCE,
    OFFLINE_METRIC_REPLICATES,
    OFFLINE_METRICS,
    Metric,
)
from pipeline.core.errors import DataError
from pipeline.inference.counts.checks import is_computable
from pipeline.inference.counts.metric_errors import MetricErrors
from pipeline.results.family import Floats

_SHORT = {"od": Metric.ORDER_DENSITY.value}


def metric_name(column: str) -> str:
    """The metric of a column: ``od@20`` is ``order_density@20``."""
    name, at, cutoff = column.partition("@")
    return _SHORT.get(name, name) + at + cutoff


def metric_column(column: str, cutoff: int | None) -> str:
    """The name of a column's metric in the table of metrics; without the common cutoff."""
    name = metric_name(column)
    return name.removesuffix(f"@{cutoff}") if _base(name) in set(Metric) else name


def common_cutoff(columns: Sequence[str]) -> int | None:
    """The k of all metrics at k; None where they differ, or one of them has none."""
    names = [metric_name(column).partition("@") for column in columns]
    cutoffs = {cutoff for name, _, cutoff in names if name in set(Metric)}
    (only,) = cutoffs if len(cutoffs) == 1 else ("",)
    return int(only) if only.isdecimal() else None


def offline_metrics(
    values: Mapping[str, Floats], groups: Sequence[str], errors: MetricErrors
) -> pl.DataFrame:
    """The table ``offline_metrics`` of the groups; Recall · OD is computed from its factors.

    Names have no cutoff if all metrics have the same, as in a study.

    Args:
        values: One number per group, by column; nan where undefined.
        groups: Their names.
        errors: Of the metrics.

    Raises:
        DataError: if two metrics are the same.
    """
    names = [metric_name(column) for column in values]
    if len(set(names)) < len(names):
        msg = f"two of the columns {list(values)} are the same offline metric; drop one"
        raise DataError(msg)
    cutoff = common_cutoff(list(values))
    known = {
        metric_column(column, cutoff): np.sqrt(covariance_GG.diagonal())
        for column, covariance_GG in _with_products(errors, list(values)).covariances().items()
    }
    measured = dict(zip(names, values.values(), strict=True))
    measured |= _products(measured)
    rows = [
        {
            "preference_id": group,
            "preference": [],
            "metric": (metric := metric_column(name, cutoff)),
            "segment": ALL_TARGETS,
            "value": _computable(metric_G[row]),
            "standard_error": _computable(known[metric][row]) if metric in known else None,
            "higher_is_better": True,
        }
        for row, group in enumerate(groups)
        for name, metric_G in measured.items()
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)


def _products(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Recall · OD at every k at which both factors are known, and their product is not."""
    found = {
        f"{Metric.RECALL_ORDER_DENSITY}{at}": values[f"{Metric.RECALL}{at}"]
        * values[f"{Metric.ORDER_DENSITY}{at}"]
        for at in cutoffs_of_both(values)
    }
    return {name: product for name, product in found.items() if name not in values}


def cutoffs_of_both(names: Mapping[str, Floats]) -> list[str]:
    """``@k`` (or nothing) for every k at which both recall and order density are known."""
    recalls = [name.removeprefix(Metric.RECALL) for name in names if _base(name) == Metric.RECALL]
    return [at for at in recalls if f"{Metric.ORDER_DENSITY}{at}" in names]


def covariance_table(
    errors: MetricErrors, columns: Sequence[str], groups: Sequence[str]
) -> pl.DataFrame | None:
    """The table ``offline_metric_covariance``; None if no error is known."""
    cutoff, known = common_cutoff(columns), _with_products(errors, columns)
    rows = [
        {
            "metric": metric_column(column, cutoff),
            "preference_id": one,
            "other_preference_id": other,
            "covariance": float(covariance_GG[row, at]),
            "method": known.methods[column],
        }
        for column, covariance_GG in known.covariances().items()
        for row, one in enumerate(groups)
        for at, other in enumerate(groups)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRIC_COVARIANCE.schema) if rows else None


def replicates_table(
    errors: MetricErrors, columns: Sequence[str], groups: Sequence[str]
) -> pl.DataFrame | None:
    """The table ``offline_metric_replicates``; None without replicates."""
    cutoff = common_cutoff(columns)
    rows = [
        {
            "metric": metric_column(column, cutoff),
            "preference_id": group,
            "replicates": replicates_RG[:, at].tolist(),
        }
        for column, replicates_RG in _with_products(errors, columns).replicates.items()
        for at, group in enumerate(groups)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRIC_REPLICATES.schema) if rows else None


def _with_products(errors: MetricErrors, columns: Sequence[str]) -> MetricErrors:
    """With the replicates of Recall · OD, where those of both factors are known."""
    by_name = {metric_name(column): one for column, one in errors.replicates.items()}
    written = {metric_name(column) for column in columns}
    products = {
        name: by_name[f"{Metric.RECALL}{at}"] * by_name[f"{Metric.ORDER_DENSITY}{at}"]
        for at in cutoffs_of_both(by_name)
        if (name := f"{Metric.RECALL_ORDER_DENSITY}{at}") not in written
        and by_name[f"{Metric.RECALL}{at}"].shape == by_name[f"{Metric.ORDER_DENSITY}{at}"].shape
    }
    return errors.with_replicates(products)


def _base(metric: str) -> str:
    return metric.partition("@")[0]


def _computable(value: float) -> float | None:
    return float(value) if is_computable(value) else None

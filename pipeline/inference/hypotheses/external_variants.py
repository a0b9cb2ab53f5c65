"""The offline metrics of external variants, as tables that hypotheses are tested on."""

from dataclasses import replace

import polars as pl

from pipeline.core.contracts import OFFLINE_METRIC_COVARIANCE, OFFLINE_METRICS
from pipeline.experiment.design.external_variants import SHARE, STANDARD_ERROR, VARIANT
from pipeline.inference.hypotheses.counts_table import common_cutoff, metric_column, offline_metrics
from pipeline.inference.hypotheses.from_counts import resolve_metric_names
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.study import RegressionConfig

_METHOD = "independent"
"""The errors of two variants' metrics are assumed independent: their correlation is unknown."""


def variant_metrics(variants: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The tables ``offline_metrics`` and ``offline_metric_covariance`` of variants.

    Args:
        variants: As :func:`pipeline.experiment.design.external_variants.read_variants` reads them.

    Returns:
        The metrics, one row per variant and metric; and the covariance of the errors of those with
        standard errors, or None if there are none.

    Raises:
        DataError: if no column is a metric, or two are the same.
    """
    table = _of_groups(variants)
    metrics = offline_metrics(table)
    errors = _standard_errors(variants, table)
    if errors is None:
        return metrics, None
    metrics = metrics.drop("standard_error").join(
        errors, on=["preference_id", "metric"], how="left", maintain_order="left"
    )
    names = variants[VARIANT].to_list()
    rows = [
        {
            "metric": metric,
            "preference_id": one,
            "other_preference_id": other,
            "covariance": error**2 if one == other else 0.0,
            "method": _METHOD,
        }
        for one, metric, error in errors.iter_rows()
        for other in names
    ]
    covariance = pl.DataFrame(rows, schema=OFFLINE_METRIC_COVARIANCE.schema)
    return metrics.select(list(OFFLINE_METRICS.columns)), covariance


def cutoff_of(variants: pl.DataFrame) -> int | None:
    """The k of all the variants' metrics at k; None where they differ, or none has one."""
    return common_cutoff(_of_groups(variants))


def section_of(
    section: RegressionConfig, evidence: RegressionInputs, variants: pl.DataFrame
) -> RegressionConfig:
    """The study's hypotheses, their metrics named as in the tables.

    Raises:
        StudyError: if a metric is not a column of the variants, or the log does not contain a KPI.
    """
    asked = resolve_metric_names(section.hypotheses, evidence, cutoff_of(variants))
    return replace(section, hypotheses=tuple(asked))


def check_hypotheses(
    section: RegressionConfig, variants: pl.DataFrame, group_kpis: pl.DataFrame
) -> None:
    """Raise what :func:`section_of` does, as soon as the KPIs of the log are known."""
    section_of(section, RegressionInputs(*variant_metrics(variants), group_kpis), variants)


def _of_groups(variants: pl.DataFrame) -> pl.DataFrame:
    """The variants as a table of groups and metrics."""
    metrics = [name for name in variants.columns if not name.endswith(STANDARD_ERROR)]
    return variants.select(metrics).drop(SHARE).rename({VARIANT: "group"})


def _standard_errors(variants: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame | None:
    """One row per variant and metric with a known error: preference_id, metric, standard_error."""
    known = [name for name in table.columns if f"{name}{STANDARD_ERROR}" in variants.columns]
    cutoff = common_cutoff(table)
    parts = [
        table.select(
            preference_id="group",
            metric=pl.lit(metric_column(name, cutoff)),
            standard_error=variants[f"{name}{STANDARD_ERROR}"].cast(pl.Float64),
        )
        for name in known
    ]
    return pl.concat(parts) if parts else None

"""The offline metrics of external variants, as tables that hypotheses are tested on."""

from dataclasses import replace

import polars as pl

from pipeline.experiment.design.external_variants import SHARE, STANDARD_ERROR, VARIANT
from pipeline.inference.counts.metric_errors import INDEPENDENT, MetricErrors, with_correlation
from pipeline.inference.counts.metrics import common_cutoff, covariance_table, offline_metrics
from pipeline.inference.hypotheses.from_counts import declared_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.results.family import Floats
from pipeline.study import RegressionConfig

_WHERE = "regression.hypotheses"


def variant_metrics(variants: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The tables ``offline_metrics`` and ``offline_metric_covariance`` of variants.

    Args:
        variants: As :func:`pipeline.experiment.design.external_variants.read_variants` reads them.

    Returns:
        The metrics, one row per variant and metric; and the covariance of the errors of those with
        standard errors, or None if there are none. The errors of two variants are assumed
        independent: their correlation is unknown.

    Raises:
        DataError: if two metrics are the same.
    """
    values, names = _metrics_of(variants), variants[VARIANT].to_list()
    matrices = {
        column: with_correlation(_floats(variants, f"{column}{STANDARD_ERROR}"), 0.0)
        for column in values
        if f"{column}{STANDARD_ERROR}" in variants.columns
    }
    errors = MetricErrors(matrices=matrices, methods=dict.fromkeys(matrices, INDEPENDENT))
    metrics = offline_metrics(values, names, errors)
    return metrics, covariance_table(errors, list(values), names)


def cutoff_of(variants: pl.DataFrame) -> int | None:
    """The k of all the variants' metrics at k; None where they differ, or none has one."""
    return common_cutoff(list(_metrics_of(variants)))


def section_of(
    section: RegressionConfig, evidence: RegressionInputs, variants: pl.DataFrame
) -> RegressionConfig:
    """The hypotheses that are tested, their metrics named as in the tables.

    Of the default hypotheses, those of the paper, only the ones that variants have a metric for.

    Raises:
        StudyError: if a metric is not a column of the variants, or the log does not contain a KPI.
    """
    asked = declared_hypotheses(section.hypotheses, evidence, cutoff_of(variants), where=_WHERE)
    return replace(section, hypotheses=tuple(asked))


def check_hypotheses(
    section: RegressionConfig, variants: pl.DataFrame, group_kpis: pl.DataFrame
) -> None:
    """Raise what :func:`section_of` does, as soon as the KPIs of the log are known."""
    section_of(section, RegressionInputs(*variant_metrics(variants), group_kpis), variants)


def _metrics_of(variants: pl.DataFrame) -> dict[str, Floats]:
    """The numeric columns but share and standard errors."""
    return {
        name: _floats(variants, name)
        for name in variants.columns
        if name not in {VARIANT, SHARE}
        and not name.endswith(STANDARD_ERROR)
        and variants[name].dtype.is_numeric()
    }


def _floats(table: pl.DataFrame, column: str) -> Floats:
    return table[column].cast(pl.Float64).to_numpy()

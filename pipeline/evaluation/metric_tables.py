"""The tables of offline metrics: values with their errors, and how the errors go together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.scoring import TargetScores
from pipeline.core.contracts import (
    ALL_TARGETS,
    OFFLINE_METRIC_COVARIANCE,
    OFFLINE_METRIC_REPLICATES,
    OFFLINE_METRICS,
    Metric,
)
from pipeline.evaluation.list_metrics import (
    MEANS,
    OF_ALL_LISTS,
    Catalogue,
    Lists,
    category_diversity_S,
    freshness_terms,
    jackknife,
)
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.evaluation.ranking_metrics import TargetMetric, Targets
from pipeline.evaluation.scoring import PreferenceScores
from pipeline.evaluation.standard_errors import (
    SessionSums,
    bootstrap_ratios,
    covariance_of,
    jackknife_covariance,
)
from pipeline.evaluation.target_segments import HeldOutTargets, segments
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import EvaluationConfig


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """The three tables of ``offline_metrics``."""

    metrics: pl.DataFrame
    covariance: pl.DataFrame
    replicates: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Measured:
    """One metric under every preference.

    ``standard_error_G`` is by the delta method for ratios, by the jackknife for the others;
    ``covariance_GG`` is by ``method``. nan where undefined.
    """

    value_G: NDArray[np.float64]
    standard_error_G: NDArray[np.float64]
    covariance_GG: NDArray[np.float64]
    method: str


def compute_metric_tables(
    scores: Sequence[PreferenceScores],
    test: HeldOutSessions,
    embedding_ID: NDArray[np.float32],
    section: EvaluationConfig,
    *,
    seed: int,
) -> OfflineEvaluation:
    """Offline metrics of a model from what it says under every preference.

    Args:
        scores: Of all preferences.
        test: The sessions that were scored.
        embedding_ID: The model's item embeddings, by which lists are diverse.
        section: What is measured.
        seed: Of the redrawn test sets.
    """
    catalogue = Catalogue(
        test.train_clicks_I, embedding_ID, test.items, cold_item_clicks=section.cold_item_clicks
    )
    shop_items = test.items["item"].to_numpy().astype(np.str_)
    targets = [Targets(one.targets, section.cutoff, catalogue.cold_I, shop_items) for one in scores]
    declared = build_metrics(section)
    lists = [one.lists_SK for one in scores]
    asked_S = test.times[test.tokens.offsets[scores[0].sessions + 1] - 2]
    ratios = _target_sums(targets, declared)
    ratios |= _list_sums(lists, catalogue, asked_S, fresh_days=section.fresh_days)
    redrawn = bootstrap_ratios(list(ratios.values()), section.bootstrap, seed=seed)
    measured = _measured_ratios(ratios, redrawn) | _measured_gini(lists, len(embedding_ID))
    tables = [_rows(ALL_TARGETS, measured, scores, section)]
    for segment, part_P in segments(_held_out_targets(test, scores[0].targets), section.segments):
        parts = [replace(one, targets=one.targets.filter(part_P)) for one in scores]
        some = [replace(one, scores=part.targets) for one, part in zip(targets, parts, strict=True)]
        found = _measured_ratios(_target_sums(some, declared))
        tables.append(_rows(segment, found, parts, section))
    return OfflineEvaluation(
        metrics=OFFLINE_METRICS.validate(pl.concat(tables)),
        covariance=OFFLINE_METRIC_COVARIANCE.validate(_covariance_table(measured, scores, section)),
        replicates=OFFLINE_METRIC_REPLICATES.validate(_replicates_table(redrawn, ratios, scores)),
    )


def _held_out_targets(test: HeldOutSessions, scores: TargetScores) -> HeldOutTargets:
    clicked = test.times[test.tokens.offsets[scores.session] + scores.history]
    category_I = test.items["category"].to_numpy()
    return HeldOutTargets(scores, test.train_clicks_I, clicked, category_I)


def _target_sums(
    targets: list[Targets], declared: Mapping[str, TargetMetric]
) -> dict[str, SessionSums]:
    """The sums by session of the metrics of targets."""
    sums: dict[str, SessionSums] = {}
    for metric, terms in declared.items():
        numerators, denominators = zip(*(terms(one) for one in targets), strict=True)
        sums[metric] = SessionSums.of(numerators, denominators, targets[0].scores.session)
    return sums


def _list_sums(
    lists: list[Lists], catalogue: Catalogue, asked_S: NDArray[np.int64], *, fresh_days: float
) -> dict[str, SessionSums]:
    """The sums by session of the metrics that are means over lists."""
    sums: dict[str, SessionSums] = {}
    for metric, value_S in MEANS.items():
        values_SG = np.stack([value_S(catalogue, one) for one in lists], axis=1)
        sums[metric.value] = SessionSums(values_SG, np.ones_like(values_SG))
    if (category_I := catalogue.category_I) is not None:
        values_SG = np.stack([category_diversity_S(category_I, one) for one in lists], axis=1)
        sums[Metric.CATEGORY_DIVERSITY.value] = SessionSums(values_SG, np.ones_like(values_SG))
    if (available_I := catalogue.available_I) is not None:
        terms = [freshness_terms(available_I, one, asked_S, fresh_days) for one in lists]
        fresh, known = (np.stack(column, axis=1) for column in zip(*terms, strict=True))
        sums[Metric.FRESHNESS.value] = SessionSums(fresh, known)
    return sums


def _measured_ratios(
    sums: dict[str, SessionSums], redrawn: NDArray[np.float64] | None = None
) -> dict[str, _Measured]:
    """Values and errors; with replicates of the metrics, their covariance is the bootstrap's."""
    delta = {metric: one.delta_covariance_GG() for metric, one in sums.items()}
    return {
        metric: _Measured(
            value_G=one.ratio_G(),
            standard_error_G=np.sqrt(np.diag(delta[metric])),
            covariance_GG=delta[metric] if redrawn is None else covariance_of(redrawn[:, number]),
            method="delta" if redrawn is None else "bootstrap",
        )
        for number, (metric, one) in enumerate(sums.items())
    }


def _measured_gini(lists: list[Lists], n_items: int) -> dict[str, _Measured]:
    """The metrics of how often each item is shown."""
    measured: dict[str, _Measured] = {}
    for metric, statistic in OF_ALL_LISTS.items():
        found = [jackknife(statistic, one, n_items) for one in lists]
        covariance_GG = jackknife_covariance(np.stack([without for _, without in found], axis=1))
        measured[metric.value] = _Measured(
            value_G=np.array([value for value, _ in found]),
            standard_error_G=np.sqrt(np.diag(covariance_GG)),
            covariance_GG=covariance_GG,
            method="jackknife",
        )
    return measured


def _rows(
    segment: str,
    measured: Mapping[str, _Measured],
    scores: Sequence[PreferenceScores],
    section: EvaluationConfig,
) -> pl.DataFrame:
    """One row a preference and metric, in the order of the grid and of the study's metrics."""
    session = scores[0].targets.session
    sizes = {"n_targets": len(session), "n_sessions": len(np.unique(session))}
    rows = [
        {
            "preference_id": one.preference_id,
            "preference": one.preference,
            "metric": metric,
            "cutoff": facts.cutoff,
            "segment": segment,
            "value": measured[metric].value_G[number],
            "standard_error": measured[metric].standard_error_G[number],
            **sizes,
            "higher_is_better": facts.higher_is_better,
        }
        for number, one in enumerate(scores)
        for metric, facts in section.metrics().items()
        if metric in measured
    ]
    table = pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)
    return table.with_columns(pl.col("value", "standard_error").fill_nan(None))


def _covariance_table(
    measured: Mapping[str, _Measured],
    scores: Sequence[PreferenceScores],
    section: EvaluationConfig,
) -> pl.DataFrame:
    """One row a metric and pair of preferences, both orders."""
    names = [one.preference_id for one in scores]
    rows = [
        (metric, names[row], names[column], covariance, measured[metric].method)
        for metric in section.metrics()
        if metric in measured
        for (row, column), covariance in np.ndenumerate(measured[metric].covariance_GG)
    ]
    table = pl.DataFrame(rows, schema=OFFLINE_METRIC_COVARIANCE.schema, orient="row")
    return table.with_columns(pl.col("covariance").fill_nan(None))


def _replicates_table(
    redrawn_RMG: NDArray[np.float64],
    metrics: Iterable[str],
    scores: Sequence[PreferenceScores],
) -> pl.DataFrame:
    """One row a metric that is a ratio and a preference."""
    rows = [
        (
            metric,
            one.preference_id,
            [None if np.isnan(value) else value for value in redrawn_RMG[:, row, column].tolist()],
        )
        for row, metric in enumerate(metrics)
        for column, one in enumerate(scores)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRIC_REPLICATES.schema, orient="row")

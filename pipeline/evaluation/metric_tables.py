"""The tables of ``offline_metrics``: values, standard errors, covariances, bootstrap replicates."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.scoring.target_scores import TargetScores
from pipeline.core.contracts import (
    ALL_TARGETS,
    OFFLINE_METRIC_COVARIANCE,
    OFFLINE_METRIC_REPLICATES,
    OFFLINE_METRICS,
)
from pipeline.evaluation.list_metrics import (
    COUNT_METRICS,
    LIST_METRICS,
    REQUIRED_ATTRIBUTE,
    Catalogue,
    RecommendationLists,
)
from pipeline.evaluation.metric_estimates import (
    MetricEstimate,
    estimate_from_counts,
    estimate_ratios,
    sum_by_session,
)
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.evaluation.ranking_metrics import Targets
from pipeline.evaluation.scoring import PreferenceScores
from pipeline.evaluation.standard_errors import SessionSums, bootstrap_ratios
from pipeline.evaluation.target_segments import HeldOutTargets, segments
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import EvaluationConfig
from pipeline.study.evaluation import MetricInfo


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """The three tables of ``offline_metrics``."""

    metrics: pl.DataFrame
    covariance: pl.DataFrame
    replicates: pl.DataFrame


def compute_metric_tables(  # noqa: PLR0913 - data and configuration
    scores: Sequence[PreferenceScores],
    test: HeldOutSessions,
    embedding_ID: NDArray[np.float32],
    config: EvaluationConfig,
    *,
    objectives: Collection[str],
    seed: int,
) -> OfflineEvaluation:
    """Offline metrics of a model under every preference.

    Args:
        scores: The model's scores, one element per preference.
        test: The sessions that were scored.
        embedding_ID: The model's item embeddings, for the diversity of lists.
        config: Which metrics, cutoffs and segments.
        objectives: The losses that the model was trained with.
        seed: Seed of the bootstrap.
    """
    cold_I = test.train_clicks_I <= config.cold_item_clicks
    item_ids = test.items["item"].to_numpy().astype(np.str_)
    targets = [Targets.from_scores(one.targets, config.cutoff, cold_I, item_ids) for one in scores]
    metrics = config.metrics(objectives, has_orders=bool(scores[0].targets.ordered.any()))
    declared = {name: terms for name, terms in build_metrics(config).items() if name in metrics}
    ratios = sum_by_session(targets, declared, targets[0].session)
    ratios |= _list_sums(scores, test, embedding_ID, config)
    replicates_RMG = bootstrap_ratios(list(ratios.values()), config.bootstrap, seed=seed)
    counts = {metric.value: statistic for metric, statistic in COUNT_METRICS.items()}
    estimates = estimate_ratios(ratios, replicates_RMG)
    estimates |= estimate_from_counts([one.lists_SK for one in scores], len(embedding_ID), counts)
    tables = [_rows(ALL_TARGETS, estimates, scores, targets[0].session, metrics)]
    for segment, part_P in segments(_held_out_targets(test, scores[0].targets), config.segments):
        parts = [one.filter(part_P) for one in targets]
        found = estimate_ratios(sum_by_session(parts, declared, parts[0].session))
        tables.append(_rows(segment, found, scores, parts[0].session, metrics))
    replicates = _replicates_table(replicates_RMG, ratios, scores)
    return OfflineEvaluation(
        metrics=OFFLINE_METRICS.validate(pl.concat(tables)),
        covariance=OFFLINE_METRIC_COVARIANCE.validate(
            _covariance_table(estimates, scores, metrics)
        ),
        replicates=OFFLINE_METRIC_REPLICATES.validate(replicates),
    )


def _held_out_targets(test: HeldOutSessions, scores: TargetScores) -> HeldOutTargets:
    ts_P = test.times[test.tokens.offsets[scores.session] + scores.history]
    category_I = test.items["category"].to_numpy()
    return HeldOutTargets(scores, test.train_clicks_I, ts_P, category_I)


def _list_sums(
    scores: Sequence[PreferenceScores],
    test: HeldOutSessions,
    embedding_ID: NDArray[np.float32],
    config: EvaluationConfig,
) -> dict[str, SessionSums]:
    """Sums by session of the metrics that are means over lists."""
    catalogue = Catalogue(
        len(embedding_ID),
        train_clicks=test.train_clicks_I,
        embedding=embedding_ID,
        category=test.items["category"],
        available_since=test.items["available_since"],
    )
    sessions = scores[0].sessions
    ts_S = test.times[test.tokens.offsets[sessions + 1] - 2]  # of the click before the last
    lists = [
        RecommendationLists(
            catalogue=catalogue, items_SK=one.lists_SK, ts_S=ts_S, fresh_days=config.fresh_days
        )
        for one in scores
    ]
    known = {
        metric.value: terms
        for metric, terms in LIST_METRICS.items()
        if REQUIRED_ATTRIBUTE[metric] in catalogue.known
    }
    return sum_by_session(lists, known, np.arange(len(sessions)))


def _rows(
    segment: str,
    estimates: Mapping[str, MetricEstimate],
    scores: Sequence[PreferenceScores],
    session: NDArray[np.int64],
    metrics: Mapping[str, MetricInfo],
) -> pl.DataFrame:
    """One row per preference and metric, in the order of the grid and of the study's metrics."""
    sizes = {"n_targets": len(session), "n_sessions": len(np.unique(session))}
    rows = [
        {
            "preference_id": one.preference_id,
            "preference": one.preference,
            "metric": metric,
            "cutoff": facts.cutoff,
            "segment": segment,
            "value": estimates[metric].value_G[number],
            "standard_error": estimates[metric].standard_error_G[number],
            **sizes,
            "higher_is_better": facts.higher_is_better,
        }
        for number, one in enumerate(scores)
        for metric, facts in metrics.items()
        if metric in estimates
    ]
    table = pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)
    return table.with_columns(pl.col("value", "standard_error").fill_nan(None))


def _covariance_table(
    estimates: Mapping[str, MetricEstimate],
    scores: Sequence[PreferenceScores],
    metrics: Iterable[str],
) -> pl.DataFrame:
    """One row per metric and ordered pair of preferences."""
    names = [one.preference_id for one in scores]
    rows = [
        (metric, names[row], names[column], covariance, estimates[metric].method)
        for metric in metrics
        if metric in estimates
        for (row, column), covariance in np.ndenumerate(estimates[metric].covariance_GG)
    ]
    table = pl.DataFrame(rows, schema=OFFLINE_METRIC_COVARIANCE.schema, orient="row")
    return table.with_columns(pl.col("covariance").fill_nan(None))


def _replicates_table(
    replicates_RMG: NDArray[np.float64],
    metrics: Iterable[str],
    scores: Sequence[PreferenceScores],
) -> pl.DataFrame:
    """One row per preference and metric that is a ratio."""
    rows = [
        (
            metric,
            one.preference_id,
            [
                None if np.isnan(value) else value
                for value in replicates_RMG[:, row, column].tolist()
            ],
        )
        for row, metric in enumerate(metrics)
        for column, one in enumerate(scores)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRIC_REPLICATES.schema, orient="row")

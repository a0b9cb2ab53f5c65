"""The tables of offline metrics: values with their errors, and how the errors go together."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from models.network import ConditionedSessionModel
from models.preferences import preference_grid
from models.scoring import TargetScores, score_targets, session_lists
from models.tokens import SessionTokens
from pipeline.evaluation.lists import (
    MEANS,
    OF_ALL_LISTS,
    Catalogue,
    Lists,
    leaving_groups_out,
)
from pipeline.evaluation.metrics import TARGET_METRICS, Targets
from pipeline.evaluation.segments import HeldOutTargets, segments
from pipeline.evaluation.uncertainty import (
    SessionSums,
    bootstrap_ratios,
    covariance_of,
    jackknife_covariance,
)
from pipeline.schemas import ALL_TARGETS, OFFLINE_METRIC_COVARIANCE, OFFLINE_METRICS, Metric
from pipeline.study import EvaluationSection


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """The two tables of ``offline_metrics``."""

    metrics: pl.DataFrame
    covariance: pl.DataFrame


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


@dataclass(frozen=True, slots=True)
class HeldOutSessions:
    """What a model is evaluated on.

    Attributes:
        tokens: The test sessions.
        times: When each of their clicks was, milliseconds since 1970-01-01 UTC.
        train_clicks_I: Clicks of each item in train.
    """

    tokens: SessionTokens
    times: NDArray[np.int64]
    train_clicks_I: NDArray[np.int64]


def evaluate_preferences(
    model: ConditionedSessionModel, test: HeldOutSessions, section: EvaluationSection, *, seed: int
) -> OfflineEvaluation:
    """Offline metrics of a model for every preference of the study's grid; ``seed`` redraws."""
    grid_GO = preference_grid(section.preferences, model.n_objectives)
    k = min(section.cutoff, model.n_items)
    lists = [session_lists(model, test.tokens, preference_O, k) for preference_O in grid_GO]
    catalogue = Catalogue(
        test.train_clicks_I,
        model.item_embedding.weight.detach().cpu().numpy(),
        cold_item_clicks=section.cold_item_clicks,
    )
    targets = [
        Targets(scores, section.cutoff, catalogue.cold_I)
        for scores in score_targets(model, test.tokens, grid_GO, ties=section.ties)
    ]
    ratios = _target_sums(targets) | _list_sums(lists, catalogue)
    redrawn = bootstrap_ratios(list(ratios.values()), section.bootstrap, seed=seed)
    measured = _measured_ratios(ratios, redrawn) | _measured_exposure(lists, model.n_items)
    tables = [_rows(ALL_TARGETS, measured, targets[0], grid_GO)]
    for segment, part_P in segments(_held_out_targets(test, targets[0].scores), section.segments):
        parts = [replace(one, scores=one.scores.where(part_P)) for one in targets]
        tables.append(_rows(segment, _measured_ratios(_target_sums(parts)), parts[0], grid_GO))
    return OfflineEvaluation(
        metrics=OFFLINE_METRICS.check(pl.concat(tables)),
        covariance=OFFLINE_METRIC_COVARIANCE.check(_covariance_table(measured)),
    )


def _held_out_targets(test: HeldOutSessions, scores: TargetScores) -> HeldOutTargets:
    clicked = test.times[test.tokens.offsets[scores.session] + scores.history]
    return HeldOutTargets(scores, test.train_clicks_I, clicked)


def preference_id(number: int) -> str:
    """The name of the grid's preference ``number``, such as ``p03``."""
    return f"p{number:02d}"


def _target_sums(targets: list[Targets]) -> dict[Metric, SessionSums]:
    """The sums by session of the metrics of targets."""
    sums: dict[Metric, SessionSums] = {}
    for metric, terms in TARGET_METRICS.items():
        numerators, denominators = zip(*(terms(one) for one in targets), strict=True)
        sums[metric] = SessionSums.of(numerators, denominators, targets[0].scores.session)
    return sums


def _list_sums(lists: list[Lists], catalogue: Catalogue) -> dict[Metric, SessionSums]:
    """The sums by session of the metrics that are means over lists."""
    sums: dict[Metric, SessionSums] = {}
    for metric, value_S in MEANS.items():
        values_SG = np.stack([value_S(catalogue, one) for one in lists], axis=1)
        sums[metric] = SessionSums(values_SG, np.ones_like(values_SG))
    return sums


def _measured_ratios(
    sums: dict[Metric, SessionSums], redrawn: NDArray[np.float64] | None = None
) -> dict[Metric, _Measured]:
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


def _measured_exposure(lists: list[Lists], n_items: int) -> dict[Metric, _Measured]:
    """The metrics of how often each item is shown."""
    measured: dict[Metric, _Measured] = {}
    for metric, statistic in OF_ALL_LISTS.items():
        found = [leaving_groups_out(statistic, one, n_items) for one in lists]
        covariance_GG = jackknife_covariance(np.stack([without for _, without in found], axis=1))
        measured[metric] = _Measured(
            value_G=np.array([value for value, _ in found]),
            standard_error_G=np.sqrt(np.diag(covariance_GG)),
            covariance_GG=covariance_GG,
            method="jackknife",
        )
    return measured


def _rows(
    segment: str, measured: dict[Metric, _Measured], targets: Targets, grid_GO: Tensor
) -> pl.DataFrame:
    """One row a preference and metric, in the order of the grid and of :class:`Metric`."""
    n_targets, n_sessions = len(targets.scores.rank), len(np.unique(targets.scores.session))
    rows = [
        {
            "preference_id": preference_id(number),
            "preference": [round(weight, 6) for weight in preference],
            "metric": metric.value,
            "cutoff": targets.k if metric.has_cutoff else None,
            "segment": segment,
            "value": measured[metric].value_G[number],
            "standard_error": measured[metric].standard_error_G[number],
            "n_targets": n_targets,
            "n_sessions": n_sessions,
            "higher_is_better": metric.higher_is_better,
        }
        for number, preference in enumerate(grid_GO.tolist())
        for metric in Metric
        if metric in measured
    ]
    table = pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)
    return table.with_columns(pl.col("value", "standard_error").fill_nan(None))


def _covariance_table(measured: dict[Metric, _Measured]) -> pl.DataFrame:
    """One row a metric and pair of preferences, both orders."""

    def rows() -> Iterator[tuple[str, str, str, float, str]]:
        for metric in Metric:
            one = measured[metric]
            for (row, column), covariance in np.ndenumerate(one.covariance_GG):
                yield (
                    metric.value,
                    preference_id(row),
                    preference_id(column),
                    covariance,
                    one.method,
                )

    table = pl.DataFrame(list(rows()), schema=OFFLINE_METRIC_COVARIANCE.schema, orient="row")
    return table.with_columns(pl.col("covariance").fill_nan(None))

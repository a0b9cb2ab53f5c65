"""The table of offline metrics: one row a preference and metric, on the whole test set."""

import logging

import numpy as np
import polars as pl
import torch

from models.network import ConditionedSessionModel
from models.preferences import preference_grid
from models.scoring import TargetScores, score_targets
from models.tokens import SessionTokens
from pipeline.evaluation.metrics import HAS_CUTOFF, HIGHER_IS_BETTER, estimate
from pipeline.schemas import OFFLINE_METRICS, Metric
from pipeline.study import EvaluationSection

_LOG = logging.getLogger(__name__)


def evaluate_preferences(
    model: ConditionedSessionModel, tokens: SessionTokens, section: EvaluationSection
) -> pl.DataFrame:
    """Offline metrics of a model for every preference of the study's grid."""
    tables: list[pl.DataFrame] = []
    grid = preference_grid(section.preferences, model.n_objectives)
    for number, preference in enumerate(grid):
        scores = score_targets(model, tokens, preference)
        tables.append(metric_rows(preference_id(number), preference, scores, section.cutoff))
        _LOG.info("preference %d of %d scored", number + 1, len(grid))
    return OFFLINE_METRICS.check(pl.concat(tables))


def preference_id(number: int) -> str:
    """The name of the grid's preference ``number``, such as ``p03``."""
    return f"p{number:02d}"


def metric_rows(
    name: str, preference: torch.Tensor, scores: TargetScores, cutoff: int
) -> pl.DataFrame:
    """All metrics under one preference."""
    rows = []
    for metric in Metric:
        result = estimate(metric, scores, cutoff)
        rows.append(
            {
                "preference_id": name,
                "preference": [round(weight, 6) for weight in preference.tolist()],
                "metric": metric.value,
                "cutoff": cutoff if metric in HAS_CUTOFF else None,
                "value": result.value,
                "standard_error": result.standard_error,
                "n_targets": len(scores.rank),
                "n_sessions": len(np.unique(scores.session)),
                "higher_is_better": HIGHER_IS_BETTER[metric],
            }
        )
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)

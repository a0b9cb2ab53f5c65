"""Offline metrics as ratios of global counts, never means of batch means (Eq. 3 of the paper).

Every metric here is Σ numerator / Σ denominator over the targets of all test sessions (of a session
longer than the model's window, those of the window). A session's
targets are not independent, so standard errors treat the session as the unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scoring import TargetScores
from pipeline.schemas import Metric

HIGHER_IS_BETTER = {
    Metric.RECALL: True,
    Metric.ORDER_DENSITY: True,
    Metric.RECALL_ORDER_DENSITY: True,
    Metric.MRR: True,
    Metric.CLICK_LOSS: False,
    Metric.ORDER_LOSS: False,
}

HAS_CUTOFF = {Metric.RECALL, Metric.ORDER_DENSITY, Metric.RECALL_ORDER_DENSITY, Metric.MRR}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value with its standard error; both None where the denominator is 0."""

    value: float | None
    standard_error: float | None


def terms(
    metric: Metric, scores: TargetScores, cutoff: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerator and denominator of a metric, one entry a target.

    - ``recall``: share of targets ranked within the cutoff; in [0, 1], higher is better.
    - ``order_density``: share of ordered targets among those within the cutoff (Eq. 3); in
      [0, 1], higher is better.
    - ``recall_order_density``: their product, which is the share of targets that are both within
      the cutoff and ordered; in [0, 1], higher is better.
    - ``mrr``: mean of 1/rank, 0 beyond the cutoff; in [0, 1], higher is better.
    - ``click_loss``: mean cross-entropy over the full softmax; in [0, ∞), lower is better.
    - ``order_loss``: mean binary cross-entropy of the order label; in [0, ∞), lower is better.
    """
    hit = (scores.rank <= cutoff).astype(np.float64)
    each = np.ones_like(hit)
    match metric:
        case Metric.RECALL:
            return hit, each
        case Metric.ORDER_DENSITY:
            return hit * scores.ordered, hit
        case Metric.RECALL_ORDER_DENSITY:
            return hit * scores.ordered, each
        case Metric.MRR:
            return hit / scores.rank, each
        case Metric.CLICK_LOSS:
            return scores.click_loss, each
        case Metric.ORDER_LOSS:
            return scores.order_loss, each


def estimate(metric: Metric, scores: TargetScores, cutoff: int) -> Estimate:
    """A metric with its session-clustered standard error."""
    numerator, denominator = terms(metric, scores, cutoff)
    return ratio_of_sums(numerator, denominator, scores.session)


def ratio_of_sums(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], unit: NDArray[np.int64]
) -> Estimate:
    """Σ numerator / Σ denominator, with the delta-method error over units (sessions).

    With y_s and m_s the sums of session s and R the ratio, the variance is
    ``S/(S-1) · Σ_s (y_s - R m_s)² / (Σ m_s)²``; it is None with fewer than two sessions.
    """
    total = denominator.sum()
    if total == 0:
        return Estimate(value=None, standard_error=None)
    ratio = numerator.sum() / total
    _, row = np.unique(unit, return_inverse=True)
    residual = np.bincount(row, weights=numerator - ratio * denominator)
    n = len(residual)
    if n < 2:
        return Estimate(value=float(ratio), standard_error=None)
    variance = n / (n - 1) * (residual**2).sum() / total**2
    return Estimate(value=float(ratio), standard_error=float(np.sqrt(variance)))

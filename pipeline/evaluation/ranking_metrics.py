"""Offline metrics as ratios of global counts, never means of batch means (Eq. 3 of the paper).

Every metric here is Σ numerator / Σ denominator over the targets of all test sessions (of a session
longer than the model's window, those of the window); a function gives both, one entry a target. A
target has one right answer, so recall is the hit rate and the ideal DCG is 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scoring import TargetScores
from pipeline.core.contracts import Metric

SHORT_HISTORY = 2
"""Clicks before a target that are a short session."""

Floats = NDArray[np.float64]
RatioTerms = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Targets:
    """What a metric looks at.

    Attributes:
        scores: What the model says of the targets under one preference.
        k: The cutoff.
        cold_I: Whether each item of the catalogue is a cold one.
        shop_items: The shop's own id of each item, as text.
    """

    scores: TargetScores
    k: int
    cold_I: NDArray[np.bool_]
    shop_items: NDArray[np.str_]

    @property
    def hit(self) -> Floats:
        """1 where the target ranks within the cutoff, else 0."""
        return (self.scores.rank <= self.k).astype(np.float64)

    @property
    def ones(self) -> Floats:
        """1 for every target."""
        return np.ones(len(self.scores.rank))


def recall(targets: Targets) -> RatioTerms:
    """Share of targets ranked within k; in [0, 1], higher is better."""
    return targets.hit, targets.ones


def order_density(targets: Targets) -> RatioTerms:
    """OD@k, the share of ordered targets among those within k; in [0, 1], higher is better (Eq. 3)."""
    return targets.hit * targets.scores.ordered, targets.hit


def recall_order_density(targets: Targets) -> RatioTerms:
    """Recall@k · OD@k, the share of targets within k and ordered; in [0, 1], higher is better."""
    return targets.hit * targets.scores.ordered, targets.ones


def order_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the ordered targets; in [0, 1], higher is better."""
    return _recall_within(targets, targets.scores.ordered)


def mrr(targets: Targets) -> RatioTerms:
    """Mean of 1/rank, 0 beyond k; in [0, 1], higher is better."""
    return targets.hit / targets.scores.rank, targets.ones


def ndcg(targets: Targets) -> RatioTerms:
    """Mean of 1/log2(1 + rank), 0 beyond k; in [0, 1], higher is better.

    Source: Järvelin & Kekäläinen, "Cumulated gain-based evaluation", TOIS 2002.
    """
    return targets.hit / np.log2(1 + targets.scores.rank), targets.ones


def cold_item_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the targets with few clicks in train; in [0, 1], higher is better."""
    return _recall_within(targets, targets.cold_I[targets.scores.item])


def short_session_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the targets after one or two clicks; in [0, 1], higher is better."""
    return _recall_within(targets, targets.scores.history <= SHORT_HISTORY)


def click_loss(targets: Targets) -> RatioTerms:
    """Mean cross-entropy of the target, full softmax; nats, in [0, ∞), lower is better."""
    if targets.scores.click_loss is None:
        msg = "the targets were scored without their click loss"
        raise ValueError(msg)
    return targets.scores.click_loss, targets.ones


def order_loss(targets: Targets) -> RatioTerms:
    """Mean binary cross-entropy of the order label; nats, in [0, ∞), lower is better."""
    return targets.scores.order_loss, targets.ones


TargetMetric = Callable[[Targets], RatioTerms]

TARGET_METRICS: Mapping[Metric, TargetMetric] = {
    Metric.RECALL: recall,
    Metric.ORDER_DENSITY: order_density,
    Metric.RECALL_ORDER_DENSITY: recall_order_density,
    Metric.ORDER_RECALL: order_recall,
    Metric.MRR: mrr,
    Metric.NDCG: ndcg,
    Metric.COLD_ITEM_RECALL: cold_item_recall,
    Metric.SHORT_SESSION_RECALL: short_session_recall,
    Metric.CLICK_LOSS: click_loss,
    Metric.ORDER_LOSS: order_loss,
}


def _recall_within(targets: Targets, part: NDArray[np.bool_]) -> RatioTerms:
    return targets.hit * part, part.astype(np.float64)

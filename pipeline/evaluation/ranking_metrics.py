"""Offline metrics of targets, as ratios of global counts, never means of batch means (Eq. 3).

A target is a click that is predicted from the clicks before it. Every metric is
Σ numerator / Σ denominator over the targets of all test sessions; its function returns both, one
entry per target. A target has one relevant item, so recall is the hit rate and the ideal DCG is 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scoring.target_scores import TargetScores
from pipeline.core.contracts import Metric
from pipeline.core.errors import DataError

SHORT_HISTORY = 2
"""A session is short while it has at most this many clicks before the target."""

Floats = NDArray[np.float64]
RatioTerms = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The targets of a test set; every column has one entry per target.

    Attributes:
        k: The cutoff.
        columns: ``session``, ``rank`` and those of the columns below that are known; a custom
            metric may read further ones.
        item_ids: The shop's id of each item, as a string; ``item`` is an index into it.
    """

    k: int
    columns: Mapping[str, NDArray[Any]]
    item_ids: NDArray[np.str_]

    @classmethod
    def from_scores(
        cls, scores: TargetScores, k: int, cold_I: NDArray[np.bool_], item_ids: NDArray[np.str_]
    ) -> "Targets":
        """Targets that a model has scored; ``cold_I`` marks the cold items of the catalogue."""
        names = (
            "session",
            "rank",
            "ordered",
            "history",
            "item",
            "click_loss",
            "uniformity",
            "order_loss",
        )
        known = {name: getattr(scores, name) for name in names}
        columns = {name: value for name, value in known.items() if value is not None}
        return cls(k=k, columns=columns | {"cold": cold_I[scores.item]}, item_ids=item_ids)

    def column(self, name: str) -> NDArray[Any]:
        """One column.

        Raises:
            DataError: if the targets have no such column.
        """
        if name not in self.columns:
            msg = f"the targets have no column {name!r}; they have {list(self.columns)}"
            raise DataError(msg)
        return self.columns[name]

    def filter(self, part_P: NDArray[np.bool_]) -> "Targets":
        """The targets where ``part_P`` is true."""
        return replace(self, columns={name: all_P[part_P] for name, all_P in self.columns.items()})

    @property
    def session(self) -> NDArray[np.int64]:
        """Session of the target."""
        return self.column("session")

    @property
    def rank(self) -> NDArray[np.int64]:
        """Rank of the target in the catalogue; 1 is best."""
        return self.column("rank")

    @property
    def ordered(self) -> NDArray[np.bool_]:
        """Whether the session ordered the target."""
        return self.column("ordered")

    @property
    def history(self) -> NDArray[np.int64]:
        """Clicks of the session before the target."""
        return self.column("history")

    @property
    def item(self) -> NDArray[np.int64]:
        """Index of the target in ``item_ids``."""
        return self.column("item")

    @property
    def cold(self) -> NDArray[np.bool_]:
        """Whether the target has few clicks in train."""
        return self.column("cold")

    @property
    def hit(self) -> Floats:
        """1 where the target ranks within the cutoff, else 0."""
        return (self.rank <= self.k).astype(np.float64)

    @property
    def ones(self) -> Floats:
        """1 for every target."""
        return np.ones(len(self.rank))


def recall(targets: Targets) -> RatioTerms:
    """Share of targets ranked within k; in [0, 1], higher is better."""
    return targets.hit, targets.ones


def order_density(targets: Targets) -> RatioTerms:
    """OD@k, the share of ordered targets among those within k; in [0, 1], higher is better (Eq. 3)."""
    return targets.hit * targets.ordered, targets.hit


def recall_order_density(targets: Targets) -> RatioTerms:
    """Recall@k · OD@k, the share of targets within k and ordered; in [0, 1], higher is better."""
    return targets.hit * targets.ordered, targets.ones


def order_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the ordered targets; in [0, 1], higher is better."""
    return _recall_within(targets, targets.ordered)


def mrr(targets: Targets) -> RatioTerms:
    """Mean of 1/rank, 0 beyond k; in [0, 1], higher is better."""
    return targets.hit / targets.rank, targets.ones


def ndcg(targets: Targets) -> RatioTerms:
    """Mean of 1/log2(1 + rank), 0 beyond k; in [0, 1], higher is better.

    Source: Järvelin & Kekäläinen, "Cumulated gain-based evaluation", TOIS 2002.
    """
    return targets.hit / np.log2(1 + targets.rank), targets.ones


def cold_item_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the targets with few clicks in train; in [0, 1], higher is better."""
    return _recall_within(targets, targets.cold)


def short_session_recall(targets: Targets) -> RatioTerms:
    """Recall@k over the targets after one or two clicks; in [0, 1], higher is better."""
    return _recall_within(targets, targets.history <= SHORT_HISTORY)


def click_loss(targets: Targets) -> RatioTerms:
    """Mean cross-entropy of the target, full softmax; nats, in [0, ∞), lower is better."""
    return targets.column("click_loss"), targets.ones


def order_loss(targets: Targets) -> RatioTerms:
    """Mean binary cross-entropy of the order label; nats, in [0, ∞), lower is better."""
    return targets.column("order_loss"), targets.ones


def score_uniformity(targets: Targets) -> RatioTerms:
    """Mean of log n over the distortion loss, n items; in (0, 1], 1 for equal scores of all items.

    It rises as the distortion loss falls (Eq. 2 of Wilm & Normann, 2025), without its unit.
    """
    return targets.column("uniformity"), targets.ones


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
    Metric.SCORE_UNIFORMITY: score_uniformity,
}

REQUIRED_COLUMN: Mapping[Metric, str] = {
    Metric.ORDER_DENSITY: "ordered",
    Metric.RECALL_ORDER_DENSITY: "ordered",
    Metric.ORDER_RECALL: "ordered",
    Metric.COLD_ITEM_RECALL: "cold",
    Metric.SHORT_SESSION_RECALL: "history",
    Metric.CLICK_LOSS: "click_loss",
    Metric.ORDER_LOSS: "order_loss",
    Metric.SCORE_UNIFORMITY: "uniformity",
}
"""What a metric reads, apart from ``session`` and ``rank``."""


def _recall_within(targets: Targets, part: NDArray[np.bool_]) -> RatioTerms:
    return targets.hit * part, part.astype(np.float64)

"""``evaluation``: how offline metrics are computed."""

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, NamedTuple, Self

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.scoring.tie_rule import TieRule
from models.strict import STRICT
from pipeline.core.contracts import Metric, Segmentation
from pipeline.core.errors import StudyError


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CustomMetric:
    """A custom target metric; see :mod:`pipeline.evaluation.ranking_metrics`.

    Attributes:
        name: Name in tables and hypotheses.
        function: Import path, ``package.module:function``.
        higher_is_better: Direction of the metric.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    function: Annotated[str, Len(1)]
    higher_is_better: bool = True


_OF_ORDERS = frozenset(
    {Metric.ORDER_DENSITY, Metric.RECALL_ORDER_DENSITY, Metric.ORDER_RECALL, Metric.ORDER_LOSS}
)
"""Metrics that are unknown without ordered targets."""

_TRAINED_BY = {Metric.ORDER_LOSS: "order", Metric.SCORE_UNIFORMITY: "distortion"}
"""The objective without which a metric describes scores that nothing was trained for."""


def is_of_orders(metric: str) -> bool:
    """Whether a metric, with or without a cutoff in its name, is unknown without ordered targets."""
    return metric.partition("@")[0] in _OF_ORDERS


class MetricInfo(NamedTuple):
    """The cutoff of a metric (None for a loss) and its direction."""

    cutoff: int | None
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EvaluationConfig:
    """How offline metrics are computed.

    Attributes:
        cutoff: k of the metrics at k, such as Recall@k, and the length of the lists.
        extra_cutoffs: Further values of k for target metrics, which are named such as ``recall@5``.
        preferences: Size of the preference grid, evenly spaced from order-only to click-only.
        sessions: Size of the random sample of test sessions; None for all. Items are never sampled.
        shards: Number of parts in which the sessions are scored, in sequence or by several
            processes. Results do not depend on it.
        ties: Rank of a target among items of equal score.
        cold_item_clicks: Maximum number of training clicks of a cold item.
        fresh_days: Number of days for which an item is fresh after it became available.
        bootstrap: Number of bootstrap test sets for the covariance of the metrics' errors.
        segments: Segments that target metrics are also computed on.
        custom_metrics: User-defined target metrics.
    """

    cutoff: Annotated[int, Interval(ge=1, le=10_000)] = 20
    extra_cutoffs: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = ()
    preferences: Annotated[int, Interval(ge=3, le=1001)] = 11
    sessions: Annotated[int, Interval(ge=2, le=1_000_000_000)] | None = None
    shards: Annotated[int, Interval(ge=1, le=10_000)] = 1
    ties: TieRule = TieRule.HALF
    cold_item_clicks: Annotated[int, Interval(ge=0, le=1_000_000_000)] = 10
    fresh_days: Annotated[float, Interval(gt=0, le=36_500)] = 30.0
    bootstrap: Annotated[int, Interval(ge=50, le=100_000)] = 500
    segments: tuple[Segmentation, ...] = (
        Segmentation.SESSION_LENGTH,
        Segmentation.ITEM_POPULARITY,
        Segmentation.DAY,
    )
    custom_metrics: tuple[CustomMetric, ...] = ()

    def __post_init__(self) -> None:
        if len({self.cutoff, *self.extra_cutoffs}) < 1 + len(self.extra_cutoffs):
            msg = (
                f"evaluation.extra_cutoffs = {list(self.extra_cutoffs)} and evaluation.cutoff "
                f"= {self.cutoff} contain a cutoff twice; list each once"
            )
            raise StudyError(msg)
        names = [metric.name for metric in self.custom_metrics]
        if taken := sorted({n for n in names if names.count(n) > 1 or n in set(Metric)}):
            msg = f"evaluation.custom_metrics: the names {taken} are already in use; choose others"
            raise StudyError(msg)

    @property
    def deepest_cutoff(self) -> int:
        """The largest k of any metric."""
        return max((self.cutoff, *self.extra_cutoffs))

    def without_days(self) -> Self:
        """The configuration for a log without times, which has no segments by day."""
        return replace(
            self, segments=tuple(one for one in self.segments if one is not Segmentation.DAY)
        )

    def metrics(
        self, objectives: Collection[str], *, has_orders: bool = True
    ) -> dict[str, MetricInfo]:
        """All metrics of a study by their name in ``offline_metrics``, in its order.

        Args:
            objectives: Losses of the study: a metric of scores that no objective trained is left out.
            has_orders: Whether any target is ordered; metrics of orders are unknown otherwise.
        """
        measured = [
            metric
            for metric in Metric
            if _TRAINED_BY.get(metric) in {None, *objectives}
            and (has_orders or not is_of_orders(metric))
        ]
        found = {
            metric.value: MetricInfo(
                self.cutoff if metric.has_cutoff else None, metric.higher_is_better
            )
            for metric in measured
        }
        extra = {
            f"{metric}@{k}": MetricInfo(k, metric.higher_is_better)
            for k in self.extra_cutoffs
            for metric in measured
            if metric.has_cutoff and not metric.is_list_metric
        }
        custom = {
            one.name: MetricInfo(self.cutoff, one.higher_is_better) for one in self.custom_metrics
        }
        return found | extra | custom

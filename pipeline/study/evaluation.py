"""What a study measures of its model."""

from typing import Annotated, NamedTuple

from annotated_types import Ge, Gt, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.configuration import STRICT
from models.ranking import TieRule
from pipeline.core.contracts import Metric, Segmentation
from pipeline.core.errors import StudyError


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CustomMetric:
    """A metric of targets that is a function of one's own; see :mod:`pipeline.evaluation.ranking_metrics`.

    Attributes:
        name: What the tables and hypotheses call it.
        function: Its import path, ``package.module:function``.
        higher_is_better: Its direction.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    function: Annotated[str, Len(1)]
    higher_is_better: bool = True


class MetricFacts(NamedTuple):
    """The cutoff a metric is measured at, None for a loss; and its direction."""

    cutoff: int | None
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EvaluationConfig:
    """How offline metrics are computed.

    Attributes:
        cutoff: k of all metrics at k, such as Recall@k, and the length of the lists.
        extra_cutoffs: Other k the metrics of targets are also computed at, as ``recall@5``.
        preferences: Points of the preference grid, evenly spaced from all-order to all-click.
        sessions: Test sessions that are scored, drawn at random by the study's seed; None for all.
            Items are never sampled.
        shards: Parts the sessions are scored in, one after another or by several processes; what
            comes out is the same for any number.
        ties: Where a target stands among items of the same score.
        cold_item_clicks: An item with at most so many clicks in train is a cold one.
        fresh_days: An item is fresh for so many days after it became available.
        bootstrap: Redrawn test sets the covariance of a metric's errors is from.
        segments: What the metrics of targets are also computed by.
        custom_metrics: Metrics of one's own.
    """

    cutoff: Annotated[int, Ge(1)] = 20
    extra_cutoffs: tuple[Annotated[int, Ge(1)], ...] = ()
    preferences: Annotated[int, Ge(3)] = 11
    sessions: Annotated[int, Ge(2)] | None = None
    shards: Annotated[int, Ge(1)] = 1
    ties: TieRule = TieRule.HALF
    cold_item_clicks: Annotated[int, Ge(0)] = 10
    fresh_days: Annotated[float, Gt(0)] = 30.0
    bootstrap: Annotated[int, Ge(50)] = 500
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
                f"= {self.cutoff} name a cutoff twice"
            )
            raise StudyError(msg)
        own = [metric.name for metric in self.custom_metrics]
        if taken := sorted({name for name in own if own.count(name) > 1 or name in set(Metric)}):
            msg = f"evaluation.custom_metrics: the names {taken} are taken; choose others"
            raise StudyError(msg)

    def metrics(self) -> dict[str, MetricFacts]:
        """Everything that is measured, by the name it has in ``offline_metrics``, in its order."""
        found = {
            metric.value: MetricFacts(
                self.cutoff if metric.has_cutoff else None, metric.higher_is_better
            )
            for metric in Metric
        }
        at_others = {
            f"{metric}@{k}": MetricFacts(k, metric.higher_is_better)
            for k in self.extra_cutoffs
            for metric in Metric
            if metric.has_cutoff and not metric.is_list_metric
        }
        own = {
            one.name: MetricFacts(self.cutoff, one.higher_is_better) for one in self.custom_metrics
        }
        return found | at_others | own

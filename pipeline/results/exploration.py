"""What explored lists are expected to lose."""

from dataclasses import dataclass

from pipeline.core.contracts import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLoss:
    """The relative loss of one offline metric on explored lists.

    Attributes:
        metric: Recall or nDCG at the length of the lists.
        loss: Share that is lost, over all groups; 0 to 1.
        standard_error: Of the loss; sessions are independent.
        by_group: The loss of each group.
    """

    metric: Metric
    loss: float
    standard_error: float
    by_group: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationLoss:
    """What explored lists lose next to the lists of the best items.

    Attributes:
        temperature: Of the draw.
        metrics: The losses.
        kept: Share of the best items that remain in the list.
        first_kept: Share of lists whose first item remains the first.
        sessions: Held-out sessions.
    """

    temperature: float
    metrics: tuple[MetricLoss, ...]
    kept: float
    first_kept: float
    sessions: int

"""What a study asks of its experiment."""

from typing import Annotated, Literal

from annotated_types import Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Kpi, Metric


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Hypothesis:
    """A declared relation: this offline metric predicts that KPI in this direction.

    The metric is one that ``evaluation`` measures and of which more is better, since x is its
    change against the worst group.

    Attributes:
        id: What tables and sentences call it.
        metric: The offline metric.
        kpi: The online KPI.
        direction: Of the slope.
        margin: Slopes within ± this are of no consequence; then equivalence and non-inferiority
            are tested, too.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    metric: str
    kpi: Kpi
    direction: Literal["positive", "negative"]
    margin: Annotated[float, Gt(0)] | None = None


PAPER_HYPOTHESES = (
    Hypothesis(id="H1", metric=Metric.RECALL, kpi=Kpi.CTR, direction="positive"),
    Hypothesis(id="H2", metric=Metric.ORDER_DENSITY, kpi=Kpi.CVR, direction="positive"),
    Hypothesis(
        id="H3",
        metric=Metric.RECALL_ORDER_DENSITY,
        kpi=Kpi.UNITS_PER_IMPRESSION,
        direction="positive",
    ),
    Hypothesis(id="H4", metric=Metric.RECALL, kpi=Kpi.CVR, direction="negative"),
)
"""Section 5 of the paper."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RegressionConfig:
    """The hypotheses to test, and the level of the intervals.

    Attributes:
        level: Of all intervals.
        hypotheses: Those that are declared, and corrected for each other.
    """

    level: Annotated[float, Interval(gt=0.5, lt=1)] = 0.95
    hypotheses: Annotated[tuple[Hypothesis, ...], Len(1)] = PAPER_HYPOTHESES

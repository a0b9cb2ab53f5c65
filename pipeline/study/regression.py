"""``regression``: the pre-registered hypotheses."""

from typing import Annotated, Literal

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Kpi, Metric


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Hypothesis:
    """A pre-registered hypothesis: an offline metric predicts an online KPI in this direction.

    Attributes:
        id: Name in tables and reports.
        metric: The offline metric, one of ``evaluation`` for which higher is better.
        kpi: The online KPI. ``units_per_impression`` is modelled as ``orders_per_impression``.
        direction: Expected sign of the slope.
        margin: Largest negligible slope, for the equivalence and non-inferiority tests; None to
            run neither.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    metric: str
    kpi: Kpi
    direction: Literal["positive", "negative"]
    margin: Annotated[float, Interval(gt=0, le=100)] | None = None


PAPER_HYPOTHESES = (
    Hypothesis(id="H1", metric=Metric.RECALL, kpi=Kpi.CTR, direction="positive"),
    Hypothesis(id="H2", metric=Metric.ORDER_DENSITY, kpi=Kpi.CVR, direction="positive"),
    Hypothesis(
        id="H3",
        metric=Metric.RECALL_ORDER_DENSITY,
        kpi=Kpi.ORDERS_PER_IMPRESSION,
        direction="positive",
    ),
    Hypothesis(id="H4", metric=Metric.RECALL, kpi=Kpi.CVR, direction="negative"),
)
"""The hypotheses of section 5 of the paper."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RegressionConfig:
    """The hypotheses and the confidence level.

    Attributes:
        level: Confidence level of all intervals.
        hypotheses: The pre-registered hypotheses; their p-values are adjusted for multiplicity.
    """

    level: Annotated[float, Interval(gt=0.5, lt=1)] = 0.95
    hypotheses: Annotated[tuple[Hypothesis, ...], Len(1)] = PAPER_HYPOTHESES

"""``regression``: the pre-registered hypotheses."""

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Literal, Self

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Kpi, Metric
from pipeline.core.errors import StudyError
from pipeline.study.evaluation import is_of_orders


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

    @property
    def needs_orders(self) -> bool:
        """Whether its metric or its KPI is unknown without orders."""
        return self.kpi.needs_orders or is_of_orders(self.metric)


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


def default_hypotheses(metrics: Collection[str], kpis: Collection[Kpi]) -> tuple[Hypothesis, ...]:
    """The paper's hypotheses whose metric and KPI exist: those of a study that declares none."""
    return tuple(one for one in PAPER_HYPOTHESES if one.metric in metrics and one.kpi in kpis)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AdviceConfig:
    """How groups are compared, for the advice on which one to ship.

    Attributes:
        control: The group that others are compared with, such as the one in production; None to
            compare with the group where a KPI is lowest.
        effect_scale: Typical relative difference of a KPI between groups (scale of the half-Cauchy
            prior). The smaller, the more the measured change of the best group is drawn in.
        margin: Largest negligible relative difference of a KPI between groups, such as 0.01; None
            to never conclude that there is no difference.
    """

    control: Annotated[str, Len(1)] | None = None
    effect_scale: Annotated[float, Interval(gt=0, le=1)] = 0.05
    margin: Annotated[float, Interval(gt=0, le=1)] | None = None


class XReference(StrEnum):
    """What a group's metric is compared with to make x."""

    WORST = "worst"
    """``M / min M - 1``, as in the paper."""
    CONTROL = "control"
    """``M / M_control - 1``, with the control of ``advice``."""
    LOG = "log"
    """``log M`` less that of the control, or of the worst group without one."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RegressionConfig:
    """The hypotheses, the confidence level and the advice.

    Attributes:
        level: Confidence level of all intervals.
        hypotheses: The pre-registered hypotheses; their p-values are adjusted for multiplicity.
            Without any (``[]``), those of the paper whose metric and KPI exist.
        advice: Settings of the advice on which group to ship.
        x_reference: What slopes are relative to: ``worst`` (M / min M - 1, as in the paper),
            ``control`` (M / M of the control - 1) or ``log`` (log M).
    """

    level: Annotated[float, Interval(gt=0.5, lt=1)] = 0.95
    hypotheses: tuple[Hypothesis, ...] = ()
    advice: AdviceConfig = Field(default_factory=AdviceConfig)
    x_reference: XReference = XReference.WORST

    def __post_init__(self) -> None:
        ids = [hypothesis.id for hypothesis in self.hypotheses]
        if len(set(ids)) != len(ids):
            msg = f"regression.hypotheses: the ids {ids} are not unique"
            raise StudyError(msg)

    def declared(self, metrics: Collection[str], kpis: Collection[Kpi]) -> Self:
        """These settings with the hypotheses that are tested where these metrics and KPIs exist."""
        return (
            self if self.hypotheses else replace(self, hypotheses=default_hypotheses(metrics, kpis))
        )

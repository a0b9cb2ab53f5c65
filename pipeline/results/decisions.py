"""What follows from the slopes: strength of evidence, recommendations, and the metric ranking."""

from dataclasses import dataclass
from typing import Literal

from pipeline.core.contracts import Kpi
from pipeline.results.reasons import (
    Advice,
    Concern,
    EvidenceStrength,
    LimitationKind,
    Movement,
    Support,
    UndefinedReason,
)
from pipeline.results.slopes import Change, Finite, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRating:
    """The strength of evidence behind one verdict, with the reasons.

    Attributes:
        strength: Low with a serious concern, moderate with a minor one, else high; none where the
            verdict is inconclusive, blocked or undefined.
        support: What supports the verdict.
        serious: Concerns that could reverse it.
        minor: Concerns that could not.
    """

    strength: EvidenceStrength
    support: tuple[Support, ...] = ()
    serious: tuple[Concern, ...] = ()
    minor: tuple[Concern, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiChange(Change):
    """The relative change of a KPI from a baseline group to another.

    Attributes:
        kpi: The KPI.
        group: The group compared.
        baseline: The group it is compared with.
        movement: The direction, or inconclusive. The interval covers all pairs of groups
            simultaneously.
    """

    kpi: Kpi
    group: str
    baseline: str
    movement: Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to do for one KPI.

    Attributes:
        kpi: The KPI.
        advice: See :class:`Advice`.
        hypothesis: Id of the hypothesis whose metric to optimise: of those on this KPI, confirmed
            before suggestive, then those with a positive slope, then the first declared. None if
            there is none.
        metric_direction: Whether to increase or decrease that metric.
        contradicted: Ids of hypotheses on this KPI that are contradicted.
        group: The group with the highest KPI.
        preference: Its π; None for a variant.
        baseline: The group with the lowest KPI.
        expected_change: Measured change from the baseline to the group.
        predicted_change: The same change on the line of ``hypothesis``, at the study's level; its
            error is that of the line alone.
        trade_offs: The change of the other KPIs (guardrails).
        indistinguishable: Groups that are not significantly worse than the best.
        changes: The change of every KPI from every other group to ``group``.
        comparisons: Number of pairs of groups that the intervals cover simultaneously.
    """

    kpi: Kpi
    advice: Advice
    hypothesis: str | None = None
    metric_direction: Literal["increase", "decrease"] | None = None
    contradicted: tuple[str, ...] = ()
    group: str | None = None
    preference: tuple[Finite, ...] | None = None
    baseline: str | None = None
    expected_change: KpiChange | None = None
    predicted_change: Change | None = None
    trade_offs: tuple[KpiChange, ...] = ()
    indistinguishable: tuple[str, ...] = ()
    changes: tuple[KpiChange, ...] = ()
    comparisons: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedMetric:
    """How well one metric predicts one KPI (exploratory).

    Attributes:
        metric: The metric.
        kpi: The KPI.
        slope: Change of the link for a relative change of the metric by 1.
        p_value: Of the small-sample test (Hartung–Knapp, t with g - 2); None for two groups.
        interval: Small-sample confidence interval.
        bh_p_value: ``p_value``, adjusted for all metrics and KPIs (Benjamini–Hochberg).
        lack_of_fit: Cluster-robust χ² of the groups' deviations from the line.
        delta_qaic: QAIC less that of the KPI's best metric, 0 or more.
        akaike_weight: Among the KPI's metrics, in [0, 1]; they sum to 1.
        tied: Whether ``delta_qaic`` is at most 2.
        probability_of_best: Share of draws of metrics and KPI in which this metric has the least
            lack of fit; None where unknown.
        vuong_p_value: Of Vuong's (1989) test against the best metric, users as observations; 1 for
            the best itself.
        leave_one_out_error: Root mean square relative error of the rate of each group, predicted by
            the line through the other groups; None where one of those lines is undefined.
    """

    metric: str
    kpi: Kpi
    slope: Finite
    p_value: Finite | None
    interval: Interval | None
    bh_p_value: Finite | None
    lack_of_fit: Finite
    delta_qaic: Finite
    akaike_weight: Finite
    tied: bool
    probability_of_best: Finite | None
    vuong_p_value: Finite
    leave_one_out_error: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfittedPair:
    """A metric and KPI whose slope is undefined."""

    metric: str
    kpi: Kpi
    undefined_reason: UndefinedReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Limitation:
    """Something a report cannot say, with the KPIs and counts it concerns."""

    kind: LimitationKind
    kpis: tuple[Kpi, ...] = ()
    counts: tuple[str, ...] = ()

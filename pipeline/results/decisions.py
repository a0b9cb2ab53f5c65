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
class Rival:
    """A metric that the experiment cannot tell apart from another, of which it is the rival.

    Attributes:
        metric: The rival.
        correlation: Pearson correlation of the two over the groups; from 0.95, positive or
            negative, they move together along one direction of the front.
        probability_better: The probability that the KPI follows the other metric, if it follows one
            of the two; below 0.95 they are not told apart. None where unknown.
    """

    metric: str
    correlation: Finite
    probability_better: Finite | None


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
class SharedDirection:
    """Hypotheses on different metrics that move together over the groups: one result, not several.

    Attributes:
        hypotheses: Their ids.
        metrics: Their metrics, each once.
        least_correlation: Smallest Pearson correlation of any two, without its sign; at least 0.95.
    """

    hypotheses: tuple[str, ...]
    metrics: tuple[str, ...]
    least_correlation: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedMetric:
    """How well one metric predicts one KPI (exploratory).

    Attributes:
        metric: The metric.
        kpi: The KPI.
        slope: Change of the link for a relative change of the metric by 1; None where undefined,
            with the reason among the unfitted pairs. So are ``p_value`` and ``interval``.
        p_value: Of the small-sample test (Hartung–Knapp, t with g - 2); None for two groups.
        interval: Small-sample confidence interval.
        bh_p_value: ``p_value``, adjusted for all metrics and KPIs (Benjamini–Hochberg).
        probability_of_best: The probability that the KPI follows this metric, of those measured
            (posterior with equal prior probabilities, calibrated by simulation); they sum to 1.
        undefined_reason: Why that is unknown; then all metrics are tied.
        tied: Whether it cannot be told apart from the KPI's best metric: against it alone, its
            probability is above 5%.
        correlation_with_best: Pearson correlation with the best metric over the groups; None where
            no metric is best.
        leave_one_out_error: Root mean square relative error of the rate of each group, predicted by
            the line through the other groups; None where one of those lines is undefined.
    """

    metric: str
    kpi: Kpi
    slope: Finite | None
    p_value: Finite | None
    interval: Interval | None
    bh_p_value: Finite | None
    probability_of_best: Finite | None
    undefined_reason: UndefinedReason | None
    tied: bool
    correlation_with_best: Finite | None
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

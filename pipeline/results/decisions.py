"""What follows from the slopes: strength of evidence, advice, and the metric ranking."""

from dataclasses import dataclass
from typing import Literal

from pipeline.core.contracts import Kpi
from pipeline.results.headline import OpenInterval
from pipeline.results.reasons import (
    Action,
    AdviceReason,
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
    """The relative change of a KPI from a baseline group to another, a fraction.

    Attributes:
        change: Expected change: the posterior mean, drawn in towards the mean of all groups
            (empirical Bayes), because the measured change of a selected group is too large.
        interval: Posterior interval of ``change``, at the study's level.
        kpi: The KPI.
        group: The group compared.
        baseline: The group it is compared with.
        measured: Ratio of the two measured rates less 1; None if the baseline's rate is 0.
        measured_interval: Confidence interval of ``measured``, simultaneous over the comparisons:
            it excludes 0 if, and only if, the pair test is significant. None if a rate is 0.
        movement: The direction, or inconclusive, by the pair test.
    """

    kpi: Kpi
    group: str
    baseline: str
    measured: Finite | None
    measured_interval: Interval | None
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
class Optimise:
    """The metric to optimise for a KPI.

    Attributes:
        hypothesis: Id of its hypothesis: of those on the KPI, confirmed before suggestive, then
            those without rivals, then those with a positive slope, then the first declared.
        metric: The metric.
        direction: Whether to increase or decrease it.
    """

    hypothesis: str
    metric: str
    direction: Literal["increase", "decrease"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do for one KPI.

    Attributes:
        kpi: The KPI.
        action: Which group to ship, or why none.
        reason: Of the action.
        group: The group to ship; None unless the action is to ship.
        baseline: The group it is compared with: the control, or else the group with the lowest KPI.
        control: Whether the baseline is the declared control.
        expected: The change from the baseline to the group; None unless the action is to ship.
        predicted_change: The same change on the line of the metric to optimise, at the study's
            level; its error is that of the line alone.
        leading: Where no group is shipped, the change from the baseline to the group with the
            highest KPI, for reference.
        trade_offs: The change of the other KPIs (guardrails), from the baseline to the group.
        indistinguishable: Groups that are not significantly worse than the group to ship.
        changes: The change of every KPI from every other group to the group to ship.
        optimise: The metric to optimise along this front; None if no hypothesis on this KPI supports
            one, and where other metrics cannot be told apart from it: then none alone is advised.
        confounded: Id of the hypothesis whose metric would be optimised but for its ``rivals``.
        rivals: The metrics that cannot be told apart from that of ``confounded``.
        explained: Whether a hypothesis on this KPI has an answer, whatever its direction.
        contradicted: Ids of hypotheses on this KPI that are contradicted.
        comparisons: Number of comparisons that the error rate is shared by (Bonferroni).
        candidates: Number of groups that the best was selected from.
        users: Users with a trial, of the smaller of the two groups compared; None where unknown.
        events: Events (clicks, orders) in the two groups compared.
        margin: Relative change of the KPI that is negligible, as declared.
        missing_columns: Of a table of counts: those that would make the users of the KPI known.
    """

    kpi: Kpi
    action: Action
    reason: AdviceReason
    group: str | None = None
    baseline: str | None = None
    control: bool = False
    expected: KpiChange | None = None
    predicted_change: Change | None = None
    leading: KpiChange | None = None
    trade_offs: tuple[KpiChange, ...] = ()
    indistinguishable: tuple[str, ...] = ()
    changes: tuple[KpiChange, ...] = ()
    optimise: Optimise | None = None
    confounded: str | None = None
    rivals: tuple[Rival, ...] = ()
    explained: bool = False
    contradicted: tuple[str, ...] = ()
    comparisons: int = 0
    candidates: int = 0
    users: int | None = None
    events: int | None = None
    margin: Finite | None = None
    missing_columns: tuple[str, ...] = ()


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
            with the reason among the unfitted pairs.
        p_value: Of its test against 0 (see :class:`pipeline.results.headline.Headline`); None where
            undefined.
        interval: Confidence interval of the slope.
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
    interval: OpenInterval | None
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
    """Something a report cannot say, with the KPIs, counts and metrics it concerns.

    ``counts`` are columns of the table of counts that would change that; ``recall`` is the smallest and the
    largest recall@20 of the groups' lists.
    """

    kind: LimitationKind
    kpis: tuple[Kpi, ...] = ()
    counts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    recall: tuple[float, ...] = ()

"""What follows from the slopes: strength of evidence, advice, and the metric ranking."""

from dataclasses import dataclass
from typing import Literal

from pipeline.core.contracts import Kpi
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
class Optimise:
    """The metric to optimise for a KPI.

    Attributes:
        hypothesis: Id of its hypothesis: of those on the KPI, confirmed before suggestive, then
            those with a positive slope, then the first declared.
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
        optimise: The metric to optimise; None if no hypothesis on this KPI supports one.
        explained: Whether a hypothesis on this KPI is confirmed or suggestive.
        contradicted: Ids of hypotheses on this KPI that are contradicted.
        comparisons: Number of comparisons that the error rate is shared by (Bonferroni).
        candidates: Number of groups that the best was selected from.
        users: Users with a trial, of the smaller of the two groups compared; None where unknown.
        events: Events (clicks, orders) in the two groups compared.
        margin: Relative change of the KPI that is negligible, as declared.
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
    explained: bool = False
    contradicted: tuple[str, ...] = ()
    comparisons: int = 0
    candidates: int = 0
    users: int | None = None
    events: int | None = None
    margin: Finite | None = None


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
    """Something a report cannot say, with the KPIs, counts and metrics it concerns.

    ``counts`` are columns of the table of counts that would change that.
    """

    kind: LimitationKind
    kpis: tuple[Kpi, ...] = ()
    counts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

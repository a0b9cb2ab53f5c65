"""The change of every KPI against the control: what an A/B test is read for, with or without a metric."""

from dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.results.reasons import AdviceReason
from pipeline.results.slopes import Finite, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustedLift:
    """A lift adjusted for the users' behaviour before the experiment (CUPED).

    Attributes:
        lift: Relative change of the adjusted KPI.
        interval: Its confidence interval.
        p_value: Of the lift against 0, two-sided.
        variance_share: Variance of the adjusted lift over that of the unadjusted; below 1 where
            pre-experiment data predicts the KPI.
    """

    lift: Finite
    interval: Interval
    p_value: Finite
    variance_share: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeLift:
    """A lift that may be looked at every day.

    Attributes:
        interval: Of today; it covers the lift on all days simultaneously.
        p_value: Always valid: the smallest up to today.
    """

    interval: Interval
    p_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiLift:
    """The relative change of one KPI from the control to one group.

    Attributes:
        kpi: The KPI.
        group: The group.
        control: The group it is compared with.
        declared: Whether that is the declared control; if not, it is called control, or is the first
            of two groups.
        lift: Ratio of the two measured rates less 1; None where undefined.
        interval: Its confidence interval, for one look and this comparison alone. It excludes 0 if,
            and only if, the p-value is below 1 less the level. None where undefined.
        p_value: Two-sided; None where undefined.
        users_known: Whether the trials of a user may be correlated; if not, every trial counts as
            independent.
        cuped: The same, adjusted for the users' behaviour before the experiment; None without it.
        anytime: The same for every day; None if days are unknown.
        undefined_reason: Why the interval is None.
    """

    kpi: Kpi
    group: str
    control: str
    declared: bool
    lift: Finite | None
    interval: Interval | None
    p_value: Finite | None
    users_known: bool = True
    cuped: AdjustedLift | None = None
    anytime: AnytimeLift | None = None
    undefined_reason: AdviceReason | None = None

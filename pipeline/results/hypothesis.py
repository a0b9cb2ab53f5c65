"""The result of one hypothesis: the slope, its verdict, and every sensitivity analysis."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pipeline.core.contracts import Kpi
from pipeline.results.decisions import Rival
from pipeline.results.family import Family
from pipeline.results.headline import Headline
from pipeline.results.progress import DayProgress
from pipeline.results.reasons import ExclusionReason, UndefinedReason, Verdict
from pipeline.results.slopes import (
    BandPoint,
    Cuped,
    DayEffects,
    Equivalence,
    Finite,
    InterimEstimate,
    Interval,
    LackOfFit,
    MeasurementError,
    OpenInterval,
    Permutation,
    Positive,
    RandomEffectsSlope,
    Segments,
    SlopeTest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPoint:
    """One group of a hypothesis.

    Attributes:
        group: Its name in the traffic plan.
        metric_value: The offline metric of the group; None where undefined.
        x: Relative change of the metric from the worst group, a fraction: M / min M - 1.
        x_standard_error: Of x; None where the metric's error is unknown.
        trials: E.g. impressions.
        successes: E.g. clicks.
        rate: successes / trials; None without trials.
        standard_error: Of the rate, cluster-robust.
        kpi_change: Relative change of the rate from the group with the lowest rate, a fraction.
    """

    group: str
    metric_value: Finite | None
    x: Finite | None
    x_standard_error: Finite | None = None
    trials: int
    successes: int | Finite
    rate: Finite | None
    standard_error: Finite | None
    kpi_change: Finite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """The headline in percent: change of the KPI for 1% of the metric.

    Attributes:
        estimate: Percent of the KPI per 1% of the metric.
        interval: Of the headline; with two groups, of the line through them.
        minimum_detectable: Smallest elasticity, positive or negative, detected with 80% power.
        minimum_detectable_change: The relative change of the odds (of the rate, for amounts) that
            it implies between the groups with the smallest and the largest metric, a fraction; None
            where that is beyond any number.
    """

    estimate: Finite
    interval: OpenInterval
    minimum_detectable: Finite
    minimum_detectable_change: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSlope:
    """The slope of a metric with the other declared metrics of the same KPI held fixed.

    All of them are in one regression. It is refused where the groups do not separate the metrics.

    Attributes:
        held_fixed: The other metrics.
        variance_inflation: Of the metric over the groups (VIF); None if it is a combination of the
            others.
        verdict: By the rules of the hypothesis, of the partial slope.
        headline: The slope and its interval, as those of the hypothesis; None where refused.
        elasticity: Of that headline; None where undefined.
        collinear_with: Where the inflation is too large, the fewest metrics that it is too large with.
        undefined_reason: Why the slope or its interval is None.
    """

    held_fixed: tuple[str, ...]
    variance_inflation: Finite | None
    verdict: Verdict = Verdict.UNDEFINED
    headline: Headline | None = None
    elasticity: Elasticity | None = None
    collinear_with: tuple[str, ...] = ()
    undefined_reason: UndefinedReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The duration of the experiment in days; None where days are unknown.

    Attributes:
        observed: Days of the log.
        planned: Days that were planned.
        progress: Each day's answer to whether the experiment may end.
    """

    observed: int | None = None
    planned: int | None = None
    progress: tuple[DayProgress, ...] = ()


class Analysis(StrEnum):
    """An analysis that the slope of a hypothesis is estimated under."""

    HEADLINE = "headline"
    NAIVE = "naive"
    CLUSTER_ROBUST = "cluster_robust"
    HARTUNG_KNAPP = "hartung_knapp"
    QUASI_BINOMIAL = "quasi_binomial"
    MEASUREMENT_ERROR = "measurement_error"
    DAY_FIXED_EFFECTS = "day_fixed_effects"
    ANYTIME_VALID = "anytime_valid"
    CUPED = "cuped"
    LEAVE_ONE_OUT = "leave_one_out"
    LOG_RATE = "log_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSlope:
    """The slope under one analysis; leave-one-out has a range and no slope."""

    analysis: Analysis
    slope: float | None
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisResult:
    """The result of one hypothesis. Fields after ``verdict`` are None where undefined or unknown.

    Attributes:
        headline: The slope and the interval that the verdict, the summary and Figure 1 are based on;
            all other analyses are in the robustness section.
        response: The KPI that is fitted (see :data:`pipeline.inference.hypotheses.inputs.RESPONSE`).
        slope: Change of the link for a relative change of the metric by 1.
        standard_error: Of the slope, from the model: independent trials, as in the paper. So are
            ``interval`` and ``p_value``; ``level`` is that of all intervals.
        covariance: The assumption behind ``standard_error``.
        n: Trials in all groups.
        groups: Number of groups.
        intercept: Of the line, on the link scale, at x = 0.
        rate_elasticity: Percent of the KPI per 1% of the metric.
        is_interim: Whether the experiment has not reached its planned end.
        holm_p_value: p-value of the headline, Holm-corrected for all declared hypotheses.
        effective_users: Number of users with equal trials that know as much, ``Σ n²/Σm²``.
        small_sample_undefined_reason: Why ``small_sample`` is None.
        curvature: The coefficient of x².
        leave_one_out: The slope without each group, by group.
        log_rate: Slope of the logarithm of the hypothesis's own KPI (Poisson, cluster-robust).
        interim: Confidence sequence: one estimate per day.
        equivalence: Equivalence and non-inferiority tests, if a margin is declared.
        minimum_detectable_slope: Smallest slope detected with 80% power.
        required_trials: Trials that detect the estimated slope with 80% power.
        x_reference: What x is relative to; see :class:`pipeline.study.regression.XReference`.
        metric_covariance: Covariance of the metric's errors, in the order of the points.
        partial: The slope with the other declared metrics of the KPI held fixed; None without any.
        rivals: Metrics that this experiment cannot tell apart from this one as the one the KPI
            follows, the most correlated first; empty where the verdict states no association.
    """

    id: str
    metric: str
    kpi: Kpi
    direction: Literal["positive", "negative"]
    response: Kpi
    link: Family
    slope: Finite | None = None
    standard_error: Finite | None = None
    interval: Interval | None = None
    p_value: Finite | None = None
    level: Finite | None = None
    covariance: str | None = None
    n: int
    groups: int
    verdict: Verdict = Verdict.UNDEFINED
    undefined_reason: UndefinedReason | None = None
    headline: Headline | None = None
    intercept: Finite | None = None
    rate_elasticity: Finite | None = None
    elasticity: Elasticity | None = None
    cluster_robust: SlopeTest | None = None
    is_interim: bool = False
    holm_p_value: Finite | None = None
    effective_users: Finite | None = None
    small_sample: RandomEffectsSlope | None = None
    small_sample_undefined_reason: UndefinedReason | None = None
    permutation: Permutation | None = None
    lack_of_fit: LackOfFit | None = None
    curvature: SlopeTest | None = None
    leave_one_out: dict[str, Finite | None] | None = None
    leave_one_out_range: Interval | None = None
    band: tuple[BandPoint, ...] = ()
    measurement_error: MeasurementError | None = None
    log_rate: SlopeTest | None = None
    day_fixed_effects: DayEffects | None = None
    days: Days = Days()
    interim: tuple[InterimEstimate, ...] = ()
    cuped: Cuped | None = None
    segments: Segments | None = None
    equivalence: Equivalence | None = None
    minimum_detectable_slope: Positive | None = None
    required_trials: int | None = None
    points: tuple[GroupPoint, ...] = ()
    x_reference: Literal["worst", "control", "log"] = "worst"
    metric_covariance: tuple[tuple[Finite, ...], ...] | None = None
    partial: PartialSlope | None = None
    rivals: tuple[Rival, ...] = ()

    @property
    def exclusion_reason(self) -> ExclusionReason | None:
        """Why the slope cannot be pooled with, or compared to, others; None if it can."""
        if self.slope is None:
            return ExclusionReason.UNDEFINED
        if self.verdict is Verdict.BLOCKED:
            return ExclusionReason.BLOCKED
        return None if self.cluster_robust else ExclusionReason.USERS_UNKNOWN

    @property
    def range(self) -> Interval:
        """The smallest and the largest x; (0, 0) where undefined."""
        known = [one.x or 0.0 for one in self.points]
        return min(known, default=0.0), max(known, default=0.0)

    @property
    def worst_metric(self) -> float | None:
        """The metric of the worst group, from which x is the relative change."""
        known = [one.metric_value for one in self.points if one.metric_value is not None]
        return min(known, default=None)

    @property
    def analyses(self) -> tuple[AnalysisSlope, ...]:
        """The slope under every analysis that was run: the headline, the paper's, and the others."""
        if self.slope is None or self.interval is None:
            return ()
        small, days = self.small_sample, self.day_fixed_effects
        tests: dict[Analysis, SlopeTest | None] = {
            Analysis.CLUSTER_ROBUST: self.cluster_robust,
            Analysis.HARTUNG_KNAPP: small and small.hartung_knapp,
            Analysis.QUASI_BINOMIAL: small and small.quasi_binomial,
            Analysis.MEASUREMENT_ERROR: self.measurement_error
            and self.measurement_error.propagated,
            Analysis.DAY_FIXED_EFFECTS: days and days.fixed,
            Analysis.ANYTIME_VALID: self.interim[-1] if self.interim else None,
            Analysis.CUPED: self.cuped and self.cuped.cluster_robust,
            Analysis.LOG_RATE: self.log_rate,
        }
        found: dict[Analysis, tuple[float | None, Interval]] = {
            name: (test.slope, test.interval) for name, test in tests.items() if test
        }
        found[Analysis.NAIVE] = self.slope, self.interval
        low, high = (self.headline and self.headline.interval) or (None, None)
        if self.headline and low is not None and high is not None:
            found[Analysis.HEADLINE] = self.headline.slope, (low, high)
        if ends := self.leave_one_out_range:
            found[Analysis.LEAVE_ONE_OUT] = None, ends
        return tuple(
            AnalysisSlope(analysis=name, slope=found[name][0], interval=found[name][1])
            for name in Analysis
            if name in found
        )

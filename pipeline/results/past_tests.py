"""Past tests in one table: how a KPI's lift follows a metric's change."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.table_file import ReadNote
from pipeline.results.pooled import TotalCovariance
from pipeline.results.proxies import LaunchAdvice
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Finite, Interval, OpenInterval


class EffectScale(StrEnum):
    """What a change of a metric or KPI is."""

    AS_GIVEN = "as given"
    """The number in the table."""
    LOG_RATIO = "log ratio"
    """ln(variant / control), for small changes the relative change as a fraction."""
    DIFFERENCE = "difference"
    """Variant less control."""


class LeftOutReason(StrEnum):
    """Why a row of the table is not used."""

    NO_ERROR = "no_error"
    NO_ESTIMATE = "no_estimate"
    OUT_OF_RANGE = "out_of_range"
    NO_CONTROL = "no_control"
    ONE_VARIANT = "one_variant"
    NOT_POSITIVE = "not_positive"
    ONE_USER = "one_user"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Rows that are not used.

    Attributes:
        reason: Why.
        name: The metric or KPI concerned.
        tests: Number of tests.
        example: One of them.
    """

    reason: LeftOutReason
    name: str
    tests: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLift:
    """The measured effect of one variant on one KPI.

    Attributes:
        test: Name of the test.
        variant: Name of the variant; None where a test has one.
        kpi: The KPI.
        lift: Its change against the control.
        standard_error: Of the lift.
        interval: Confidence interval of the lift.
        p_value: Of the lift against 0, two-sided.
    """

    test: str
    variant: str | None
    kpi: str
    lift: Finite
    standard_error: Finite
    interval: Interval
    p_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyPoint:
    """One variant of one test: its measured change of the metric and lift of the KPI.

    Attributes:
        test: Name of the test.
        variant: Name of the variant; None where a test has one.
        delta: Change of the metric.
        delta_standard_error: Of the change; 0 where its error is unknown.
        lift: Lift of the KPI.
        lift_standard_error: Of the lift.
    """

    test: str
    variant: str | None
    delta: Finite
    delta_standard_error: Finite
    lift: Finite
    lift_standard_error: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLift:
    """The true lift of a next test, given its true change of the metric.

    Attributes:
        delta: Change of the metric.
        lift: On the line.
        mean_interval: Confidence interval of the line there; an end is None where it has no limit.
        interval: Prediction interval of the lift, never narrower; None with two tests.
    """

    delta: Finite
    lift: Finite
    mean_interval: OpenInterval
    interval: OpenInterval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignAgreement:
    """How often the metric's sign was that of the KPI; seldom where the slope is negative.

    Attributes:
        tests: Variants of tests in which both changed.
        agreed: Those with the same sign.
        share: ``agreed / tests``.
        interval: Wilson's confidence interval of the share.
        by_chance: Expected share of independent signs with the same numbers of positive ones.
        p_value: Two-sided, of Fisher's exact test against chance.
    """

    tests: int
    agreed: int
    share: Finite
    interval: Interval
    by_chance: Finite
    p_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyLine:
    """The line of lifts on changes over past tests.

    Attributes:
        slope: Lift per unit of the metric's change.
        standard_error: Of the slope.
        interval: Confidence interval of the slope: those that the test does not reject. An end is
            None where the metric's error leaves no limit.
        p_value: Of the slope 0.
        tau: Standard deviation of the true lifts around the line.
        cochran_q: χ² with one degree of freedom less than contrasts if τ is 0.
        q_p_value: Of ``cochran_q``.
        i_squared: Share of the deviations from the line that errors do not explain, in [0, 1].
        reliability: Share of the spread of the measured changes that is not error; None where a
            test does not know the error of its metric.
        naive_slope: Without correction for the metric's error.
    """

    slope: Finite
    standard_error: Finite
    interval: OpenInterval
    p_value: Finite
    tau: Finite
    cochran_q: Finite
    q_p_value: Finite
    i_squared: Finite
    reliability: Finite | None
    naive_slope: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutTest:
    """The line without one test: one that decides the answer, else the one that moves the slope most.

    Attributes:
        test: Its name.
        slope: Without it; None where the others have none.
        p_value: Of the slope 0 without it; None likewise.
        decides: Whether the answer rests on it: without it a significant slope is not, or has the other
            sign, or one that is not significant is, even if the test was chosen among all: its p-value
            times the number of tests is below the error rate.
    """

    test: str
    slope: Finite | None
    p_value: Finite | None
    decides: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One metric as a predictor of one KPI.

    Attributes:
        metric: The metric.
        kpi: The KPI.
        tests: Number of tests that measured both.
        contrasts: Number of variants in them, each against the control.
        line: The line; None where undefined.
        undefined_reason: Why.
        predictions: The lift of a next test, along the range of the past changes.
        forecast: The same for the requested change.
        signs: Agreement of the signs; None where no test has both.
        correlation_range: The correlations of the errors of metric and KPI with which the slope
            remains significant; None where it is not at the declared one.
        without: The line without the test on which it rests most; None with fewer than three tests.
        total_covariance: The slope by moments, for comparison.
        total_covariance_undefined_reason: Why there is none.
        liml_slope: Another one, in which all tests weigh the same and deviations are part of the
            errors; None where undefined.
        true_correlation: Posterior median of the correlation of the true changes and lifts.
        true_correlation_interval: Its posterior interval.
        probability_of_best: Probability that the KPI follows this metric, of those compared; None
            where nothing is ranked.
        tied: Whether it cannot be told apart from the KPI's best metric: against it alone, its
            probability is above 5%.
        points: One per variant of a test.
    """

    metric: str
    kpi: str
    tests: int
    contrasts: int
    line: ProxyLine | None
    undefined_reason: UndefinedReason | None
    predictions: tuple[PredictedLift, ...]
    forecast: PredictedLift | None
    signs: SignAgreement | None
    correlation_range: Interval | None
    without: LeftOutTest | None
    total_covariance: TotalCovariance | None
    total_covariance_undefined_reason: UndefinedReason | None
    liml_slope: Finite | None
    true_correlation: Finite | None
    true_correlation_interval: Interval | None
    probability_of_best: Finite | None
    tied: bool
    points: tuple[ProxyPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedKpi:
    """The metrics of one KPI, best first.

    Attributes:
        kpi: The KPI.
        tests: Tests that measured all its metrics, on which they are compared.
        unranked_reason: Why there are no probabilities; None if there are.
    """

    kpi: str
    tests: int
    unranked_reason: UndefinedReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTests:
    """What ``paretoscope meta-analysis TABLE --json`` prints.

    Attributes:
        source: Name of the table.
        md5: Of its file; None for a frame.
        level: Nominal coverage of the intervals.
        scale: What a change is.
        error_correlation: Declared correlation of the errors of metric and KPI in one variant.
        tests: Number of tests in the table.
        kpis: The KPIs, and on which tests their metrics are compared.
        proxies: One per metric and KPI, by KPI, best first.
        launches: What the metrics of each KPI would have earned, and their portfolio.
        duplicates: Pairs of tests with the same numbers.
        effects: The lift of every test.
        left_out: Rows that are not used.
        summary: The main findings, one sentence each.
        read_as: How the table was read.
    """

    source: str
    md5: str | None
    level: Finite
    scale: EffectScale
    error_correlation: Finite
    tests: int
    kpis: tuple[RankedKpi, ...]
    proxies: tuple[Proxy, ...]
    launches: tuple[LaunchAdvice, ...]
    duplicates: tuple[tuple[str, str], ...]
    effects: tuple[MeasuredLift, ...]
    left_out: tuple[LeftOut, ...]
    read_as: tuple[ReadNote, ...]
    summary: tuple[str, ...] = ()

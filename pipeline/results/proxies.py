"""What metrics are worth as proxies of a KPI: their portfolio, launch rules, and the next test."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Finite, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A proxy in a next test with the median errors of the past.

    Attributes:
        quality: Posterior median of the correlation of its measured change with the KPI's true lift
            (proxy quality of Tripuraneni et al. 2023), in [-1, 1].
        quality_interval: Its posterior interval.
        direction: The same without the errors of that test.
        direction_interval: Its posterior interval.
        sensitivity: Expected share of tests in which its change is significant; None where a metric's
            errors are unknown.
    """

    quality: Finite
    quality_interval: Interval
    direction: Finite
    direction_interval: Interval
    sensitivity: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One linear proxy on the Pareto front of direction and sensitivity.

    Attributes:
        weights: One per metric; the proxy's true changes have the standard deviation 1.
        direction: Correlation of its true change with the KPI's true lift.
        sensitivity: Expected share of tests in which its change is significant.
    """

    weights: tuple[Finite, ...]
    direction: Finite
    sensitivity: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """The best linear proxy of several metrics.

    Attributes:
        metrics: Their names.
        weights: Expected lift per unit of each metric's measured change in a next test.
        quality: Of the portfolio.
        front: Proxies between the best direction and the best sensitivity; empty where a metric's
            errors are unknown.
    """

    metrics: tuple[str, ...]
    weights: tuple[Finite, ...]
    quality: Quality
    front: tuple[FrontPoint, ...]


class RuleKind(StrEnum):
    """What a launch rule chooses the variant by."""

    METRIC = "metric"
    PORTFOLIO = "portfolio"
    KPI = "kpi"
    """The measured lift itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRule:
    """What launching the variant with the best value would have earned, the control if none is better.

    The direction of a metric, and the weights of a portfolio, are those of the other tests.

    Attributes:
        kind: What the rule chooses by.
        metric: Its metric; None for the portfolio and the KPI.
        lower: Tests in which the lower value of the metric is the better one, by what the other tests
            say; None for the portfolio and the KPI.
        launched: Tests in which it launches a variant.
        right: Posterior median of the number of tests in which it chooses the truly best variant, or
            the control where that is best.
        right_interval: Posterior interval of that number.
        share: Posterior median of the sum of the true lifts it launches, as a share of the sum of the
            best ones; negative where it loses. None where there may be nothing to win.
        share_interval: Its posterior interval.
        earned: Lift per test, measured on users that did not choose (cross-validated).
        earned_interval: Over tests like these; t with one degree of freedom less than tests.
    """

    kind: RuleKind
    metric: str | None
    lower: int | None
    launched: int
    right: int
    right_interval: tuple[int, int]
    share: Finite | None
    share_interval: Interval | None
    earned: Finite
    earned_interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidingTest:
    """The experiment that would decide between a KPI's best metric and one that is tied with it.

    Attributes:
        best: The best metric.
        rival: The one that is tied.
        change: True change of the best metric in the variants, one standard deviation of the past: up in
            half of them, down in the others. The rival does not change.
        correlation: Of the true changes of both in the past tests.
        variants: Variants besides the control, in one test or several.
        standard_error: Of a variant's lift, at most.
        size: Users per variant, relative to the median past test.
        power: Probability of a decision, if the KPI follows the best metric.
    """

    best: str
    rival: str
    change: Finite
    correlation: Finite
    variants: int
    standard_error: Finite
    size: Finite
    power: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAdvice:
    """What the metrics of one KPI are worth.

    Attributes:
        kpi: The KPI.
        tests: Tests that measured all its metrics.
        undefined_reason: Why there is nothing else; None if there is.
        rules: The launch rules: the metrics, their portfolio, the KPI itself.
        qualities: Of the metrics, by name.
        kpi_sensitivity: Expected share of tests in which the KPI's own lift is significant.
        portfolio: None with one metric.
        deciding_tests: One per metric that is tied with the best.
    """

    kpi: str
    tests: int
    undefined_reason: UndefinedReason | None
    rules: tuple[LaunchRule, ...] = ()
    qualities: tuple[tuple[str, Quality], ...] = ()
    kpi_sensitivity: Finite | None = None
    portfolio: Portfolio | None = None
    deciding_tests: tuple[DecidingTest, ...] = ()

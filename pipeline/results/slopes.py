"""A slope under one analysis: the estimate, its error, and what the analysis adds."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import Field

from pipeline.results.reasons import Covariance, UndefinedReason

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Interval = tuple[Finite, Finite]
"""Lower and upper end."""
OpenInterval = tuple[Finite | None, Finite | None]
"""Lower and upper end; None for an open end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeTest:
    """A slope, its standard error and its Wald test against 0.

    Attributes:
        covariance: The assumption behind the standard error.
        slope: The estimate.
        standard_error: Of the slope.
        df: Degrees of freedom of the t distribution; None for the normal distribution.
        level: Nominal coverage of the interval.
        interval: Confidence interval of the slope.
        p_value: Two-sided.
    """

    covariance: Covariance
    slope: Finite
    standard_error: Positive
    df: int | None
    level: Finite
    interval: Interval
    p_value: Finite

    @property
    def excludes_0(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """The headline against a margin: equivalence (Schuirmann 1987) and non-inferiority.

    Attributes:
        margin: Slopes from -margin to margin are practically 0; above 0.
        p_value: One-sided, of the null hypothesis that the slope is outside the margins: the larger
            of the two tests.
        equivalent: Whether the headline's interval is within the margins.
        non_inferiority_p_value: One-sided, of the null hypothesis that the slope is beyond the margin
            on the side opposite to the declared direction.
        non_inferior: Whether the headline's interval is not.
    """

    margin: Finite
    p_value: Finite
    equivalent: bool
    non_inferiority_p_value: Finite
    non_inferior: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomEffectsSlope:
    """The small-sample slope: g groups that deviate from the line at random.

    Attributes:
        tau: Standard deviation between groups that x does not explain, on the link scale
            (Paule–Mandel).
        heterogeneity: I², the share of the groups' deviations from the line that sampling does not
            explain, in [0, 1].
        hartung_knapp: Random-effects regression of link(rate) on x with Knapp and Hartung's (2003)
            error; t with g - 2 degrees of freedom.
        quasi_binomial: The slope of the GLM, its model error scaled by Pearson's dispersion where
            that is above 1; t with g - 2.
    """

    tau: Finite
    heterogeneity: Finite
    hartung_knapp: SlopeTest
    quasi_binomial: SlopeTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """Permutation test of x over the groups.

    Attributes:
        p_value: Share of the permutations whose line fits at least as well.
        permutations: Number of permutations, including the observed one.
        exact: Whether those are all permutations.
    """

    p_value: Finite
    permutations: int
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LackOfFit:
    """How far the groups deviate from the line.

    Attributes:
        pearson_chi2: Σ (y - n p)² / variance of independent trials.
        clustered_chi2: The same with correlated trials of a user.
        df: Groups less 2.
        p_value: Of ``clustered_chi2``; None with two groups.
    """

    pearson_chi2: Finite
    clustered_chi2: Finite
    df: int
    p_value: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementError:
    """The effect of the metric's measurement error on a slope (errors in variables).

    Attributes:
        reliability: Share of the variance of x between groups that is not measurement error, at
            most 1; the slope is attenuated by about this factor (Fuller 1987, 1.1).
        propagated: The slope with the cluster-robust error plus the variance of the slopes over
            metrics drawn from their errors (multiple imputation; Rubin 1987, 3.1).
        extrapolated_slope: The slope extrapolated to no measurement error (SIMEX with a quadratic;
            Cook & Stefanski 1994); None where reliability is below one half.
    """

    reliability: Finite
    propagated: SlopeTest
    extrapolated_slope: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEffects:
    """The slope with day fixed effects.

    Attributes:
        fixed: The slope with an intercept per day, which changes of users or traffic shares between
            days cannot bias.
        novelty: The coefficient of x · log(day number) added to that model; None where undefined.
    """

    fixed: SlopeTest
    novelty: SlopeTest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimEstimate(SlopeTest):
    """The slope at the end of one day, as part of a confidence sequence.

    The interval covers the slope on all days simultaneously; the p-value is the smallest up to the
    day, and always valid.

    Attributes:
        day: The day (UTC).
    """

    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuped:
    """The slope, adjusted for the users' behaviour before the experiment (CUPED).

    Attributes:
        cluster_robust: The slope with cluster-robust error.
        small_sample: The slope with Hartung and Knapp's error; None for two groups.
        variance_share: Variance of the adjusted slope over that of the unadjusted; below 1 where
            pre-experiment data predicts the KPI.
    """

    cluster_robust: SlopeTest
    small_sample: SlopeTest | None
    variance_share: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSlope:
    """The slope of one segment of users.

    Attributes:
        segment: Its name.
        users: Users with a trial, over all groups.
        slope: As that of a headline, on the segment's users; None where undefined.
        interval: As that of a headline, at the study's level; an end None for an open end.
        p_value: Of ``slope`` against 0, corrected for the number of segments (Bonferroni).
        difference_p_value: Of the difference from the slope of all other users, likewise.
        test: The cluster-robust slope, on which Cochran's Q is based; None where undefined.
        undefined_reason: Why ``slope`` or ``interval`` is None.
        opposite_sign: Whether the slope is significant against that of all users, which is at least
            suggestive (Simpson's paradox, if so in all segments).
        differs: Whether the slope differs significantly from that of all other users.
    """

    segment: str
    users: int
    slope: Finite | None
    interval: OpenInterval | None
    p_value: Finite | None
    difference_p_value: Finite | None
    test: SlopeTest | None
    undefined_reason: UndefinedReason | None
    opposite_sign: bool
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """The slopes of all segments of users, and the tests that they are equal.

    Attributes:
        slopes: One per segment, by name.
        p_value: That all slopes are equal: the smallest ``difference_p_value``.
        cochran_q: Σ (b - mean)² / se² of the segments with a cluster-robust slope; None with fewer
            than two. It takes the deviations of groups from the line for differences of segments.
        cochran_p_value: Of Cochran's Q, χ² with one degree of freedom fewer than segments.
    """

    slopes: tuple[SegmentSlope, ...]
    p_value: Finite | None
    cochran_q: Finite | None
    cochran_p_value: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPoint:
    """The fitted line at one x.

    Attributes:
        x: Relative change of the metric from the worst group, a fraction.
        rate: The KPI on the line.
        low: Lower end of the headline's pointwise confidence interval of the line.
        high: Upper end.
    """

    x: Finite
    rate: Finite
    low: Finite
    high: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A relative change of a KPI, as a fraction of the baseline.

    Attributes:
        change: Rate at the end over rate at the start, less 1.
        interval: Its confidence interval.
    """

    change: Finite
    interval: Interval

    @property
    def excludes_0(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0

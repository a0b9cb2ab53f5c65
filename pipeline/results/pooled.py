"""Slopes over several studies: pooled, and compared in pairs."""

from dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.results.reasons import Contrast, ExclusionReason, UndefinedReason
from pipeline.results.slopes import Finite, Interval, SlopeTest


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSlope:
    """The slope of one hypothesis over E studies.

    Attributes:
        mean: The mean slope μ, weighted with τ. Its interval and p-value are those of a mixture over
            the confidence distribution of τ (see :mod:`pipeline.inference.meta.meta_analysis`), so that
            the interval is not ± a multiple of the standard error.
        tau: Standard deviation of the true slopes between studies (Paule & Mandel 1982).
        i_squared: Share of the slopes' variance that sampling does not explain, in [0, 1].
        cochran_q: Σ (b̂_e - b̄)² / se_e², χ² with E - 1 degrees of freedom if τ is 0.
        q_p_value: Of Cochran's Q.
        prediction_interval: Of the next study's true slope, over the same distribution of τ, never
            narrower than the interval of the mean; None where undefined.
        prediction_undefined_reason: Why there is none.
    """

    mean: SlopeTest
    tau: Finite
    i_squared: Finite
    cochran_q: Finite
    q_p_value: Finite
    prediction_interval: Interval | None
    prediction_undefined_reason: UndefinedReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The predicted change of the KPI after an offline gain, in an exchangeable next experiment.

    Attributes:
        gain: Relative change of the metric, a fraction: 0.02 is 2% more.
        odds_change: Relative change of the KPI's odds, exp(slope · gain) - 1; None for an amount.
        odds_interval: Its prediction interval; None where the slope has none.
        rate: The rate without the gain, above 0.
        rate_change: Relative change of that rate.
        rate_interval: Its prediction interval; None where the slope has none.
    """

    gain: Finite
    odds_change: Finite | None
    odds_interval: Interval | None
    rate: Finite
    rate_change: Finite
    rate_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalCovariance:
    """The slope of the KPI on ln(metric) over all contrasts of groups, corrected for noise.

    Attributes:
        slope: ``Λ_SY / Λ_SS`` with Λ = covariance of the measured contrasts - mean covariance of
            their noise; error by the jackknife over the E studies, t with E - 1. Studies weigh by
            the variance of the proxy in them.
        naive_slope: The same without subtracting the noise.
        reliability: Share of the proxy's measured variance that is not noise, at most 1; None where
            a study does not know the errors of its metric.
        correlation: ``Λ_SY / √(Λ_SS Λ_YY)``, the correlation of KPI and proxy without noise; an
            estimate, which may exceed 1. None where Λ_YY is not positive.
        contrasts: Σ (g - 1).
    """

    slope: SlopeTest
    naive_slope: Finite
    reliability: Finite | None
    correlation: Finite | None
    contrasts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedStudy:
    """A study that is not pooled, or not among the contrasts.

    Attributes:
        study: Path of its report.
        reason: Why.
        undefined_reason: Why its slope (or its groups' contrasts) are undefined, if that is the
            reason.
    """

    study: str
    reason: ExclusionReason
    undefined_reason: UndefinedReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledHypothesis:
    """One metric and KPI over several studies.

    Attributes:
        metric: The offline metric.
        cutoff: Its k; None where the reports do not contain it or the metric has none.
        kpi: The KPI.
        response: The KPI that is fitted.
        studies: Paths of the pooled reports.
        excluded: The other studies.
        pooled: The slope of the log odds (of the log rate, for amounts); None where undefined.
        undefined_reason: The reason where it is.
        largest_change: The largest x in the pooled studies, a fraction; the range of the data.
        forecast: The KPI's change for the requested gain.
        attenuated: Whether a study does not know the errors of its metric: slopes are then pulled
            towards 0 by an unknown factor.
        total_covariance: The slope over all contrasts of groups, corrected for noise.
        total_covariance_undefined_reason: Why there is none.
        total_covariance_excluded: The studies that are not among its contrasts.
    """

    metric: str
    cutoff: int | None
    kpi: Kpi
    response: Kpi
    studies: tuple[str, ...]
    excluded: tuple[ExcludedStudy, ...]
    pooled: PooledSlope | None
    undefined_reason: UndefinedReason | None
    largest_change: Finite | None
    forecast: Forecast | None
    attenuated: bool
    total_covariance: TotalCovariance | None
    total_covariance_undefined_reason: UndefinedReason | None
    total_covariance_excluded: tuple[ExcludedStudy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaAnalysis:
    """All hypotheses of several studies: what ``paretoscope meta-analysis --json`` prints."""

    hypotheses: tuple[PooledHypothesis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeDifference:
    """The second slope less the first.

    Attributes:
        test: With the normal distribution; the variances of independent studies add up.
        small_sample: With t and Satterthwaite's degrees of freedom, rounded down; None where a
            study has no small-sample slope.
        holm_p_value: The test's, Holm-corrected for all differences tested together.
        contrast: The conclusion.
    """

    test: SlopeTest
    small_sample: SlopeTest | None
    holm_p_value: Finite
    contrast: Contrast

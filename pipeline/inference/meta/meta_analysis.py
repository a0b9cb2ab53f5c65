"""Random-effects meta-analysis of one hypothesis: the mean slope, and the next study's slope.

``b̂_e = μ + d_e + e_e``, where d_e ~ N(0, τ²) is the random effect of study e (season, users, model)
and e_e ~ N(0, se_e²) is sampling. The error of the mean slope μ decreases with the number of studies,
that of the next study's slope μ + d is at least τ. Studies are independent: they share neither users
nor test sessions.

Cochran's Q with the weights 1 / (se² + τ²) of the true τ² has χ² with E - 1 degrees of freedom, so the τ²
that solve Q(τ²) = χ²-quantile are a confidence distribution of it (Viechtbauer 2007). Given τ², the mean is
normal with the mean μ(τ²) and the variance se²(τ²), and the next slope with that variance and τ². Both
intervals are those of the mixtures over τ² (the next slope's following Nagashima, Noma & Furukawa 2019). Where
τ is large, the mixture of the mean is Student's t with E - 1; where one study is far more precise than the
others, it knows that this study says little of μ, which Hartung and Knapp's error does not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.optimize import elementwise
from scipy.special import ndtr
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.results.family import Family, Floats
from pipeline.results.pooled import Forecast, PooledSlope
from pipeline.results.reasons import Covariance, UndefinedReason
from pipeline.results.slopes import Interval, SlopeTest

_PAULE_MANDEL_STEPS = 1000
"""Each at least doubles τ² far from the solution; statsmodels' 50 are too few if errors differ by
orders of magnitude."""

PROFILE_POINTS = 400
"""Of the distribution of τ²; twice as many move the ends of a 99% interval by 0.1% of it."""

_LEAST_SHARE, _SHARE_OF_3, _DECREASE = 0.8, 1.2, 0.2
"""Error of the next slope's quantiles over the nominal one.

The confidence distribution of τ² is exact, its mixture with the normal is not: with few studies the
interval covers too often where τ is small, with many too seldom. At these shares a nominal 95% covers 93 to
98% where τ is half an error or more (``benchmarks/results/pooling.md``). Of three
studies, no interval that covers 93% for all τ is at all τ shorter than 2.4 times the ideal one."""

_LARGEST_EXPONENT = 700.0
"""Above it the exponential overflows 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TauProfile:
    """The mean at equal steps of the confidence distribution of τ²."""

    mean_K: Floats
    error_K: Floats
    tau2_K: Floats


def pool_slopes(
    slopes: Floats, standard_errors: Floats, *, level: float
) -> PooledSlope | UndefinedReason:
    """Pool the slopes of one hypothesis; with fewer than two studies, return the reason.

    Args:
        slopes: One per study.
        standard_errors: Of the slopes, positive: from the users and the metric's errors.
        level: Nominal coverage of the intervals.
    """
    if len(slopes) < 2:
        return UndefinedReason.ONE_STUDY
    variances = standard_errors**2
    with np.errstate(divide="ignore"):  # statsmodels' own I² of equal slopes
        found: Any = combine_effects(slopes, variances, method_re="pm", maxiter=_PAULE_MANDEL_STEPS)
    df, tau2 = len(slopes) - 1, float(found.tau2)
    profile = tau_profile(slopes, variances)
    cochran_q = float(found.scale_hksj_fe * df)
    mean = _mean(profile, float(found.mean_effect_re), variances + tau2, level=level)
    return PooledSlope(
        mean=mean,
        tau=float(np.sqrt(tau2)),
        i_squared=max(0.0, 1 - df / cochran_q) if cochran_q else 0.0,
        cochran_q=cochran_q,
        q_p_value=float(stats.chi2.sf(cochran_q, df)),
        prediction_interval=_around(mean.interval, profile, len(slopes), level) if df > 1 else None,
        prediction_undefined_reason=None if df > 1 else UndefinedReason.TWO_STUDIES,
    )


def tau_profile(slopes: Floats, variances: Floats) -> TauProfile:
    """The mean slope over the confidence distribution of τ²."""
    quantiles = (np.arange(PROFILE_POINTS) + 0.5) / PROFILE_POINTS
    tau2_K = _between_variances(slopes, variances, stats.chi2.ppf(quantiles, len(slopes) - 1))
    weights_EK = 1 / (variances[:, None] + tau2_K)
    total_K = weights_EK.sum(axis=0)
    mean_K = (weights_EK * slopes[:, None]).sum(axis=0) / total_K
    return TauProfile(mean_K=mean_K, error_K=total_K**-0.5, tau2_K=tau2_K)


def _mean(profile: TauProfile, slope: float, variances: Floats, *, level: float) -> SlopeTest:
    tail = (1 - level) / 2
    below = float(ndtr(-profile.mean_K / profile.error_K).mean())
    return SlopeTest(
        covariance=Covariance.RANDOM_EFFECTS,
        slope=slope,
        standard_error=float((1 / variances).sum() ** -0.5),
        df=len(variances) - 1,
        level=level,
        interval=mixture_interval(profile.mean_K, profile.error_K, tail=tail),
        p_value=2 * min(below, 1 - below),
    )


def _around(mean: Interval, profile: TauProfile, studies: int, level: float) -> Interval:
    """The prediction interval, widened to the interval of the mean where that is wider.

    The next slope is the mean plus a deviation, so it cannot be known better than the mean.
    """
    deviation_K = np.hypot(profile.error_K, np.sqrt(profile.tau2_K))
    tail = prediction_tail(studies, level)
    low, high = mixture_interval(profile.mean_K, deviation_K, tail=tail)
    return min(low, mean[0]), max(high, mean[1])


def prediction_tail(studies: int, level: float) -> float:
    """Calibrated probability beyond each end of the interval of the next slope."""
    share = max(_LEAST_SHARE, _SHARE_OF_3 * (3 / studies) ** _DECREASE)
    return share * (1 - level) / 2


def mixture_interval(mean_K: Floats, deviation_K: Floats, *, tail: float) -> Interval:
    """Quantiles ``tail`` and ``1 - tail`` of a mixture of normal distributions with equal weights."""
    reach_K = (float(stats.norm.isf(tail)) + 1) * deviation_K
    low, high = float((mean_K - reach_K).min()), float((mean_K + reach_K).max())

    def end(share: float) -> float:
        def beyond(slope: float) -> float:
            return float(ndtr((slope - mean_K) / deviation_K).mean()) - share

        found = optimize.root_scalar(beyond, bracket=(low, high), xtol=1e-9 * (high - low))
        return float(found.root)

    return end(tail), end(1 - tail)


def _between_variances(slopes: Floats, variances: Floats, targets_K: Floats) -> Floats:
    """The τ² for which Q(τ²) is each of the targets; 0 where Q(0) is smaller."""

    def excess_K(tau2_K: Floats, targets_K: Floats) -> Floats:
        weights_EK = 1 / (variances[:, None] + tau2_K)
        mean_K = (weights_EK * slopes[:, None]).sum(axis=0) / weights_EK.sum(axis=0)
        return (weights_EK * (slopes[:, None] - mean_K) ** 2).sum(axis=0) - targets_K

    tau2_K = np.zeros(len(targets_K))
    above_K = excess_K(tau2_K, targets_K) > 0
    if above_K.any():
        # Q(τ²) < Σ (b̂ - mean b̂)² / τ², so this τ² is twice too large
        largest_K = 2 * ((slopes - slopes.mean()) ** 2).sum() / targets_K[above_K]
        bracket = (np.zeros(above_K.sum()), largest_K)
        found = elementwise.find_root(excess_K, bracket, args=(targets_K[above_K],))
        tau2_K[above_K] = found.x
    return tau2_K


def forecast(
    pooled: PooledSlope, *, gain: float, rate: float, family: Family = Family.BINOMIAL
) -> Forecast:
    """The predicted change of a KPI of ``rate`` after a relative change of the metric by ``gain``."""
    ends = pooled.prediction_interval
    slopes = np.array([pooled.mean.slope, *sorted(ends or (), reverse=gain < 0)])
    change = np.minimum(gain * slopes, _LARGEST_EXPONENT)
    odds = np.expm1(change).tolist()
    rates = (family.mean(family.link(np.array(rate)) + change) / rate - 1).tolist()
    binomial = family is Family.BINOMIAL
    return Forecast(
        gain=gain,
        odds_change=odds[0] if binomial else None,
        odds_interval=(odds[1], odds[2]) if ends and binomial else None,
        rate=rate,
        rate_change=rates[0],
        rate_interval=(rates[1], rates[2]) if ends else None,
    )

"""Random-effects meta-analysis of one hypothesis: the mean slope, and the next study's slope.

``b̂_e = μ + d_e + e_e``, where d_e ~ N(0, τ²) is the random effect of study e (season, users, model)
and e_e ~ N(0, se_e²) is sampling. The error of the mean slope μ decreases with the number of studies,
that of the next study's slope μ + d is at least τ. Studies are independent: they share neither users
nor test sessions.
"""

from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.optimize import elementwise
from scipy.special import ndtr
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Family, Floats
from pipeline.results.pooled import Forecast, PooledSlope
from pipeline.results.reasons import Covariance, UndefinedReason
from pipeline.results.slopes import Interval

_PAULE_MANDEL_STEPS = 1000
"""Each at least doubles τ² far from the solution; statsmodels' 50 are too few if errors differ by
orders of magnitude."""

_LEAST_STUDIES = 3
"""Of a prediction interval."""

_PROFILE_POINTS = 400
"""Of the distribution of τ²; twice as many move the ends of a 99% interval by 0.1% of it."""

_SHARE_OF_ERROR, _WITH_THREE = 0.8, 1.2
"""Error of the mixture's quantiles over the nominal one.

The confidence distribution of τ² is exact, its mixture with the normal is not: with three studies the
interval covers too often, with more too seldom. At these shares a nominal 95% covers 93 to 98% where τ is
as large as the errors or larger (``benchmarks/results/calibration.md``)."""

_LARGEST_EXPONENT = 700.0
"""Above it the exponential overflows 64 bits."""


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
    # Paule and Mandel's τ² makes the scale 1, unless it is 0 and the scale below 1.
    truncated = tau2 == 0 and found.scale_hksj_re < 1
    covariance = Covariance.HARTUNG_KNAPP_TRUNCATED if truncated else Covariance.HARTUNG_KNAPP
    slope, error = float(found.mean_effect_re), float(found.sd_eff_w_re)
    mean = wald_test(slope, error, covariance=covariance, level=level, df=df)
    cochran_q = float(found.scale_hksj_fe * df)
    return PooledSlope(
        mean=mean,
        tau=float(np.sqrt(tau2)),
        i_squared=max(0.0, 1 - df / cochran_q) if cochran_q else 0.0,
        cochran_q=cochran_q,
        q_p_value=float(stats.chi2.sf(cochran_q, df)),
        prediction_interval=prediction_interval(slopes, variances, level=level) if df > 1 else None,
        prediction_undefined_reason=None if df > 1 else UndefinedReason.TWO_STUDIES,
    )


def prediction_interval(slopes: Floats, variances: Floats, *, level: float) -> Interval:
    """Prediction interval of the next study's true slope, from three studies on.

    Cochran's Q with the weights 1 / (se² + τ²) of the true τ² has χ² with E - 1 degrees of freedom, so
    the τ² that solve Q(τ²) = χ²-quantile are a confidence distribution of it (Viechtbauer 2007). Given
    τ², the next slope is normal with the mean μ(τ²) and the variance τ² + se²(τ²); the interval is
    that of the mixture (following Nagashima, Noma & Furukawa 2019), at calibrated quantiles.
    """
    share = _WITH_THREE if len(slopes) == _LEAST_STUDIES else _SHARE_OF_ERROR
    tail = share * (1 - level) / 2
    quantiles = (np.arange(_PROFILE_POINTS) + 0.5) / _PROFILE_POINTS
    tau2_K = _between_variances(slopes, variances, stats.chi2.ppf(quantiles, len(slopes) - 1))
    weights_EK = 1 / (variances[:, None] + tau2_K)
    mean_K = (weights_EK * slopes[:, None]).sum(axis=0) / weights_EK.sum(axis=0)
    deviation_K = np.sqrt(tau2_K + 1 / weights_EK.sum(axis=0))
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

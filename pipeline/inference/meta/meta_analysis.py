"""One hypothesis over many experiments: its mean slope, and the slope of the next experiment.

Experiments differ for reasons of their own (season, users, model): ``b̂_e = μ + d_e + e_e``, where
d_e ~ N(0, τ²) is what is peculiar to experiment e and e_e ~ N(0, se_e²) is sampling. The mean slope μ
is known the better the more experiments there are; the next experiment's slope μ + d never better
than τ lets it be. Experiments are independent: no users in common, no test sessions either.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.optimize import elementwise
from scipy.special import ndtr
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.results.family import Family, Floats

Interval = tuple[float, float]

_PAULE_MANDEL_STEPS = 1000
"""Each at least doubles τ² far from the solution; statsmodels' 50 are too few if errors differ by
orders of magnitude."""

_PROFILE_POINTS = 400
"""Of the distribution of τ²; twice as many move the ends of a 99 % interval by 0.1 % of it."""

_LARGEST_EXPONENT = 700.0
"""Beyond it the exponential is not a number of 64 bits; such a change of odds is absurd anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSlope:
    """The slope of one hypothesis over E experiments.

    Attributes:
        mean: The mean slope μ, with Hartung and Knapp's error and t with E - 1 degrees of freedom
            (Hartung & Knapp 2001). Where the slopes differ less than their errors say, that error
            would be below the one of equal slopes; then the latter stands (Knapp & Hartung's own
            modification, recommended for few experiments of unequal size by Röver, Knapp & Friede
            2015), and ``covariance`` says "hartung-knapp, truncated".
        tau: Standard deviation between experiments of their true slopes (Paule & Mandel 1982).
        i_squared: Share of the slopes' variance that sampling does not explain, in [0, 1].
        cochran_q: Σ (b̂_e - b̄)² / se_e², χ² with E - 1 degrees of freedom if τ is 0.
        q_p_value: Of Cochran's Q; small says that experiments differ.
        higgins: Where the next experiment's true slope lies, ``μ ± t_{E-2} √(τ² + se²)`` (Higgins,
            Thompson & Spiegelhalter 2009); None for two experiments. Too short where τ is about as
            large as the errors, because it takes τ for known.
        profiled: The same with τ as uncertain as it is; see :func:`profiled_interval`.
        prediction_interval: The wider of the two.
    """

    mean: SlopeTest
    tau: float
    i_squared: float
    cochran_q: float
    q_p_value: float
    higgins: Interval | None
    profiled: Interval | None
    prediction_interval: Interval | None


def pool_slopes(slopes: Floats, standard_errors: Floats, *, level: float) -> PooledSlope | str:
    """Pool one hypothesis's slopes; of fewer than two experiments, return why not instead.

    Args:
        slopes: One an experiment.
        standard_errors: Of the slopes, positive; users clustered.
        level: Coverage the intervals aim at.
    """
    if len(slopes) < 2:
        return "one experiment alone cannot tell how much experiments differ"
    variances = standard_errors**2
    with np.errstate(divide="ignore"):  # statsmodels' own I², of slopes that are all the same
        found: Any = combine_effects(slopes, variances, method_re="pm", maxiter=_PAULE_MANDEL_STEPS)
    df, tau2 = len(slopes) - 1, float(found.tau2)
    # Paule and Mandel's τ² makes the scale 1, unless it is 0 and the scale below 1.
    truncated = tau2 == 0 and found.scale_hksj_re < 1
    error = float(found.sd_eff_w_re)
    mean = wald_test(
        float(found.mean_effect_re),
        error,
        covariance="hartung-knapp, truncated" if truncated else "hartung-knapp",
        level=level,
        df=df,
    )
    cochran_q = float(found.scale_hksj_fe * df)
    higgins = profiled = wider = None
    if df > 1:
        width = float(stats.t.ppf((1 + level) / 2, df - 1)) * np.sqrt(tau2 + error**2)
        higgins = (mean.slope - float(width), mean.slope + float(width))
        profiled = profiled_interval(slopes, variances, level=level)
        wider = max(higgins, profiled, key=lambda ends: ends[1] - ends[0])
    return PooledSlope(
        mean=mean,
        tau=float(np.sqrt(tau2)),
        i_squared=max(0.0, 1 - df / cochran_q) if cochran_q else 0.0,
        cochran_q=cochran_q,
        q_p_value=float(stats.chi2.sf(cochran_q, df)),
        higgins=higgins,
        profiled=profiled,
        prediction_interval=wider,
    )


def profiled_interval(slopes: Floats, variances: Floats, *, level: float) -> Interval:
    """Where the next experiment's true slope lies, τ² not taken for known.

    Cochran's Q with the weights 1 / (se² + τ²) of the true τ² has χ² with E - 1 degrees of freedom, so
    the τ² that solve Q(τ²) = χ²-quantile are a confidence distribution of it (Viechtbauer 2007). Given
    τ², the next slope is normal with the mean μ(τ²) and the variance τ² + se²(τ²); the interval is
    that of the mixture (the idea of Nagashima, Noma & Furukawa 2019).
    """
    quantiles = (np.arange(_PROFILE_POINTS) + 0.5) / _PROFILE_POINTS
    tau2_K = _between_variances(slopes, variances, stats.chi2.ppf(quantiles, len(slopes) - 1))
    weights_EK = 1 / (variances[:, None] + tau2_K)
    mean_K = (weights_EK * slopes[:, None]).sum(axis=0) / weights_EK.sum(axis=0)
    deviation_K = np.sqrt(tau2_K + 1 / weights_EK.sum(axis=0))
    reach_K = (float(stats.norm.ppf((1 + level) / 2)) + 1) * deviation_K
    low, high = float((mean_K - reach_K).min()), float((mean_K + reach_K).max())

    def end(share: float) -> float:
        def beyond(slope: float) -> float:
            return float(ndtr((slope - mean_K) / deviation_K).mean()) - share

        found = optimize.root_scalar(beyond, bracket=(low, high), xtol=1e-9 * (high - low))
        return float(found.root)

    return end((1 - level) / 2), end((1 + level) / 2)


def _between_variances(slopes: Floats, variances: Floats, targets_K: Floats) -> Floats:
    """The τ² for which Q(τ²) is each of the targets; 0 where no τ² makes it so large."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a new offline gain makes of the KPI, if the next experiment is like the past ones.

    Attributes:
        gain: Relative change of the metric, a fraction: 0.02 is 2 % more.
        odds_change: Relative change of the KPI's odds, exp(slope · gain) - 1; None of an amount.
        odds_interval: Its prediction interval; None where the slope has none.
        rate: The rate the KPI has without the gain, above 0.
        rate_change: Relative change of that rate.
        rate_interval: Its prediction interval; None where the slope has none.
    """

    gain: float
    odds_change: float | None
    odds_interval: Interval | None
    rate: float
    rate_change: float
    rate_interval: Interval | None


def forecast(
    pooled: PooledSlope, *, gain: float, rate: float, family: Family = Family.BINOMIAL
) -> Forecast:
    """The KPI's change after a relative change of the metric by ``gain``, from ``rate`` on."""
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

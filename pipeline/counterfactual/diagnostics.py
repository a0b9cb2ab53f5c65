"""Diagnostics of importance weights, and when an estimate is refused.

Shape suffixes: N rows, K positions, M tail weights.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.counterfactual.weighted_log import WeightedLog
from pipeline.results.counterfactual import (
    Estimator,
    SupportLimit,
    SupportReason,
    SupportStatus,
    WeightDiagnostics,
)
from pipeline.results.family import Floats

LEAST_SUPPORT, LEAST_USABLE_SUPPORT, LEAST_NORMALISED_SUPPORT = 0.8, 0.95, 0.995
LEAST_EFFECTIVE_SAMPLE, LEAST_EFFECTIVE_SHARE = 100.0, 0.05
MOST_K_HAT, MOST_USABLE_K_HAT = 0.7, 0.5
MOST_Z = 4.0

_LARGE_WEIGHT = 10.0
_MOST_LIKELY = 1.96
_LEAST_TAIL = 3
_PRIOR_POINTS, _PRIOR_K = 10, 0.5
"""PSIS' weak prior of k̂."""


def diagnose(log: WeightedLog, estimator: Estimator = Estimator.IPS) -> WeightDiagnostics:
    """Diagnostics of a log's weights, and whether they support the estimator."""
    return diagnose_each(log, [estimator])[estimator]


def diagnose_each(
    log: WeightedLog, estimators: Iterable[Estimator]
) -> dict[Estimator, WeightDiagnostics]:
    """As :func:`diagnose`, for several estimators: they differ in their limits alone.

    DM uses no weights, so its only limit is the support.
    """
    control_NJ = log.control_NJ
    totals_J, squares_J = control_NJ.sum(axis=0), (control_NJ**2).sum(axis=0)
    effective_J = np.divide(
        totals_J**2, squares_J, out=np.zeros_like(totals_J), where=squares_J > 0
    )
    excesses = [_excess(log, column_N) for column_N in control_NJ.T]
    zs = [one.value / one.standard_error for one in excesses if one.standard_error > 0]
    ks = [pareto_k(column_N) for column_N in control_NJ.T]
    found = _Numbers(
        rows=log.rows,
        support=log.support,
        possible_support=min(1 + one.value + _MOST_LIKELY * one.standard_error for one in excesses),
        mean_weight=float(totals_J[effective_J.argmin()] / log.rows),
        z=max(zs, key=abs, default=None),
        effective_sample_size=float(effective_J.min()),
        k_hat=max((one for one in ks if one is not None), default=None),
    )
    unlimited = WeightDiagnostics(
        rows=log.rows,
        users=len(np.unique(log.user_N)),
        support=found.support,
        mean_weight=found.mean_weight,
        z=found.z,
        max_weight=float(log.weight_NK.max()),
        share_above_10=float((log.weight_NK > _LARGE_WEIGHT).mean()),
        effective_sample_size=found.effective_sample_size,
        k_hat=found.k_hat,
        status=SupportStatus.USABLE,
        limits=(),
    )
    limits = {one: _limits(found, one) for one in estimators}
    return {
        one: replace(unlimited, status=these[0].status, limits=these) if these else unlimited
        for one, these in limits.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """What limits are about; ``possible_support`` is the largest that the mean weight allows."""

    rows: int
    support: float | None
    possible_support: float
    mean_weight: float
    z: float | None
    effective_sample_size: float
    k_hat: float | None


def _limits(found: _Numbers, estimator: Estimator) -> tuple[SupportLimit, ...]:
    """The numbers that limit the support, the worst first."""
    # without the logging policy's other probabilities, only the mean weight can show a lack of support
    support = found.possible_support if found.support is None else found.support
    limits = _first(
        SupportReason.SUPPORT,
        support,
        lambda limit: support < limit,
        refuse=LEAST_SUPPORT,
        weaken=LEAST_USABLE_SUPPORT,
    )
    if estimator is not Estimator.DM:
        size, share = found.effective_sample_size, found.effective_sample_size / found.rows
        limits += _first(
            SupportReason.EFFECTIVE_SAMPLE_SIZE,
            size,
            lambda limit: size < limit,
            refuse=LEAST_EFFECTIVE_SAMPLE,
        )
        limits += _first(
            SupportReason.EFFECTIVE_SHARE,
            share,
            lambda limit: share < limit,
            weaken=LEAST_EFFECTIVE_SHARE,
        )
        if (k := found.k_hat) is not None:
            limits += _first(
                SupportReason.TAIL,
                k,
                lambda limit: k > limit,
                refuse=MOST_K_HAT,
                weaken=MOST_USABLE_K_HAT,
            )
        if (z := found.z) is not None:
            limits += _first(
                SupportReason.MEAN_WEIGHT, z, lambda limit: abs(z) > limit, refuse=MOST_Z
            )
    if estimator.is_self_normalised:
        limits += _first(
            SupportReason.EXTRAPOLATION,
            support,
            lambda limit: support < limit,
            refuse=LEAST_NORMALISED_SUPPORT,
        )
    return tuple(sorted(limits, key=lambda one: one.status is not SupportStatus.NO_SUPPORT))


def _first(
    reason: SupportReason,
    value: float,
    breaks: Callable[[float], bool],
    *,
    refuse: float | None = None,
    weaken: float | None = None,
) -> list[SupportLimit]:
    """The limit that a number breaks; none if it breaks neither."""
    for limit, status in ((refuse, SupportStatus.NO_SUPPORT), (weaken, SupportStatus.WEAK)):
        if limit is not None and breaks(limit):
            return [SupportLimit(reason=reason, value=value, limit=limit, status=status)]
    return []


def _excess(log: WeightedLog, control_N: Floats) -> Estimate:
    """The mean control less its expectation, clustered by user."""
    excess_N = control_N - (1.0 if log.support_N is None else log.support_N)
    return Estimate.of(UserSums.of(log.user_N, additive_N=excess_N))


def pareto_k(weights: Floats) -> float | None:
    """Shape k̂ of the generalised Pareto distribution of the largest weights.

    Zhang & Stephens' (2009) profile posterior mean with the prior of PSIS (Vehtari et al. 2024), on the
    min(n / 5, 3 √n) largest weights. Moments of order 1 / k do not exist; above 0.7 estimates are not
    reliable at any sample size.

    Returns:
        None if fewer than three weights exceed the threshold, or all by the same, as for weights with
        few values, which are bounded.
    """
    ordered = np.sort(weights)
    n = len(ordered)
    tail = max(int(min(np.ceil(0.2 * n), np.ceil(3 * np.sqrt(n)))), _LEAST_TAIL)
    if n <= tail:
        return None
    excess_M = ordered[-tail:] - ordered[-tail - 1]
    excess_M = excess_M[excess_M > 0]
    m = len(excess_M)
    if m < _LEAST_TAIL or excess_M[0] == excess_M[-1]:
        return None
    grid = 30 + int(np.sqrt(m))
    quartile = excess_M[int(m / 4 + 0.5) - 1]
    steps = np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = 1 / excess_M[-1] + (1 - steps) / (3 * quartile)
    k = np.log1p(-b[:, None] * excess_M).mean(axis=1)
    log_likelihood = m * (np.log(-b / k) - k - 1)
    weight = softmax(log_likelihood)
    kept = weight >= 10 * np.finfo(np.float64).eps
    mean_b = (b[kept] * weight[kept]).sum() / weight[kept].sum()
    shape = np.log1p(-mean_b * excess_M).mean()
    return float((shape * m + _PRIOR_POINTS * _PRIOR_K) / (m + _PRIOR_POINTS))

"""The true lift of the next test, given its change of the metric.

The τ² for which the smallest Σ rᵀV⁻¹r is a quantile of χ² are a confidence distribution of τ². Given
τ², the next lift is normal around the line; the interval is that of the mixture, as for slopes of
experiments (:mod:`pipeline.inference.meta.meta_analysis`). It contains the interval of the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.inference.meta.meta_analysis import (
    PROFILE_POINTS,
    mixture_interval,
    prediction_tail,
)
from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit
from pipeline.results.family import Floats
from pipeline.results.past_tests import PredictedLift
from pipeline.results.slopes import OpenInterval

_GRID = 24
"""Values of τ² at which Q is computed; between them it is interpolated."""

_LEAST_TESTS = 3
_LEAST_DEVIATION = 1e-9
"""Of the spread of the lifts; a change of 0 with τ = 0 has no deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profile:
    """The slopes that go with a confidence distribution of τ²."""

    slope_K: Floats
    error_K: Floats
    tau2_K: Floats


def predict_lifts(
    model: ProxyModel, fit: SlopeFit, deltas: Sequence[float]
) -> tuple[PredictedLift, ...]:
    """Predict the true lift of a next test for each change of the metric; three tests are needed."""
    profile = _profile(model, fit) if model.tests >= _LEAST_TESTS else None
    return tuple(
        PredictedLift(
            delta=delta,
            lift=fit.slope * delta,
            mean_interval=_scaled(fit.interval, delta),
            interval=profile and _interval(profile, model, _scaled(fit.interval, delta), delta),
        )
        for delta in deltas
    )


def _interval(
    profile: _Profile, model: ProxyModel, mean: OpenInterval, delta: float
) -> OpenInterval:
    deviation_K = np.sqrt(profile.tau2_K + (delta * profile.error_K) ** 2)
    low, high = mixture_interval(
        profile.slope_K * delta,
        np.maximum(deviation_K, _LEAST_DEVIATION * model.lift_spread),
        tail=prediction_tail(model.contrasts, model.level),
    )
    return (
        None if mean[0] is None else min(low, mean[0]),
        None if mean[1] is None else max(high, mean[1]),
    )


def _scaled(ends: OpenInterval, delta: float) -> OpenInterval:
    if not delta:
        return 0.0, 0.0
    low, high = ends if delta > 0 else ends[::-1]
    return (
        None if low is None else low * delta,
        None if high is None else high * delta,
    )


def _profile(model: ProxyModel, fit: SlopeFit) -> _Profile:
    """Slope, its error, and τ² at equal steps of the confidence distribution of τ²."""
    shares = (np.arange(PROFILE_POINTS) + 0.5) / PROFILE_POINTS
    targets_K = stats.chi2.ppf(shares, model.df)
    largest = max(model.largest_tau2(fit.slope, targets_K[0]), 1e-300)
    tau2 = np.concatenate([[0.0], largest * np.geomspace(1e-6, 1, _GRID)])
    slopes, errors, found_q = [], [], []
    near = fit.slope
    for one in tau2.tolist():
        found = model.slope_at(one, near=near)
        near = near if found is None else found
        score = model.score(near, one)
        slopes.append(near)
        errors.append(score.information**-0.5)
        found_q.append(score.q)
    # Q falls with τ²; np.interp wants it to rise
    at = (np.array(found_q)[::-1], np.sqrt(tau2)[::-1])
    tau_K = np.interp(targets_K, *at)
    return _Profile(
        slope_K=np.interp(tau_K, np.sqrt(tau2), slopes),
        error_K=np.interp(tau_K, np.sqrt(tau2), errors),
        tau2_K=tau_K**2,
    )

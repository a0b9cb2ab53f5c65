"""The slope of a KPI's lift on a metric's change over past tests, both measured with errors.

``lift = b · change + d`` with a deviation d ~ N(0, τ²) of every test, by what the metric does not
explain. The line goes through the origin: a test that changes nothing has no lift, and exchanging variant and
control changes nothing. Both sides have errors with known covariance. Under a slope b, the residual
``r = lift - b · change`` has the covariance V, and the metric's change without what it shares with r,
``x = change - Cov(error, r) V⁻¹ r``, is not correlated with r, whatever the true changes are (the
conditional score of Stefanski & Carroll 1987). b is rejected if the slope of r on x is too far from 0.
The estimate has slope 0: it minimises Σ rᵀV⁻¹r, the limited-information maximum likelihood of the past
tests as instruments. Without errors of the metric it is the weighted regression through the origin.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from pipeline.inference.past_tests.effects import StackedTests
from pipeline.inference.past_tests.residuals import (
    diagonal,
    find_root,
    residual_covariance,
    score_terms,
    solve,
)
from pipeline.results.family import Floats
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import OpenInterval

_ANGLES = 91
"""Slopes are searched on a circle, where those without limit are a quarter turn from 0."""

_LAST_ANGLE = np.pi / 2 - 1e-4
_ROUND_OFF = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The test of one slope with one τ².

    Attributes:
        q: Σ rᵀV⁻¹r.
        delta: Slope of the residuals on the corrected changes.
        information: Inverse of its variance.
        error_share: Share of that variance that is not τ².
        estimated_tau: What the estimation of τ adds to the variance, as a multiple of it; 0 without
            errors of the metric, and with τ = 0.
    """

    q: float
    delta: float
    information: float
    error_share: float
    estimated_tau: float

    @property
    def residual_q(self) -> float:
        """What the residuals' slope leaves of q; χ² with one degree of freedom less than contrasts."""
        return max(self.q - self.delta**2 * self.information, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeFit:
    """The slope over past tests.

    Attributes:
        slope: The estimate.
        standard_error: Of the slope; the interval is not ± a multiple of it.
        interval: The slopes that are not rejected; an end is None where the metric's error leaves
            no limit.
        p_value: Of the slope 0.
        tau: Standard deviation of the true lifts around the line.
        cochran_q: Smallest Σ rᵀV⁻¹r with τ = 0, χ² with one degree of freedom less than contrasts.
        reliability: Share of the spread of the measured changes that is not error.
        naive_slope: Without correction for the metric's error.
    """

    slope: float
    standard_error: float
    interval: OpenInterval
    p_value: float
    tau: float
    cochran_q: float
    reliability: float
    naive_slope: float


class ProxyModel:
    """The tests of slopes on one metric and KPI, at one correlation of their errors."""

    def __init__(self, blocks: Sequence[StackedTests], correlation: float, level: float) -> None:
        self.blocks = blocks
        self.correlation = correlation
        self.level = level
        self.tests = sum(len(one.delta_EC) for one in blocks)
        self.contrasts = sum(one.delta_EC.size for one in blocks)
        self.lift_spread = _spread(blocks, "lift_EC") or 1.0
        self.scale = self.lift_spread / (_spread(blocks, "delta_EC") or 1.0)

    @property
    def df(self) -> int:
        """Degrees of freedom of the deviations: contrasts less 1."""
        return self.contrasts - 1

    def score(self, slope: float, tau2: float) -> Score:
        """Test a slope."""
        sums = np.zeros(6)
        for one in self.blocks:
            sums += score_terms(one, slope, tau2, self.correlation).sum(axis=0)
        q, u, information, by_tau, shared, between = sums.tolist()
        known = information > 0
        # a τ² that is estimated from r moves the part of x that r corrects
        moved = (shared / between) ** 2 if between else 0.0
        return Score(
            q=q,
            delta=u / information if known else 0.0,
            information=information,
            error_share=1 - tau2 * by_tau / information if known else 1.0,
            estimated_tau=2 * self.contrasts * moved / information if known else 0.0,
        )

    def tau2(self, slope: float) -> float:
        """The τ² with which the residuals have their expected spread (Paule & Mandel 1982), or 0."""

        def excess(tau2: float) -> float:
            return self._q(slope, tau2) - self.df

        if excess(0.0) <= 0:
            return 0.0
        most = self.largest_tau2(slope, self.df)
        return find_root(excess, 0.0, most, tolerance=1e-9 * most)

    def largest_tau2(self, slope: float, target: float) -> float:
        """A τ² at which the residuals' Q is below a target."""
        squares = sum(
            float(((one.lift_EC - slope * one.delta_EC) ** 2).sum()) for one in self.blocks
        )
        # the smallest eigenvalue of the contrasts' correlation is ½, so Q is below 2 Σ r² / τ²
        return 2.1 * squares / target

    def _q(self, slope: float, tau2: float) -> float:
        found = 0.0
        for one in self.blocks:
            r = one.lift_EC - slope * one.delta_EC
            found += float(
                (r * solve(residual_covariance(one, slope, tau2, self.correlation), r)).sum()
            )
        return found

    def p_value(self, slope: float) -> float:
        """Of a slope: the error rate at which it is no longer rejected."""
        found = self.score(slope, self.tau2(slope))
        if self._excess(found, _ROUND_OFF) > 0:
            return _ROUND_OFF
        if self._excess(found, 1.0) <= 0:
            return 1.0
        return find_root(lambda p: self._excess(found, p), _ROUND_OFF, 1.0, tolerance=1e-14)

    def excess(self, slope: float) -> float:
        """Distance of the residuals' slope beyond the critical one; positive where rejected."""
        return self._excess(self.score(slope, self.tau2(slope)), 1 - self.level)

    def _excess(self, found: Score, error_rate: float) -> float:
        """In standard errors: t from the deviations of the tests, but at least the normal of their errors."""
        t, z = -stdtrit(self.tests - 1, error_rate / 2), -ndtri(error_rate / 2)
        spread = t**2 * found.residual_q / self.df
        critical = max(spread * (1 + found.estimated_tau), z**2 * found.error_share) ** 0.5
        return float(abs(found.delta) * found.information**0.5 - critical)

    def slope_at(self, tau2: float | None, near: float | None = None) -> float | None:
        """The slope for one τ²; None for the τ² of each slope.

        None where the line through the lifts is vertical: the changes are errors alone.
        """

        def delta(angle: float) -> float:
            slope = self.scale * np.tan(angle)
            return self.score(slope, self.tau2(slope) if tau2 is None else tau2).delta

        if near is not None:
            centre = np.arctan(near / self.scale)
            for width in (0.003, 0.03, 0.3):
                low, high = max(centre - width, -_LAST_ANGLE), min(centre + width, _LAST_ANGLE)
                if delta(low) > 0 > delta(high):
                    return self._root(delta, low, high)
        angles = np.linspace(-_LAST_ANGLE, _LAST_ANGLE, _ANGLES)
        found = [delta(angle) for angle in angles]
        falls = [k for k in range(len(found) - 1) if found[k] > 0 >= found[k + 1]]
        if not falls:
            return None
        roots = [self._root(delta, angles[k], angles[k + 1]) for k in falls]
        return min(roots, key=lambda slope: self.score(slope, tau2 or 0.0).q)

    def _root(self, delta: Callable[[float], float], low: float, high: float) -> float:
        return float(self.scale * np.tan(find_root(delta, low, high, tolerance=1e-10)))

    def weights(self, tau2: float) -> list[Floats]:
        """1 / variance of the lifts, one array per block."""
        return [1 / (diagonal(one.lift_noise_ECC) + tau2) for one in self.blocks]

    def naive_slope(self, tau2: float) -> float:
        """The weighted regression through the origin, as if the metric had no error."""
        pairs = list(zip(self.weights(tau2), self.blocks, strict=True))
        product = sum(float((w * one.delta_EC * one.lift_EC).sum()) for w, one in pairs)
        return product / sum(float((w * one.delta_EC**2).sum()) for w, one in pairs)

    def reliability(self, tau2: float) -> float:
        """Share of the weighted spread of the changes that is not error, at least 0."""
        pairs = list(zip(self.weights(tau2), self.blocks, strict=True))
        noise = sum(float((w * diagonal(one.delta_noise_ECC)).sum()) for w, one in pairs)
        spread = sum(float((w * one.delta_EC**2).sum()) for w, one in pairs)
        return max(0.0, 1 - noise / spread)


def fit_slope(model: ProxyModel) -> SlopeFit | UndefinedReason:
    """Fit the slope; where it is undefined, return the reason."""
    if model.tests < 2:
        return UndefinedReason.FEWER_THAN_2_TESTS
    if not _spread(model.blocks, "delta_EC"):
        return UndefinedReason.METRIC_CONSTANT
    slope = model.slope_at(None)
    if slope is None:
        return UndefinedReason.METRIC_WITHIN_NOISE
    tau2 = model.tau2(slope)
    found = model.score(slope, tau2)
    interval = _interval(model, slope)
    if interval == (None, None) or not found.information > 0:
        return UndefinedReason.METRIC_WITHIN_NOISE
    scale = max(found.error_share, found.residual_q / model.df) ** 0.5
    flat = model.slope_at(0.0, near=slope) if tau2 else slope
    flat = slope if flat is None else flat
    return SlopeFit(
        slope=slope,
        standard_error=scale / found.information**0.5,
        interval=interval,
        p_value=model.p_value(0.0),
        tau=tau2**0.5,
        cochran_q=model.score(flat, 0.0).q,
        reliability=model.reliability(tau2),
        naive_slope=model.naive_slope(tau2),
    )


def _interval(model: ProxyModel, slope: float) -> OpenInterval:
    """The slopes around the estimate that are not rejected."""
    centre = float(np.arctan(slope / model.scale))
    step = np.pi / (_ANGLES - 1)

    def excess(angle: float) -> float:
        return model.excess(model.scale * np.tan(angle))

    def end(direction: int) -> float | None:
        inside, reach = centre, step / 16
        while True:
            outside = float(np.clip(centre + direction * reach, -_LAST_ANGLE, _LAST_ANGLE))
            if excess(outside) > 0:
                low, high = sorted((inside, outside))
                return float(model.scale * np.tan(find_root(excess, low, high, tolerance=1e-9)))
            if abs(outside) >= _LAST_ANGLE:
                return None
            inside, reach = outside, min(reach * 1.5, reach + step)

    return end(-1), end(1)


def _spread(blocks: Sequence[StackedTests], name: str) -> float:
    """Root mean square of a side over all contrasts."""
    values = np.concatenate([np.zeros(0), *(getattr(one, name).ravel() for one in blocks)])
    return float(np.sqrt((values**2).mean())) if len(values) else 0.0

"""Optimal design: the g preferences on the front with the most information on the slopes.

A group with traffic share w and information u per user has weight d = w u. The information on the slope
is Σ d (x - x̄)². Its maximum is the D-optimal design of a straight line (Fedorov 1972; Pukelsheim 1993,
ch. 9), or the locally optimal one if u depends on the slope (Chernoff 1953). That design places all
groups at the two extremes and cannot detect curvature, so the information on the coefficient of x²
(D_s-optimality; Atkinson, Donev & Tobias 2007, ch. 10 and 21) must reach a share of its maximum.
Several hypotheses are combined by the product of their efficiencies (compound design, ibid.);
maximising one efficiency subject to a floor on another is also a compound design (Cook & Wong 1994).
Where an axis has rivals, its slope is the partial one, with the rivals held fixed
(:mod:`.metric_axis`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.experiment.design.optimal_design.exchange import (
    TOLERANCE,
    Floats,
    Ints,
    coordinate_exchange,
)
from pipeline.experiment.design.optimal_design.joint_information import partial_information
from pipeline.experiment.design.optimal_design.metric_axis import MetricAxis, collinearity


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Efficiency of a design for one hypothesis, relative to the best design for it.

    Attributes:
        slope: Information on the slope, net of the metric's error; at most 1. None if no design has
            any because the metric varies by no more than its error.
        curvature: Information on the coefficient of x², at most 1; None with fewer than three
            preferences or values of x.
        reliability: Share of the variance of x between the groups that is not error, at most 1.
        inflation: Variance inflation factor of the slope by the metrics that are held fixed; None
            without any, and where it is infinite.
        correlations: Of the metric with each of those over the groups, net of their errors.
    """

    slope: float | None
    curvature: float | None
    reliability: float | None
    inflation: float | None = None
    correlations: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class DesignCriterion:
    """The criterion that designs are compared by.

    Attributes:
        axes: One axis per hypothesis.
        weights_G: Traffic share of each chosen candidate, in the candidates' order; sums to 1.
        best_slope: Maximum information on the slope, per axis.
        best_curvature: Maximum information on the coefficient of x², per axis.
        attainable: Largest curvature efficiency that all axes can have at once.
    """

    axes: tuple[MetricAxis, ...]
    weights_G: Floats
    best_slope: tuple[float, ...]
    best_curvature: tuple[float, ...]
    attainable: float

    @classmethod
    def of(cls, axes: Sequence[MetricAxis], weights_G: Floats, *, seed: int) -> "DesignCriterion":
        """Compute the maxima of each axis."""
        best_slope, best_curvature = (
            tuple(_largest(information, axis, weights_G, seed=seed) for axis in axes)
            for information in (slope_information, curvature)
        )
        first = cls(tuple(axes), weights_G, best_slope, best_curvature, attainable=0.0)
        if not first.has_curvature:
            return first
        best = coordinate_exchange(
            lambda designs: first.curvature_efficiency(designs)[:, None],
            len(axes[0].x_C),
            len(weights_G),
            seed=seed,
        )
        least = float(first.curvature_efficiency(best[None])[0])
        return cls(first.axes, weights_G, first.best_slope, first.best_curvature, attainable=least)

    @property
    def has_curvature(self) -> bool:
        """Whether any axis allows an estimate of curvature."""
        return any(best > TOLERANCE for best in self.best_curvature)

    def curvature_efficiency(self, designs_KG: Ints) -> Floats:
        """Minimum curvature efficiency over the axes; one value per design."""
        found = [
            curvature(axis, designs_KG, self.weights_G) / best
            for axis, best in zip(self.axes, self.best_curvature, strict=True)
            if best > TOLERANCE
        ]
        return np.min(found, axis=0)

    def log_slope_efficiency(self, designs_KG: Ints) -> Floats:
        """Mean log slope efficiency over the axes; one value per design."""
        found = [
            slope_information(axis, designs_KG, self.weights_G) / best
            for axis, best in zip(self.axes, self.best_slope, strict=True)
            if best > 0
        ]
        return (
            np.log(np.maximum(found, TOLERANCE)).mean(axis=0)
            if found
            else np.zeros(len(designs_KG))
        )

    def score(self, designs_KG: Ints, *, floor: float) -> Floats:
        """Shortfall below the floor, then log slope efficiency; K × 2.

        The floor is relative to :attr:`attainable`.
        """
        shortfall = np.zeros(len(designs_KG))
        if self.has_curvature and floor:
            excess = self.curvature_efficiency(designs_KG) - floor * self.attainable
            shortfall = np.minimum(excess + TOLERANCE, 0)
        return np.column_stack([shortfall, self.log_slope_efficiency(designs_KG)])

    def choose(self, *, floor: float, seed: int) -> Ints:
        """The optimal candidates, in ascending order; for ``floor`` see :meth:`score`."""
        return coordinate_exchange(
            lambda designs: self.score(designs, floor=floor),
            len(self.axes[0].x_C),
            len(self.weights_G),
            seed=seed,
        )

    def efficiencies(self, design_G: Ints, axes: Sequence[MetricAxis]) -> list[Efficiency]:
        """Efficiencies of a design per axis; ``axes`` may have more candidates than the criterion's."""
        found: list[Efficiency] = []
        for axis, best, bent in zip(axes, self.best_slope, self.best_curvature, strict=True):
            raw = float(raw_information(axis, design_G[None], self.weights_G)[0])
            slope = float(slope_information(axis, design_G[None], self.weights_G)[0])
            net = float(slope_information(axis.marginal, design_G[None], self.weights_G)[0])
            curved = float(curvature(axis, design_G[None], self.weights_G)[0])
            inflated, correlations = collinearity(axis, design_G, self.weights_G)
            found.append(
                Efficiency(
                    slope=slope / best if best > 0 else None,
                    curvature=curved / bent if bent > TOLERANCE else None,
                    reliability=net / raw if raw > 0 else None,
                    inflation=inflated,
                    correlations=correlations,
                )
            )
        return found


def slope_information(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """``Σ d (x - x̄)²`` minus the contribution of the error of x, ``tr((D - d dᵀ / Σ d) Ξ)``.

    With metrics held fixed, the partial information.
    """
    d_KG = weights_G * axis.information_C[designs_KG]
    if axis.joint is not None:
        return partial_information(axis.joint.information(designs_KG, d_KG))[:, 0]
    noise_KGG = axis.noise_CC[designs_KG[:, :, None], designs_KG[:, None, :]]
    own = (d_KG * np.diagonal(noise_KGG, axis1=1, axis2=2)).sum(axis=1)
    common = np.einsum("kg,kgh,kh->k", d_KG, noise_KGG, d_KG) / d_KG.sum(axis=1)
    return raw_information(axis, designs_KG, weights_G) - (own - common)


def curvature(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """Information on the coefficient of x²; one value per design.

    The ratio of the determinants of the quadratic's and the line's information, in central sums
    ``s4 - s2² / s0 - s3² / s2``.
    """
    s0, s2, s3, s4 = (_central_sum(axis, designs_KG, weights_G, power) for power in (0, 2, 3, 4))
    skew = np.divide(s3**2, s2, out=np.zeros_like(s2), where=s2 > TOLERANCE)
    return np.maximum(s4 - s2**2 / s0 - skew, 0)


def raw_information(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """``Σ d (x - x̄)²``, the error of x included; one value per design."""
    return _central_sum(axis, designs_KG, weights_G, 2)


def _central_sum(axis: MetricAxis, designs_KG: Ints, weights_G: Floats, power: int) -> Floats:
    x_KG, d_KG = axis.x_C[designs_KG], weights_G * axis.information_C[designs_KG]
    mean_K = (d_KG * x_KG).sum(axis=1) / d_KG.sum(axis=1)
    return (d_KG * (x_KG - mean_K[:, None]) ** power).sum(axis=1)


def _largest(
    information: Callable[[MetricAxis, Ints, Floats], Floats],
    axis: MetricAxis,
    weights_G: Floats,
    *,
    seed: int,
) -> float:
    """The information of the best design for one axis."""
    best_G = coordinate_exchange(
        lambda designs_KG: information(axis, designs_KG, weights_G)[:, None],
        len(axis.x_C),
        len(weights_G),
        seed=seed,
    )
    return float(information(axis, best_G[None], weights_G)[0])

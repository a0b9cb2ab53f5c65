"""Which preferences say most of the hypotheses' slopes: an exact design of g points on the front.

A group with share w, whose users tell u of the KPI's link, weighs d = w u. The information on the slope
of a straight line is Σ d (x - x̄)²; where u is the same for all, the design with the most of it is the
line's D-optimal one (Fedorov 1972; Pukelsheim 1993, ch. 9), and where u depends on the slope, it is the
locally optimal one (Chernoff 1953). It puts all groups at the two ends and would never see a bend, so the information on the coefficient of x² beside
the line (D_s-optimality; Atkinson, Donev & Tobias 2007, ch. 10 and 21) must not fall below a share of
what is possible. Several hypotheses are weighed by the product of their efficiencies (compound
design, ibid.); holding some efficiencies above a floor while another is maximised is a compound
design, too (Cook & Wong 1994).

The best of all sets of g candidates is looked for by exchange (Fedorov 1972): from many starts, the
best swap of a chosen for another candidate, until none is better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RANDOM_STARTS = 10
_SAME = 1e-9
"""Criteria that differ by less, relative to 1, are equal: the exchange must come to an end."""


@dataclass(frozen=True, slots=True)
class MetricAxis:
    """A hypothesis's metric over the candidates.

    Attributes:
        x_C: The metric, in units of how far it goes on the whole front: efficiencies are ratios, so
            that scale and origin do not matter.
        noise_CC: Covariance of its errors.
        told_C: What the same users tell of the KPI's link under each candidate, relative to others.
    """

    x_C: Floats
    noise_CC: Floats
    told_C: Floats


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a design tells of one hypothesis, beside the best design for that hypothesis alone.

    Attributes:
        slope: Information on the slope, free of the metric's noise; 1 is the best there is. None
            if no design has any: the metric varies by no more than its error.
        curvature: Information on the coefficient of x²; None with fewer than three preferences, or
            where x has two values only.
        reliability: Share of the variance of x between the groups that is not error, at most 1.
    """

    slope: float | None
    curvature: float | None
    reliability: float | None


@dataclass(frozen=True, slots=True)
class DesignCriterion:
    """What designs are compared by.

    Attributes:
        axes: One a hypothesis.
        weights_G: Share of the users of each chosen candidate, in the candidates' order; sums to 1.
        best_slope: The most information on the slope, axis by axis.
        best_curvature: The most on the coefficient of x², axis by axis.
        attainable: The largest efficiency for curvature that all axes can have at once.
    """

    axes: tuple[MetricAxis, ...]
    weights_G: Floats
    best_slope: tuple[float, ...]
    best_curvature: tuple[float, ...]
    attainable: float

    @classmethod
    def of(cls, axes: Sequence[MetricAxis], weights_G: Floats, *, seed: int) -> "DesignCriterion":
        """Find what is the best for each axis alone."""
        most: dict[str, tuple[float, ...]] = {}
        for name, information in (("slope", slope_information), ("curvature", curvature)):
            found: list[float] = []
            for axis in axes:
                best = coordinate_exchange(
                    partial(_alone, information, axis, weights_G),
                    len(axis.x_C),
                    len(weights_G),
                    seed=seed,
                )
                found.append(float(information(axis, best[None], weights_G)[0]))
            most[name] = tuple(found)
        first = cls(tuple(axes), weights_G, most["slope"], most["curvature"], attainable=0.0)
        if not first.bends:
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
    def bends(self) -> bool:
        """Whether a bend of any axis can be seen at all."""
        return any(best > _SAME for best in self.best_curvature)

    def curvature_efficiency(self, designs_KG: Ints) -> Floats:
        """The smallest efficiency for curvature over the axes; one a design."""
        found = [
            curvature(axis, designs_KG, self.weights_G) / best
            for axis, best in zip(self.axes, self.best_curvature, strict=True)
            if best > _SAME
        ]
        return np.min(found, axis=0)

    def log_slope_efficiency(self, designs_KG: Ints) -> Floats:
        """Mean logarithm of the efficiencies for the slopes; one a design."""
        found = [
            slope_information(axis, designs_KG, self.weights_G) / best
            for axis, best in zip(self.axes, self.best_slope, strict=True)
            if best > 0
        ]
        return np.log(np.maximum(found, _SAME)).mean(axis=0) if found else np.zeros(len(designs_KG))

    def score(self, designs_KG: Ints, *, floor: float) -> Floats:
        """How far below the floor a design is, then how much it says of the slopes; K × 2.

        The floor is a share of what all axes can have at once.
        """
        if not (self.bends and floor):
            short = np.zeros(len(designs_KG))
        else:
            short = np.minimum(
                self.curvature_efficiency(designs_KG) - floor * self.attainable + _SAME, 0
            )
        return np.column_stack([short, self.log_slope_efficiency(designs_KG)])

    def choose(self, *, floor: float, seed: int) -> Ints:
        """The candidates that say most of the slopes, in ascending order.

        Args:
            floor: Least efficiency for curvature, as a share of what all axes can have at once.
            seed: Of the starts.
        """
        return coordinate_exchange(
            lambda designs: self.score(designs, floor=floor),
            len(self.axes[0].x_C),
            len(self.weights_G),
            seed=seed,
        )

    def efficiencies(self, design_G: Ints, axes: Sequence[MetricAxis]) -> list[Efficiency]:
        """What a design tells of each axis; ``axes`` may have other candidates than the best's."""
        found: list[Efficiency] = []
        for axis, slope, bend in zip(axes, self.best_slope, self.best_curvature, strict=True):
            seen = float(raw_information(axis, design_G[None], self.weights_G)[0])
            told = float(slope_information(axis, design_G[None], self.weights_G)[0])
            bent = float(curvature(axis, design_G[None], self.weights_G)[0])
            found.append(
                Efficiency(
                    slope=told / slope if slope > 0 else None,
                    curvature=bent / bend if bend > _SAME else None,
                    reliability=told / seen if seen > 0 else None,
                )
            )
        return found


def coordinate_exchange(score: Callable[[Ints], Floats], n: int, chosen: int, *, seed: int) -> Ints:
    """The set of ``chosen`` of ``n`` candidates with the largest score, as far as swaps find it.

    Args:
        score: Of K designs, K × criteria; the first that differs decides.
        n: Number of candidates.
        chosen: How many of them make a design.
        seed: Of the random starts, which stand beside evenly spaced ones.
    """
    rng = np.random.default_rng(seed)
    even = np.round(np.linspace(0, n - 1, chosen)).astype(np.int64)
    ends = np.array([*range((chosen + 1) // 2), *range(n - chosen // 2, n)])
    starts = [even, ends, *(rng.permutation(n)[:chosen] for _ in range(_RANDOM_STARTS))]
    found = [_climb(score, n, np.sort(start)) for start in starts]
    return found[_best(score(np.stack(found)))]


def _climb(score: Callable[[Ints], Floats], n: int, start_G: Ints) -> Ints:
    """The best swap again and again, until none is better."""
    design_G = start_G
    while n > len(design_G):
        others = np.setdiff1d(np.arange(n), design_G)
        swaps_PG = np.tile(design_G, (len(design_G) * len(others), 1))
        place = np.repeat(np.arange(len(design_G)), len(others))
        swaps_PG[np.arange(len(place)), place] = np.tile(others, len(design_G))
        designs_KG = np.concatenate([design_G[None], np.sort(swaps_PG, axis=1)])
        best = _best(score(designs_KG))
        if best == 0:
            break
        design_G = designs_KG[best]
    return design_G


def _best(score_KC: Floats) -> int:
    """The first row that none is better than, criterion by criterion, but for round-off."""
    kept = np.arange(len(score_KC))
    for column in score_KC.T:
        values = column[kept]
        kept = kept[values >= values.max() - _SAME]
    return int(kept[0])


def slope_information(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """``Σ d (x - x̄)²`` less what the error of x adds to it, ``tr((D - d dᵀ / Σ d) Ξ)``; one a design."""
    d_KG = weights_G * axis.told_C[designs_KG]
    noise_KGG = axis.noise_CC[designs_KG[:, :, None], designs_KG[:, None, :]]
    own = (d_KG * np.diagonal(noise_KGG, axis1=1, axis2=2)).sum(axis=1)
    common = np.einsum("kg,kgh,kh->k", d_KG, noise_KGG, d_KG) / d_KG.sum(axis=1)
    return raw_information(axis, designs_KG, weights_G) - (own - common)


def curvature(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """Information on the coefficient of x² beside the line; one a design.

    The determinant of the parabola's information over that of the line's, in central sums
    ``s4 - s2² / s0 - s3² / s2``.
    """
    s0, s2, s3, s4 = (_central_sum(axis, designs_KG, weights_G, power) for power in (0, 2, 3, 4))
    skew = np.divide(s3**2, s2, out=np.zeros_like(s2), where=s2 > _SAME)
    return np.maximum(s4 - s2**2 / s0 - skew, 0)


def raw_information(axis: MetricAxis, designs_KG: Ints, weights_G: Floats) -> Floats:
    """``Σ d (x - x̄)²`` as it is measured; one a design."""
    return _central_sum(axis, designs_KG, weights_G, 2)


def _central_sum(axis: MetricAxis, designs_KG: Ints, weights_G: Floats, power: int) -> Floats:
    x_KG, d_KG = axis.x_C[designs_KG], weights_G * axis.told_C[designs_KG]
    mean_K = (d_KG * x_KG).sum(axis=1) / d_KG.sum(axis=1)
    return (d_KG * (x_KG - mean_K[:, None]) ** power).sum(axis=1)


def _alone(
    information: Callable[[MetricAxis, Ints, Floats], Floats],
    axis: MetricAxis,
    weights_G: Floats,
    designs_KG: Ints,
) -> Floats:
    """The score of designs for one axis alone."""
    return information(axis, designs_KG, weights_G)[:, None]

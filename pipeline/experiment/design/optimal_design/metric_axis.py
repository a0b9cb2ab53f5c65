"""A hypothesis's metric over the candidates of a design, and the metrics that it is to be told apart from."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.experiment.design.optimal_design.exchange import Ints, coordinate_exchange
from pipeline.experiment.design.optimal_design.joint_information import (
    Floats,
    information_matrix,
    metric_correlations,
    variance_inflation,
)


@dataclass(frozen=True, slots=True)
class JointMetrics:
    """A metric and those that are held fixed, over C candidates; the metric is the first of K.

    Attributes:
        x_CK: The metrics, in any scale.
        noise_KKCC: Covariance of the errors of metric k under candidate c and metric l under
            candidate c'.
    """

    x_CK: Floats
    noise_KKCC: Floats

    def of(self, candidates: Ints) -> "JointMetrics":
        """The metrics over some of the candidates."""
        noise = self.noise_KKCC[:, :, candidates][:, :, :, candidates]
        return JointMetrics(self.x_CK[candidates], noise)

    def information(self, designs_NG: Ints, weights_NG: Floats) -> Floats:
        """The information matrix of N designs, see :func:`information_matrix`."""
        noise = None
        if self.noise_KKCC.any():
            noise = self.noise_KKCC[:, :, designs_NG[:, :, None], designs_NG[:, None, :]]
            noise = np.moveaxis(noise, 2, 0)
        return information_matrix(self.x_CK[designs_NG], weights_NG, noise)


@dataclass(frozen=True, slots=True)
class MetricAxis:
    """A hypothesis's metric over the candidates.

    Attributes:
        x_C: The metric, scaled to the range of the whole front; efficiencies do not depend on scale
            and origin.
        noise_CC: Covariance of the metric's errors, on the same scale.
        information_C: Relative information per user on the KPI under each candidate.
        joint: This metric, followed by those that are held fixed; None for the marginal slope.
    """

    x_C: Floats
    noise_CC: Floats
    information_C: Floats
    joint: JointMetrics | None = None

    @property
    def marginal(self) -> "MetricAxis":
        """The axis without the metrics that are held fixed."""
        return replace(self, joint=None)

    def of(self, candidates: Ints) -> "MetricAxis":
        """The axis over some of the candidates."""
        return MetricAxis(
            self.x_C[candidates],
            self.noise_CC[np.ix_(candidates, candidates)],
            self.information_C[candidates],
            self.joint and self.joint.of(candidates),
        )


def lowest_inflation(axis: MetricAxis, weights_G: Floats, *, seed: int) -> float:
    """The smallest variance inflation that any design has for a metric with others held fixed."""
    joint = axis.joint
    assert joint is not None

    def tolerance(designs_NG: Ints) -> Floats:
        found = joint.information(designs_NG, weights_G * axis.information_C[designs_NG])
        return 1 / variance_inflation(found)[:, :1]

    best_G = coordinate_exchange(tolerance, len(axis.x_C), len(weights_G), seed=seed)
    with np.errstate(divide="ignore"):
        return float(1 / tolerance(best_G[None])[0, 0])


def collinearity(
    axis: MetricAxis, design_G: Ints, weights_G: Floats
) -> tuple[float | None, tuple[float, ...]]:
    """The inflation of a metric's slope (None if infinite), and its correlations with the others."""
    if axis.joint is None:
        return None, ()
    found = axis.joint.information(design_G[None], weights_G * axis.information_C[design_G[None]])
    factor = float(variance_inflation(found)[0, 0])
    correlations = np.clip(metric_correlations(found)[0, 0, 1:], -1, 1)
    return factor if np.isfinite(factor) else None, tuple(correlations.tolist())

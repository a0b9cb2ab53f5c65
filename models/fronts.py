"""Quality of a Pareto front: the points of a model under a grid of preferences."""

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontQuality:
    """A front in loss space or in metric space.

    Attributes:
        hypervolume: Share of the box between the reference and the ideal point that the points
            dominate; in [0, 1], higher is better.
        spans: Largest over smallest value on each axis, minus 1; None where the smallest is not
            positive. A wider front gives an experiment more power.
        spacing: Standard deviation of the distance to the nearest other non-dominated point, axes
            scaled to [0, 1] (Schott 1995); 0 is evenly spaced. None with fewer than two such points.
        non_dominated_share: Share of points that no other dominates; in (0, 1], higher is better.
        cross_angle: Mean angle in degrees between π and the normalised losses, which the angle
            penalty lowers. None in metric space.
        monotonicity: For each axis, Spearman's ρ of its value and its weight; -1 is best for
            losses, 1 for metrics. None if one does not vary.
    """

    hypervolume: float
    spans: tuple[float | None, ...]
    spacing: float | None
    non_dominated_share: float
    cross_angle: float | None
    monotonicity: tuple[float | None, ...]


def hypervolume(points_GO: Points, *, reference: Points, ideal: Points) -> float:
    """Share of the box from ``ideal`` to ``reference`` that the points dominate.

    An axis is minimised if the reference is above the ideal, else maximised. Points beyond the
    reference dominate nothing. Computed by moocore (Fonseca, Paquete & López-Ibáñez 2006).
    """
    sign_O = np.sign(reference - ideal)
    volume = moocore.hypervolume(points_GO * sign_O, ref=reference * sign_O)
    return float(volume / np.prod(np.abs(reference - ideal)))


def non_dominated(points_GO: Points, *, reference: Points, ideal: Points) -> NDArray[np.bool_]:
    """Which points are non-dominated; axes as in :func:`hypervolume`.

    A point dominates another if it is at least as good on every axis and better on one; equal
    points are all kept.
    """
    return moocore.is_nondominated(points_GO * np.sign(reference - ideal), keep_weakly=True)


def loss_front(losses_GO: Points, preference_GO: Points, *, reference: Points) -> FrontQuality:
    """A front in loss space, between 0 and ``reference``; row g under preference g."""
    return _measure(
        losses_GO,
        preference_GO,
        reference=reference,
        ideal=np.zeros(len(reference)),
        cross_angle=_cross_angle(losses_GO / reference, preference_GO),
    )


def metric_front(metrics_GO: Points, preference_GO: Points) -> FrontQuality:
    """A front in a space of metrics in [0, 1], higher is better, measured from 0.

    Column o is the metric that weight o should increase.
    """
    zero = np.zeros(metrics_GO.shape[1])
    return _measure(metrics_GO, preference_GO, reference=zero, ideal=zero + 1, cross_angle=None)


def _measure(
    points_GO: Points,
    preference_GO: Points,
    *,
    reference: Points,
    ideal: Points,
    cross_angle: float | None,
) -> FrontQuality:
    best = non_dominated(points_GO, reference=reference, ideal=ideal)
    return FrontQuality(
        hypervolume=hypervolume(points_GO, reference=reference, ideal=ideal),
        spans=tuple(spread(values) for values in points_GO.T),
        spacing=_spacing(points_GO[best]),
        non_dominated_share=float(np.mean(best)),
        cross_angle=cross_angle,
        monotonicity=tuple(
            _spearman(values, weights)
            for values, weights in zip(points_GO.T, preference_GO.T, strict=False)
        ),
    )


def spread(values: Points) -> float | None:
    """Largest over smallest value, minus 1; None if the smallest is not positive."""
    return float(values.max() / values.min() - 1) if values.min() > 0 else None


def _spacing(points: Points) -> float | None:
    if len(points) < 2:
        return None
    width = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(width > 0, width, 1)
    distance = np.abs(scaled[:, None] - scaled[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float(distance.min(axis=1).std())


def _cross_angle(normalised_GO: Points, preference_GO: Points) -> float:
    lengths = np.linalg.norm(normalised_GO, axis=1) * np.linalg.norm(preference_GO, axis=1)
    cosines = (normalised_GO * preference_GO).sum(axis=1) / np.maximum(lengths, 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())


def _spearman(values: Points, weights: Points) -> float | None:
    if np.ptp(values) == 0 or np.ptp(weights) == 0:
        return None
    return float(spearmanr(values, weights).statistic)  # pyright: ignore[reportAttributeAccessIssue]

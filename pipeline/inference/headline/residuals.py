"""The residuals of the groups under slopes of all metrics, with the metrics corrected for their errors.

See :mod:`.slope_test`. The first of the K metrics is the tested one, M others are held fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.inference.headline.deviations import (
    SMALLEST,
    Basis,
    between_groups_variance,
    deviations,
    times,
)
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.results.family import Floats

_ROUNDS = 60
_SETTLED = 1e-9
"""Change of the other slopes, relative to their size, that ends their search."""

_STRETCH = 0.5, 100.0
"""Of a step by the secant method."""

_STEEPEST, _LARGEST = 1e3, 1e12
"""Bounds of the other slopes: in units of what would explain the KPI, and as such."""

_ROUND_OFF, _NO_VARIANCE = 1e-14, 1e-30
"""Least variance of users, relative to that of the groups and as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """The residuals under the slopes, with the corrected metrics, in the basis of their errors.

    Attributes:
        slopes_K: Of the metrics, the tested one first; without errors of that one alone.
        errors_KKGG: Covariance of the metrics' errors; None without.
        basis: Of the residuals' covariance but for τ².
        tau2: Variance between groups.
        corrected_KG: The corrected metrics.
        one_G: The constant.
        off_G: The residuals, centred.
    """

    slopes_K: Sequence[Floats]
    errors_KKGG: Floats | None
    basis: Basis
    tau2: Floats
    corrected_KG: Sequence[Floats]
    one_G: Floats
    off_G: Floats

    @property
    def w_G(self) -> Floats:
        """Inverse variances."""
        return 1 / (self.basis.variance_G + self.tau2[..., None])

    def slopes_on_others(self, values_G: Floats) -> list[Floats]:
        """The slopes of values on all corrected other metrics at once."""
        if len(self.corrected_KG) == 1:
            return []
        w_G = self.w_G
        centred = [deviations(w_G, one, [self.one_G]) for one in self.corrected_KG[1:]]
        x_MG = np.stack(np.broadcast_arrays(*centred), axis=-2)
        weighted_MG = w_G[..., None, :] * x_MG
        spread_MM = weighted_MG @ np.swapaxes(x_MG, -1, -2)
        least = _ROUND_OFF * np.trace(spread_MM, axis1=-2, axis2=-1) + SMALLEST
        spread_MM = spread_MM + least[..., None, None] * np.eye(len(centred))
        found_M = np.linalg.solve(spread_MM, weighted_MG @ values_G[..., None])[..., 0]
        return list(np.moveaxis(found_M, -1, 0))


def residuals_without_errors(
    b: Floats, x_KG: Sequence[Floats], response: WorkingResponse
) -> Residuals:
    """The residuals where the metrics have no errors: the others are regressors, without a slope."""
    r_G, one_G = response.values_G - b[..., None] * x_KG[0], np.ones_like(x_KG[0])
    basis = Basis(_users_variance(response))
    tau2 = between_groups_variance(r_G, basis.variance_G, [one_G, *x_KG[1:], x_KG[0]])
    found = Residuals(
        slopes_K=(b,),
        errors_KKGG=None,
        basis=basis,
        tau2=tau2,
        corrected_KG=x_KG,
        one_G=one_G,
        off_G=r_G,
    )
    return replace(found, off_G=deviations(found.w_G, r_G, [one_G]))


def _under(
    slopes_K: Sequence[Floats],
    x_KG: Sequence[Floats],
    response: WorkingResponse,
    errors_KKGG: Floats,
) -> Residuals:
    """The residuals under slopes of all metrics, which have errors."""
    pairs = [(k, m) for k in range(len(x_KG)) for m in range(len(x_KG))]
    total_GG = sum(
        (slopes_K[k] * slopes_K[m])[..., None, None] * errors_KKGG[k, m] for k, m in pairs
    )
    basis = Basis.of(_users_variance(response), np.asarray(total_GG))
    one_G, r_G = basis.rotate(np.ones_like(x_KG[0])), basis.rotate(response.values_G)
    rotated_KG = [basis.rotate(x_G) for x_G in x_KG]
    for slope, x_G in zip(slopes_K, rotated_KG, strict=True):
        r_G = r_G - slope[..., None] * x_G
    tau2 = between_groups_variance(r_G, basis.variance_G, [one_G], known=len(x_KG) - 1)
    w_G = 1 / (basis.variance_G + tau2[..., None])
    off_G = deviations(w_G, r_G, [one_G])
    pulled_G = basis.restore(w_G * off_G)
    for k, m in pairs:
        error_G = basis.rotate(times(errors_KKGG[k, m], pulled_G))
        rotated_KG[k] = rotated_KG[k] + slopes_K[m][..., None] * error_G
    return Residuals(
        slopes_K=slopes_K,
        errors_KKGG=errors_KKGG,
        basis=basis,
        tau2=tau2,
        corrected_KG=rotated_KG,
        one_G=one_G,
        off_G=off_G,
    )


def settled_residuals(
    b: Floats, x_KG: Sequence[Floats], response: WorkingResponse, errors_KKGG: Floats
) -> Residuals:
    """The residuals with those slopes of the other metrics for which they do not depend on them."""
    first = residuals_without_errors(b, x_KG, response)
    slopes_M = first.slopes_on_others(first.off_G)
    found = _under([b, *slopes_M], x_KG, response, errors_KKGG)
    if not slopes_M:
        return found
    slopes_M = np.stack(slopes_M)
    size = response.values_G.std(axis=-1) + np.abs(b) * x_KG[0].std(axis=-1)
    steepest_M = np.stack([_STEEPEST * size / (one.std(axis=-1) + SMALLEST) for one in x_KG[1:]])
    steepest_M = np.minimum(steepest_M, _LARGEST)
    move_M, step_M = np.zeros_like(slopes_M), np.ones_like(slopes_M)
    settled = np.zeros(np.shape(found.tau2), dtype=np.bool_)
    for _ in range(_ROUNDS):
        last_M, step_M = step_M, np.stack(found.slopes_on_others(found.off_G))
        move_M = step_M * _secant(move_M, last_M - step_M)
        slopes_M = np.clip(np.nan_to_num(slopes_M + move_M), -steepest_M, steepest_M)
        found = _under([b, *slopes_M], x_KG, response, errors_KKGG)
        settled = np.abs(step_M).sum(axis=0) <= _SETTLED * (1 + np.abs(slopes_M).sum(axis=0))
        if settled.all():
            break
    return replace(found, off_G=np.where(settled[..., None], found.off_G, np.nan))


def _secant(move_M: Floats, change_M: Floats) -> Floats:
    """By how much to stretch a step, from what the last move changed; without one, 1."""
    known = (move_M != 0) & (change_M != 0)
    return np.where(known, np.clip(move_M / np.where(known, change_M, 1.0), *_STRETCH), 1.0)


def _users_variance(response: WorkingResponse) -> Floats:
    floor = _ROUND_OFF * response.values_G.var(axis=-1, keepdims=True) + _NO_VARIANCE
    return np.maximum(response.variance_G, floor)

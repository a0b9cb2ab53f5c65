"""Deviations of the groups from a weighted regression, and the variance between groups in them.

The groups' errors are made independent by a rotation of the groups; all regressors, the constant
included, are rotated with them. The last axis is the groups G, leading axes are experiments or
candidate slopes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.results.family import Floats

SMALLEST = 1e-300
"""Stands for a sum of squares that is 0."""

_STEPS = 60
_CONVERGED = 1e-10


@dataclass(frozen=True, slots=True)
class Basis:
    """The orthonormal basis in which the covariance of the groups' errors is diagonal.

    Attributes:
        variance_G: On the diagonal.
        vectors_GG: The basis; None for the groups' own.
    """

    variance_G: Floats
    vectors_GG: Floats | None = None

    @classmethod
    def of(cls, variance_G: Floats, covariance_GG: Floats) -> "Basis":
        """Of ``diag(v) + covariance``."""
        known_G = np.where(np.isfinite(variance_G), variance_G, 1.0)
        total_GG = known_G[..., None] * np.eye(known_G.shape[-1]) + covariance_GG
        values_G, vectors_GG = np.linalg.eigh(total_GG)
        return cls(np.maximum(values_G, SMALLEST), vectors_GG)

    def rotate(self, values_G: Floats) -> Floats:
        """From the groups to this basis."""
        if self.vectors_GG is None:
            return values_G
        return times(np.swapaxes(self.vectors_GG, -1, -2), values_G)

    def restore(self, values_G: Floats) -> Floats:
        """From this basis to the groups."""
        return values_G if self.vectors_GG is None else times(self.vectors_GG, values_G)


def times(matrix_GG: Floats, values_G: Floats) -> Floats:
    """The product of matrices and vectors."""
    return (matrix_GG @ values_G[..., None])[..., 0]


def deviations(w_G: Floats, values_G: Floats, orthogonal: Sequence[Floats]) -> Floats:
    """The values less their weighted projection on regressors from :func:`orthogonalise`."""
    for column_G in orthogonal:
        spread = np.maximum((w_G * column_G**2).sum(axis=-1), SMALLEST)
        slope = (w_G * column_G * values_G).sum(axis=-1) / spread
        values_G = values_G - slope[..., None] * column_G
    return values_G


def orthogonalise(w_G: Floats, columns: Sequence[Floats]) -> list[Floats]:
    """The regressors, each less its weighted projection on those before it."""
    found: list[Floats] = []
    for column_G in columns:
        found.append(deviations(w_G, column_G, found))
    return found


def between_groups_variance(
    r_G: Floats, variance_G: Floats, columns: Sequence[Floats], *, known: int = 0
) -> Floats:
    """τ² at which the weighted deviations equal their degrees of freedom (Paule & Mandel 1982).

    0 where they are smaller already. In ``1/deviations`` the equation is concave, so that Newton's
    method from 0 approaches the root from below.

    Args:
        r_G: Uncorrelated residuals.
        variance_G: Their variances but for τ².
        columns: The regressors that the deviations are from, the constant first, in the same basis.
        known: Number of slopes that were estimated to compute the residuals.
    """
    df = r_G.shape[-1] - len(columns) - known
    tau2 = np.zeros(np.broadcast_shapes(r_G.shape, variance_G.shape)[:-1])
    if df < 1:
        return tau2
    for _ in range(_STEPS):
        w = 1 / (variance_G + tau2[..., None])
        off = deviations(w, r_G, orthogonalise(w, columns))
        q = (w * off**2).sum(axis=-1)
        slope = np.maximum((w * off * w * off).sum(axis=-1), SMALLEST)
        step = np.where(q > df, (q / df - 1) * q / slope, 0.0)
        tau2 = tau2 + step
        if not (step > _CONVERGED * tau2).any():
            break
    return tau2

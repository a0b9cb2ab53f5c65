"""Linear interpolation between evaluated preferences on the simplex."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

_ON_A_POINT = 1e-6
"""Weights this close to 1 count as 1, because preferences are rounded when stored."""


@dataclass(frozen=True, slots=True)
class SimplexInterpolator:
    """Interpolates between evaluated preferences: on a line, or for more than two objectives simplices.

    Attributes:
        preference_GO: The evaluated preferences, one per row, each a point of the simplex; they
            include its vertices.
    """

    preference_GO: NDArray[np.float64]
    _simplices: Delaunay | None

    @classmethod
    def of(cls, preference_GO: NDArray[np.float64]) -> Self:
        """Triangulate the evaluated preferences."""
        # The last weight follows from the others.
        free_GX = preference_GO[:, :-1]
        return cls(preference_GO, Delaunay(free_GX) if free_GX.shape[1] > 1 else None)

    def weights_G(self, preference_O: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolation weights of the evaluated preferences at another one; ≥ 0, summing to 1.

        Only neighbours have a weight above 0: ``Σ weight · preference`` is the preference, and
        ``Σ weight · metric`` the interpolated metric. At an evaluated preference, its weight is 1.
        """
        free_X = preference_O[:-1]
        vertices, shares = self._on_line(free_X[0]) if len(free_X) == 1 else self._within(free_X)
        shares = np.maximum(shares, 0)
        shares[shares > shares.sum() * (1 - _ON_A_POINT)] = 1
        if (shares == 1).any():
            shares = (shares == 1).astype(np.float64)
        found_G = np.zeros(len(self.preference_GO))
        found_G[vertices] = shares / shares.sum()
        return found_G

    def _on_line(self, weight: float) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        first_G = self.preference_GO[:, 0]
        order = np.argsort(first_G)
        right = int(np.clip(np.searchsorted(first_G[order], weight), 1, len(order) - 1))
        left, right = order[right - 1], order[right]
        share = (weight - first_G[left]) / (first_G[right] - first_G[left])
        return np.array([left, right]), np.array([1 - share, share]).clip(0, 1)

    def _within(
        self, free_X: NDArray[np.float64]
    ) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        simplices = self._simplices
        assert simplices is not None
        # Grid points are coplanar and cospherical, so that some simplices are degenerate and scipy's
        # own search ends in them. Take the simplex whose barycentric coordinates fit best.
        size, transform = len(free_X), simplices.transform
        first_SX = np.einsum("sij,sj->si", transform[:, :size], free_X - transform[:, size])
        shares_SC = np.column_stack([first_SX, 1 - first_SX.sum(axis=1)])
        smallest_S = shares_SC.min(axis=1)
        number = int(np.nanargmax(smallest_S))
        assert smallest_S[number] >= -_ON_A_POINT, f"{free_X} is outside the simplex"
        return simplices.simplices[number], shares_SC[number]

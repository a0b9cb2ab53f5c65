"""Standard errors of offline metrics; all preferences are evaluated on the same sessions.

The session is the unit of resampling. A metric is a ratio of sums over sessions, so its standard
error follows from each session's two sums (delta method), and its distribution from reweighting the
sessions (Poisson bootstrap). Other statistics, such as catalogue coverage, are computed again
without each of several groups of sessions (delete-a-group jackknife; Kott 2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.progress import track

_SESSIONS_PER_BLOCK = 8192

_same_order = threadpool_limits.wrap(limits=1, user_api="blas")
"""One thread of the BLAS library: with more, the order of a sum depends on the number of cores."""


@dataclass(frozen=True, slots=True)
class SessionSums:
    """A metric's numerator and denominator by session and preference; S × G."""

    numerator_SG: NDArray[np.float64]
    denominator_SG: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        numerators: Sequence[NDArray[np.float64]],
        denominators: Sequence[NDArray[np.float64]],
        session: NDArray,
    ) -> Self:
        """Sum terms (one array per preference, one entry per target) by session, in its order."""
        _, row = np.unique(session, return_inverse=True)

        def sums(terms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
            added = [np.bincount(row, weights=one) for one in terms]
            return np.stack(added, axis=1).astype(np.float64)

        return cls(sums(numerators), sums(denominators))

    def ratio_G(self) -> NDArray[np.float64]:
        """Σ numerator / Σ denominator of each preference; nan where the denominator is 0."""
        return _ratio(self.numerator_SG.sum(axis=0), self.denominator_SG.sum(axis=0))

    @_same_order
    def delta_covariance_GG(self) -> NDArray[np.float64]:
        """Covariance of the ratios by the delta method; its diagonal is the squared errors.

        With y_sg and m_sg the sums of session s and R_g the ratio, the entry of g and h is
        ``S/(S-1) · Σ_s (y_sg - R_g m_sg)(y_sh - R_h m_sh) / (Σ m_g · Σ m_h)``; nan with fewer than
        two sessions, or where a ratio is undefined.
        """
        n = len(self.numerator_SG)
        residual_SG = self.numerator_SG - self.ratio_G() * self.denominator_SG
        total_G = self.denominator_SG.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            product_GG = residual_SG.T @ residual_SG / np.outer(total_G, total_G)
        return product_GG * n / (n - 1) if n > 1 else np.full_like(product_GG, np.nan)


@_same_order
def bootstrap_ratios(sums: list[SessionSums], replicates: int, *, seed: int) -> NDArray[np.float64]:
    """Ratios in bootstrap replicates of the test set; replicate × metric × preference.

    Each session counts Poisson(1) times, the same number for every metric and preference, so that
    their correlation is preserved (Chamandy et al. 2012). The weights of a session depend on its
    row and the seed alone. nan where a replicate's denominator is 0.
    """
    numerator_SK = np.concatenate([one.numerator_SG for one in sums], axis=1)
    denominator_SK = np.concatenate([one.denominator_SG for one in sums], axis=1)
    shape = (replicates, numerator_SK.shape[1])
    numerator_RK, denominator_RK = np.zeros(shape), np.zeros(shape)
    starts = range(0, len(numerator_SK), _SESSIONS_PER_BLOCK)
    blocks = (slice(start, start + _SESSIONS_PER_BLOCK) for start in starts)
    for rows in track(
        blocks,
        len(starts),
        "bootstrap of sessions",
        unit="sessions",
        size=lambda rows: len(numerator_SK[rows]),
    ):
        rng = np.random.default_rng([seed, rows.start])
        size = (len(numerator_SK[rows]), replicates)
        weight_RS = rng.poisson(1.0, size).T.astype(np.float64)
        numerator_RK += weight_RS @ numerator_SK[rows]
        denominator_RK += weight_RS @ denominator_SK[rows]
    return _ratio(numerator_RK, denominator_RK).reshape(replicates, len(sums), -1)


@_same_order
def covariance_of(replicates_RG: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of one metric over its replicates; nan for a preference it is undefined for."""
    centred_RG = replicates_RG - replicates_RG.mean(axis=0)
    return centred_RG.T @ centred_RG / (len(replicates_RG) - 1)


@_same_order
def jackknife_covariance(without_KG: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of a statistic from its values without each of K groups of sessions.

    ``(K-1)/K · Σ_k (T_-k - mean)(T_-k - mean)'``; nan without groups.
    """
    groups, n_preferences = without_KG.shape
    if not groups:
        return np.full((n_preferences, n_preferences), np.nan)
    # from the first value, so that what never changes has an error of exactly 0
    centred_KG = without_KG - without_KG[0]
    centred_KG -= centred_KG.mean(axis=0)
    return centred_KG.T @ centred_KG * (groups - 1) / groups


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = denominator != 0
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=defined)

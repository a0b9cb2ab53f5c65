"""Fedorov's exchange algorithm (1972): the best swap of a chosen for another candidate, until none is better."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RANDOM_STARTS = 10
TOLERANCE = 1e-9
"""Criteria within this tolerance are equal, so that the exchange terminates."""


def coordinate_exchange(score: Callable[[Ints], Floats], n: int, chosen: int, *, seed: int) -> Ints:
    """The set of ``chosen`` out of ``n`` candidates with the largest score found by exchange.

    Args:
        score: Criteria of K designs, K × criteria; compared lexicographically.
        n: Number of candidates.
        chosen: Number of candidates in a design.
        seed: Seed of the random starts, which complement deterministic ones.
    """
    rng = np.random.default_rng(seed)
    even = np.round(np.linspace(0, n - 1, chosen)).astype(np.int64)
    ends = np.array([*range((chosen + 1) // 2), *range(n - chosen // 2, n)])
    starts = [even, ends, *(rng.permutation(n)[:chosen] for _ in range(_RANDOM_STARTS))]
    found = [_climb(score, n, np.sort(start)) for start in starts]
    return found[_best(score(np.stack(found)))]


def _climb(score: Callable[[Ints], Floats], n: int, start_G: Ints) -> Ints:
    """Apply the best swap until none improves the score."""
    design_G = start_G
    while n > len(design_G):
        others = np.setdiff1d(np.arange(n), design_G)
        swaps_PG = np.tile(design_G, (len(design_G) * len(others), 1))
        replaced = np.repeat(np.arange(len(design_G)), len(others))
        swaps_PG[np.arange(len(replaced)), replaced] = np.tile(others, len(design_G))
        designs_KG = np.concatenate([design_G[None], np.sort(swaps_PG, axis=1)])
        best = _best(score(designs_KG))
        if best == 0:
            break
        design_G = designs_KG[best]
    return design_G


def _best(score_KC: Floats) -> int:
    """The first of the lexicographically best rows, within the tolerance."""
    kept = np.arange(len(score_KC))
    for column in score_KC.T:
        values = column[kept]
        kept = kept[values >= values.max() - TOLERANCE]
    return int(kept[0])

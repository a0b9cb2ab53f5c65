"""Distances between two distributions, and between two lists."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from pipeline.results.family import Floats

Counts = NDArray[np.int64] | Floats

_SMALLEST_SHARE = 1e-6
"""Of an empty bin, whose logarithm would be infinite."""

_PERSISTENCE = 0.9


def population_stability(reference: Counts, current: Counts) -> float:
    """PSI = Σ (q - p) log(q / p) of the shares p and q of the bins; 0 if they are equal, unbounded.

    The usual thresholds of 0.1 and 0.2 mean nothing without the numbers of values: see
    :func:`expected_stability`.
    """
    p = np.maximum(reference / reference.sum(), _SMALLEST_SHARE)
    q = np.maximum(current / current.sum(), _SMALLEST_SHARE)
    return float(((q - p) * np.log(q / p)).sum())


def expected_stability(bins: int, reference: float, current: float) -> float:
    """The PSI to expect without any drift: (B - 1)(1/n + 1/m) for n and m independent values."""
    return (bins - 1) * (1 / reference + 1 / current)


def stability_p_value(reference: Counts, current: Counts) -> float:
    """Probability of such a PSI without drift: PSI / (1/n + 1/m) is χ² with B - 1 degrees of freedom."""
    scale = 1 / float(reference.sum()) + 1 / float(current.sum())
    index = population_stability(reference, current)
    return float(chdtrc(len(reference) - 1, index / scale))


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The Jensen–Shannon divergence of the shares of the bins in bits, 0 (equal) to 1 (disjoint)."""
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    return float((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def _relative_entropy(p: Floats, q: Floats) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())


def rank_biased_overlap(one: Sequence[object], other: Sequence[object]) -> float:
    """The extrapolated rank-biased overlap of two lists, 0 (disjoint) to 1 (equal).

    RBO_ext = X_k / k · p^k + (1 - p) / p · Σ_d X_d / d · p^d with X_d items common to the first d
    (Webber, Moffat & Zobel 2010, equation 32). Of lists of unequal lengths, the longer one is cut; two
    empty ones are equal.
    """
    depth = min(len(one), len(other))
    if not depth:
        return float(len(one) == len(other))
    seen, of_other, common, total = set[object](), set[object](), 0, 0.0
    for d, (a, b) in enumerate(zip(one[:depth], other[:depth], strict=True), start=1):
        seen.add(a)
        of_other.add(b)
        common += (a in of_other) + (b in seen) - (a == b)
        total += common / d * _PERSISTENCE**d
    return common / depth * _PERSISTENCE**depth + (1 - _PERSISTENCE) / _PERSISTENCE * total

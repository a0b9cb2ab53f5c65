"""p-values adjusted for multiple tests."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pipeline.results.family import Floats


def adjust_p_values(
    p_values: Sequence[float | None], method: Literal["holm", "fdr_bh"]
) -> list[float | None]:
    """Adjust the p-values of a family of tests; None stays None and does not count.

    Args:
        p_values: One per test.
        method: ``holm`` controls the family-wise error rate (Holm 1979), for pre-registered
            hypotheses; ``fdr_bh`` the false discovery rate (Benjamini & Hochberg 1995), for
            exploratory ones.
    """
    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    p_values_K = np.array(known)
    corrected = _benjamini_hochberg if method == "fdr_bh" else _holm
    found = iter(corrected(p_values_K).tolist())
    return [None if p is None else next(found) for p in p_values]


def _holm(p_values_K: Floats) -> Floats:
    """The k-th smallest of K p-values times K + 1 - k, made increasing, at most 1."""
    order_K = np.argsort(p_values_K, kind="stable")
    scaled_K = p_values_K[order_K] * np.arange(len(p_values_K), 0, -1)
    corrected_K = np.empty_like(scaled_K)
    corrected_K[order_K] = np.minimum(np.maximum.accumulate(scaled_K), 1)
    return corrected_K


def _benjamini_hochberg(p_values_K: Floats) -> Floats:
    """The k-th smallest of K p-values times K / k, made increasing from the largest, at most 1."""
    order_K = np.argsort(p_values_K, kind="stable")
    ranks_K = np.arange(1, len(p_values_K) + 1)
    scaled_K = p_values_K[order_K] * (len(p_values_K) / ranks_K)
    corrected_K = np.empty_like(scaled_K)
    corrected_K[order_K] = np.minimum(np.minimum.accumulate(scaled_K[::-1])[::-1], 1)
    return corrected_K

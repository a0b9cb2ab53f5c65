"""p-values adjusted for multiple tests."""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests


def adjust_p_values(p_values: Sequence[float | None], method: str) -> list[float | None]:
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
    corrected = np.asarray(multipletests(known, method=method)[1], dtype=np.float64)
    found = iter(corrected.tolist())
    return [None if p is None else next(found) for p in p_values]

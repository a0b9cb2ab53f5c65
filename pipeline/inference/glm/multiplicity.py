"""P-values of several hypotheses at once."""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests


def adjust_p_values(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """P-values for a family of tests; None stays None and does not count.

    Args:
        p_values: One a test.
        method: ``holm`` bounds the chance of any false finding (Holm 1979), for what was declared
            beforehand; ``fdr_bh`` the expected share of false ones among the findings (Benjamini &
            Hochberg 1995), for what was looked through.
    """
    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    corrected = np.asarray(multipletests(known, method=method)[1], dtype=np.float64)
    found = iter(corrected.tolist())
    return [None if p is None else next(found) for p in p_values]

"""Rows that stand together: where each run of equal values begins, and sums over each run."""

import numpy as np
import polars as pl
from numpy.typing import NDArray


def run_starts(values: pl.Series) -> pl.Series:
    """Whether each value differs from the one before it; the first one does."""
    return values.ne_missing(values.shift())


def run_sums(values: NDArray[np.generic], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of each run of ``values``, one run of each of ``lengths`` after another; 0 if empty."""
    total = np.concatenate([[0], np.cumsum(values)])
    behind = np.cumsum(lengths)
    return total[behind] - total[behind - lengths]

"""Runs of equal consecutive values: their starts, and sums over each."""

import numpy as np
import polars as pl
from numpy.typing import NDArray


def run_starts(values: pl.Series) -> pl.Series:
    """Whether each value differs from its predecessor; true for the first."""
    return values.ne_missing(values.shift())


def run_sums(values: NDArray[np.generic], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of ``values`` over consecutive runs of the given lengths; 0 for an empty run."""
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(lengths)
    return total[ends] - total[ends - lengths]

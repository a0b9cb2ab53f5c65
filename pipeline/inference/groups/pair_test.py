"""The test that two groups have the same KPI, for heavy tails, few users and unequal groups."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.results.family import Family, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """Group a against group b.

    Attributes:
        z: Difference of the rates over its standard error; positive if a is higher.
        df: Degrees of freedom of the t distribution, 1 or more.
        relative_variance: Of the difference of the rates, over the square of the common rate.
        log_ratio: Of the rates; None if one of them is not positive.
    """

    z: float
    df: float
    relative_variance: float
    log_ratio: float | None

    def quantile(self, alpha: float) -> float:
        """Absolute value that t exceeds with probability ``alpha``."""
        return float(-stdtrit(self.df, alpha / 2))

    @property
    def p_value(self) -> float:
        """Two-sided, of the same t."""
        return float(2 * stdtr(self.df, -abs(self.z)))

    def log_interval(self, critical: float) -> tuple[float, float] | None:
        """Interval of ``log_ratio`` that excludes 0 if, and only if, ``|z| > critical``.

        The standard error is that for which the log ratio has the same z (test-based interval,
        Miettinen 1976).
        """
        if self.log_ratio is None:
            return None
        error = self.log_ratio / self.z if self.z else self.relative_variance**0.5
        return self.log_ratio - critical * error, self.log_ratio + critical * error


def pair_test(sums: GroupSums, a: int, b: int) -> PairTest:
    """Test group ``a`` against group ``b``, both with trials.

    The variance uses the common rate ``p = (Y_a + Y_b) / (n_a + n_b)`` of the null hypothesis in
    ``Q = Σ_u (y_u - m_u p)²``: a user who dominates a group is part of its variance, so that |z| is
    at most the square root of the number of users. It is the largest of ``Σ Q / n²`` over the two
    groups; ``Σ Q / Σ S · Σ S / n²`` with S = Σ m², for groups of unequal size with heavy tails; and,
    for yes/no KPIs, that of independent trials. The degrees of freedom are Kish's effective users,
    ``Σ n² / S - 2``.
    """
    pair = sums.of(np.isin(np.arange(len(sums.trials)), [a, b]))
    n, squares_mm = pair.trials, pair.sum_mm
    rate = pair.rate
    squares = cluster_sum_squares(np.full(2, rate), pair)
    spread = squares_mm / n**2
    variance = max(
        float((squares / n**2).sum()),
        float(squares.sum() / squares_mm.sum() * spread.sum()),
        rate * (1 - rate) * float((1 / n).sum()) if sums.family is Family.BINOMIAL else 0.0,
    )
    first, second = (float(sums.successes[one] / sums.trials[one]) for one in (a, b))
    return PairTest(
        z=(first - second) / variance**0.5 if variance > 0 else 0.0,
        df=max(float((1 / spread).sum()) - 2, 1.0),
        relative_variance=variance / rate**2 if rate else 0.0,
        log_ratio=float(np.log(first / second)) if min(first, second) > 0 else None,
    )


def kish_events(sums: GroupSums) -> Floats:
    """``(Σ y)² / Σ y²`` of each group: at most the number of its users with a success."""
    known = sums.sum_yy > 0
    return np.divide(sums.successes**2, sums.sum_yy, out=np.zeros_like(sums.sum_yy), where=known)

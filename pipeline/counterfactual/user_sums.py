"""Estimates as functions of sums per user: their errors, bootstrap, ratios and lifts.

Every estimator is (Σ additive) / n + Σ_j (Σ numerator_j) / (Σ control_j), with sums over rows. A user's
sums are all that its error needs, because users are drawn independently and rows of a user are not.

Shape suffixes: U users, J ratios, B bootstrap replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.stats import norm

from pipeline.counterfactual.weighted_log import Ints
from pipeline.results.family import Floats
from pipeline.results.slopes import Interval

_REPLICATES_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSums:
    """An estimate as sums per user.

    Attributes:
        rows_U: Number of rows.
        additive_U: Sum of what is averaged over rows.
        numerator_UJ: Sums of the numerators of ratios.
        control_UJ: Sums of their denominators.
    """

    rows_U: Floats
    additive_U: Floats
    numerator_UJ: Floats
    control_UJ: Floats

    @classmethod
    def of(
        cls,
        user_N: Ints,
        *,
        additive_N: Floats,
        numerator_NJ: Floats | None = None,
        control_NJ: Floats | None = None,
    ) -> Self:
        """Sum rows up by user."""

        def summed(values_N: Floats | None = None) -> Floats:
            return np.bincount(user_N, values_N).astype(np.float64)

        rows_U = summed()

        def columns(values_NJ: Floats | None) -> Floats:
            if values_NJ is None:
                return np.empty((len(rows_U), 0))
            return np.stack([summed(column_N) for column_N in values_NJ.T], axis=1)

        return cls(
            rows_U=rows_U,
            additive_U=summed(additive_N),
            numerator_UJ=columns(numerator_NJ),
            control_UJ=columns(control_NJ),
        )

    @property
    def value(self) -> float:
        """The estimate."""
        return float(self.resampled(np.ones((1, len(self.rows_U))))[0])

    @property
    def influence_U(self) -> Floats:
        """Each user's influence: the estimate less its expectation is their sum, to first order."""
        n = self.rows_U.sum()
        mean = self.additive_U.sum() / n
        total_J = self.control_UJ.sum(axis=0)
        ratio_J = self.numerator_UJ.sum(axis=0) / total_J
        ratios_U = ((self.numerator_UJ - ratio_J * self.control_UJ) / total_J).sum(axis=1)
        return (self.additive_U - mean * self.rows_U) / n + ratios_U

    def resampled(self, copies_BU: Floats) -> Floats:
        """The estimate with every user as often as in each row of ``copies_BU``."""
        additive_B = (copies_BU @ self.additive_U) / (copies_BU @ self.rows_U)
        ratios_BJ = (copies_BU @ self.numerator_UJ) / (copies_BU @ self.control_UJ)
        return additive_B + ratios_BJ.sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and each user's influence on it, so that functions of several keep their covariance.

    ``users`` is the number of users with rows.
    """

    value: float
    influence_U: Floats
    users: int

    @classmethod
    def of(cls, sums: UserSums) -> Self:
        """The estimate of sums per user."""
        users = int((sums.rows_U > 0).sum())
        return cls(value=sums.value, influence_U=sums.influence_U, users=users)

    @property
    def standard_error(self) -> float:
        """Clustered by user, with the correction G / (G - 1) for G users."""
        correction = self.users / max(self.users - 1, 1)
        return float(np.sqrt(correction * (self.influence_U**2).sum()))

    def interval(self, level: float) -> Interval:
        """Normal confidence interval."""
        half = float(norm.isf((1 - level) / 2)) * self.standard_error
        return self.value - half, self.value + half

    def over(self, other: Self) -> "Estimate":
        """The ratio to another estimate of users of the same log, by the delta method.

        Users are numbered as in the log, so an estimate of some of them may end before the other.
        """
        ratio = self.value / other.value
        size = max(len(self.influence_U), len(other.influence_U))
        ours_U, others_U = (_extended(one.influence_U, size) for one in (self, other))
        return Estimate(
            value=ratio,
            influence_U=(ours_U - ratio * others_U) / other.value,
            users=int(((ours_U != 0) | (others_U != 0)).sum()),
        )

    def lift_over(self, other: Self) -> "Estimate":
        """The relative change from another estimate, as :meth:`over`."""
        ratio = self.over(other)
        return replace(ratio, value=ratio.value - 1)


def bootstrap(
    parts: Sequence[UserSums], rng: np.random.Generator, *, replicates: int = 500
) -> list[Floats]:
    """Replicates of the value of every part, with the same users drawn Poisson(1) times for all.

    Use them for ratios of noisy quantities, such as the Recovery of a lift; nothing but the values is computed
    again. Users are numbered as in the log; a part may end before its last users.
    """
    users = max(len(part.rows_U) for part in parts)
    found: list[list[Floats]] = [[] for _ in parts]
    for first in range(0, replicates, _REPLICATES_AT_ONCE):
        n = min(_REPLICATES_AT_ONCE, replicates - first)
        copies_BU = rng.poisson(1.0, (n, users)).astype(np.float64)
        for part, values in zip(parts, found, strict=True):
            values.append(part.resampled(copies_BU[:, : len(part.rows_U)]))
    return [np.concatenate(values) for values in found]


def percentile_interval(replicates_B: Floats, level: float) -> Interval:
    """The interval between the quantiles of replicates."""
    ends = np.quantile(replicates_B, [(1 - level) / 2, (1 + level) / 2])
    return float(ends[0]), float(ends[1])


def _extended(values_U: Floats, size: int) -> Floats:
    """With 0 for the last users, who have no rows."""
    return np.pad(values_U, (0, size - len(values_U)))

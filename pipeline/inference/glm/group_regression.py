"""Regression of a KPI on group sums.

Bernoulli trials with g distinct x collapse exactly into g binomial cells: same estimate, same
covariance (the likelihoods differ by a constant). Row-level data is not needed.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from pipeline.inference.glm.maximum_likelihood import fit_glm
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import Covariance, UndefinedReason
from pipeline.results.slopes import LackOfFit, SlopeTest

_SMALLEST_RANGE = 1e-9
"""A metric that varies less than this, relative to its smallest value, is constant."""

_NO_VARIATION = 1e-6
"""Cluster-robust errors below this share of the model's are round-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSums:
    """Sums over the users of each group, one entry per group.

    Attributes:
        family: How the KPI depends on x.
        trials: Σ m, e.g. impressions.
        successes: Σ y, e.g. clicks, or an amount such as revenue.
        users: Users with at least one trial.
        sum_mm: Σ m².
        sum_my: Σ m·y.
        sum_yy: Σ y².
    """

    family: Family = Family.BINOMIAL
    trials: Floats
    successes: Floats
    users: Floats
    sum_mm: Floats
    sum_my: Floats
    sum_yy: Floats

    @classmethod
    def over_users(cls, family: Family, trials: Floats, successes: Floats) -> Self:
        """Sum m trials and y successes of each user, or batch of users, over the last axis."""
        m, y = trials, successes
        return cls(
            family=family,
            trials=m.sum(axis=-1),
            successes=y.sum(axis=-1),
            users=(m > 0).sum(axis=-1).astype(np.float64),
            sum_mm=(m * m).sum(axis=-1),
            sum_my=(m * y).sum(axis=-1),
            sum_yy=(y * y).sum(axis=-1),
        )

    @property
    def rate(self) -> float:
        """Successes over trials in all groups; nan without trials."""
        return float(self.successes.sum() / self.trials.sum()) if self.trials.sum() else np.nan

    def of(self, groups: NDArray[np.bool_] | NDArray[np.intp]) -> "GroupSums":
        """The sums of some of the groups, by a mask or by indices of any shape."""
        sums = (field.name for field in fields(self) if field.name != "family")
        return replace(self, **{name: getattr(self, name)[groups] for name in sums})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """``link(rate) = intercept + slope · x``, fitted to group sums.

    Attributes:
        intercept: Log odds (log rate, for amounts) at x = 0.
        slope: Change of the log odds (log rate) per unit of x.
        covariance: Of intercept and slope, cluster-robust.
        model: The test with independent trials (the paper's); for amounts, which have no such
            model, the cluster-robust test.
        cluster_robust: The test with users as clusters; that of the model, if no user of a binary
            KPI differs from the line.
        lack_of_fit: The groups' deviations from the line; for amounts, both χ² are cluster-robust.
    """

    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    model: SlopeTest
    cluster_robust: SlopeTest
    lack_of_fit: LackOfFit


def fit_line(x: Floats, sums: GroupSums, *, level: float) -> LineFit | UndefinedReason:
    """Fit the regression; where it is undefined, return the reason."""
    if reason := undefined_reason(x, sums):
        return reason
    design = np.column_stack([np.ones_like(x), x])
    try:
        fit = fit_glm(sums.family, design, sums.trials, sums.successes)
    except ValueError:  # the weights leave the numbers on the way to a maximum
        return UndefinedReason.SEPARATION
    rate = sums.family.mean(design @ fit.params)
    intercept, slope = (float(value) for value in fit.params)
    (aa, ab), (_, bb) = clustered_covariance(design, rate, sums).tolist()
    error = float(np.sqrt(bb))
    binomial = sums.family is Family.BINOMIAL
    model = wald_test(slope, float(fit.errors[1]), covariance=Covariance.MODEL, level=level)
    varies = error > _NO_VARIATION * fit.errors[1]
    if not varies and not binomial:
        return UndefinedReason.IDENTICAL_USERS
    df = len(x) - 2
    residuals = sums.successes - sums.trials * rate
    squares, weights = cluster_sum_squares(rate, sums), sums.trials * sums.family.variance(rate)
    chi2 = float((residuals**2 / np.where(squares > 0, squares, weights)).sum())
    robust = (
        wald_test(slope, error, covariance=Covariance.CLUSTER_ROBUST, level=level)
        if varies
        else model
    )
    return LineFit(
        intercept=intercept,
        slope=slope,
        covariance=((aa, ab), (ab, bb)),
        model=model if binomial else robust,
        cluster_robust=robust,
        lack_of_fit=LackOfFit(
            pearson_chi2=fit.pearson_chi2 if binomial else chi2,
            clustered_chi2=chi2,
            df=df,
            p_value=float(chdtrc(df, chi2)) if df > 0 else None,
        ),
    )


def undefined_reason(x: Floats, sums: GroupSums) -> UndefinedReason | None:
    """Why the regression has no finite, unique solution; None if it has one."""
    if np.isnan(x).any():
        return UndefinedReason.METRIC_NOT_POSITIVE
    if (sums.trials <= 0).any():
        return UndefinedReason.NO_TRIALS
    if (sums.successes < 0).any():
        return UndefinedReason.NEGATIVE_AMOUNT
    if np.ptp(x) < _SMALLEST_RANGE:
        return UndefinedReason.METRIC_CONSTANT
    if sums.successes.sum() == 0:
        return UndefinedReason.NO_SUCCESSES
    return _infinite_reason(x, sums)


def _infinite_reason(x: Floats, sums: GroupSums) -> UndefinedReason | None:
    if sums.family is Family.POISSON:
        return UndefinedReason.SUCCESSES_AT_ONE_END if any(separation(x, sums)) else None
    if sums.successes.sum() == sums.trials.sum():
        return UndefinedReason.NO_FAILURES
    if any(separation(x, sums)):
        return UndefinedReason.SEPARATION
    mixed = (sums.successes > 0) & (sums.successes < sums.trials)
    return None if mixed.any() else UndefinedReason.RATES_0_OR_1


def separation(x: Floats, sums: GroupSums) -> tuple[bool, bool]:
    """Whether no success has a smaller x than a failure, and whether none has a larger x.

    If one of the two holds, the slope is infinite. An amount is unbounded, so that all of its trials
    count as failures.
    """
    succeeded = x[sums.successes > 0]
    failed = x[sums.successes < sums.trials] if sums.family is Family.BINOMIAL else x
    return bool(succeeded.min() >= failed.max()), bool(failed.min() >= succeeded.max())


def clustered_covariance(design: Floats, rate: Floats, sums: GroupSums) -> Floats:
    """Cluster-robust covariance of the coefficients with users as clusters (CR1), from six sums.

    ``V = I⁻¹ [Σ_i Q_i x_i x_iᵀ] I⁻¹`` with ``Q_i = Σ_u (y_u - m_u p_i)²``, times
    ``U/(U-1) · (n-1)/(n-2)``: equal to statsmodels' row-level ``cov_type="cluster"``.
    """
    weights, squares = sums.trials * sums.family.variance(rate), cluster_sum_squares(rate, sums)
    bread = np.linalg.inv((design.T * weights) @ design)
    users, trials = sums.users.sum(), sums.trials.sum()
    factor = users / (users - 1) * (trials - 1) / (trials - design.shape[1])
    return factor * bread @ ((design.T * squares) @ design) @ bread


def cluster_sum_squares(rate: Floats, sums: GroupSums) -> Floats:
    """``Q_i = Σ_u (y_u - m_u p_i)²`` of each group, from its sums."""
    return np.maximum(sums.sum_yy - 2 * rate * sums.sum_my + rate**2 * sums.sum_mm, 0)

"""A binomial regression on group counts, with the assumptions it rests on.

One Bernoulli trial a row with g distinct x collapses exactly into g binomial cells: same estimate,
same covariance (the likelihoods differ by a constant). Row-level data is never needed.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

Floats = NDArray[np.float64]

_SMALLEST_RANGE = 1e-9
"""A metric that varies less than this, relative to its smallest value, is the same in all groups."""

_NO_VARIATION = 1e-6
"""Clustered errors below this share of the model's are round-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSums:
    """Sums over the users of each group, one entry a group.

    Attributes:
        trials: Σ m, e.g. exposures.
        successes: Σ y, e.g. clicks.
        users: Users with at least one trial.
        sum_mm: Σ m².
        sum_my: Σ m·y.
        sum_yy: Σ y².
    """

    trials: Floats
    successes: Floats
    users: Floats
    sum_mm: Floats
    sum_my: Floats
    sum_yy: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeTest:
    """A slope's error under one covariance, with its Wald test against 0 (normal distribution).

    Attributes:
        covariance: ``model`` takes trials for independent (the paper's line); ``user-clustered``
            lets a user's trials be correlated.
        standard_error: Of the slope.
        level: Coverage the interval aims at.
        interval: Lower and upper end.
        p_value: Two-sided.
    """

    covariance: str
    standard_error: float
    level: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticFit:
    """``logit p = intercept + slope · x``, fitted to group counts.

    Attributes:
        intercept: Log odds at x = 0.
        slope: Change of the log odds for a unit of x.
        model: The test with independent trials.
        clustered: The test with correlated trials of a user.
        pearson_chi2: Lack of fit with independent trials: Σ (y - n p)² / (n p (1-p)).
        clustered_chi2: Lack of fit with correlated trials of a user: Σ (y - n p)² / Q, where
            Q = Σ_u (y_u - m_u p)² over the users of the group.
        lack_of_fit_df: Groups less 2.
        lack_of_fit_p: P-value of ``clustered_chi2``; small means that groups differ for reasons
            beyond x and the habits of their users, and that both intervals are too short.
    """

    intercept: float
    slope: float
    model: SlopeTest
    clustered: SlopeTest
    pearson_chi2: float
    clustered_chi2: float
    lack_of_fit_df: int
    lack_of_fit_p: float | None

    @property
    def cautious(self) -> SlopeTest:
        """The test with the larger standard error.

        With many users that is the clustered one; with few successes the clustered error is too
        small, and the model's is the wider.
        """
        return max(self.clustered, self.model, key=lambda test: test.standard_error)


def fit_logistic(x: Floats, sums: GroupSums, *, level: float) -> LogisticFit | str:
    """Fit the regression; where it is undefined, return the reason instead."""
    if reason := undefined_because(x, sums):
        return reason
    design = np.column_stack([np.ones_like(x), x])
    counts = np.column_stack([sums.successes, sums.trials - sums.successes])
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # an exact fit, as of two groups, is neither a separation (ruled out above) nor a fault
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        fit = sm.GLM(counts, design, family=sm.families.Binomial()).fit(
            tol=1e-10, tol_criterion="params", maxiter=100
        )
    intercept, slope = (float(value) for value in fit.params)
    clustered = clustered_error(design, fit.mu, sums)
    if not clustered > _NO_VARIATION * fit.bse[1]:
        return "the users of a group do not differ, so the slope has no user-clustered error"
    df = len(x) - 2
    residuals = sums.successes - sums.trials * fit.mu
    chi2 = float((residuals**2 / user_squares(fit.mu, sums)).sum())
    return LogisticFit(
        intercept=intercept,
        slope=slope,
        model=wald_test(slope, float(fit.bse[1]), covariance="model", level=level),
        clustered=wald_test(slope, clustered, covariance="user-clustered", level=level),
        pearson_chi2=float(fit.pearson_chi2),
        lack_of_fit_df=df,
        clustered_chi2=chi2,
        lack_of_fit_p=float(stats.chi2.sf(chi2, df)) if df > 0 else None,
    )


def undefined_because(x: Floats, sums: GroupSums) -> str | None:
    """Why the regression has no finite, unique answer; None if it has."""
    if np.isnan(x).any():
        return "the metric is undefined or 0 in a group"
    if (sums.trials <= 0).any():
        return "a group has no trials"
    if np.ptp(x) < _SMALLEST_RANGE:
        return "the metric is the same in all groups"
    if sums.successes.sum() in {0, sums.trials.sum()}:
        return "no trial succeeded" if sums.successes.sum() == 0 else "every trial succeeded"
    succeeded, failed = x[sums.successes > 0], x[sums.successes < sums.trials]
    if succeeded.min() >= failed.max() or failed.min() >= succeeded.max():
        return "the metric separates successes from failures, so the slope has no finite value"
    mixed = (sums.successes > 0) & (sums.successes < sums.trials)
    return None if mixed.any() else "in every group all trials succeeded or none did"


def clustered_error(design: Floats, rate: Floats, sums: GroupSums) -> float:
    """Standard error of the slope with users as clusters (CR1), from the six sums.

    ``V = I⁻¹ [Σ_i Q_i x_i x_iᵀ] I⁻¹`` with ``Q_i = Σ_u (y_u - m_u p_i)²``, times
    ``U/(U-1) · (n-1)/(n-2)``: statsmodels' row-level ``cov_type="cluster"``, digit for digit.
    """
    information = (design.T * (sums.trials * rate * (1 - rate))) @ design
    squares = user_squares(rate, sums)
    bread = np.linalg.inv(information)
    users, trials = sums.users.sum(), sums.trials.sum()
    factor = users / (users - 1) * (trials - 1) / (trials - design.shape[1])
    covariance = factor * bread @ ((design.T * squares) @ design) @ bread
    return float(np.sqrt(covariance[1, 1]))


def user_squares(rate: Floats, sums: GroupSums) -> Floats:
    """``Q_i = Σ_u (y_u - m_u p_i)²`` of each group, from its sums."""
    return np.maximum(sums.sum_yy - 2 * rate * sums.sum_my + rate**2 * sums.sum_mm, 0)


def wald_test(slope: float, standard_error: float, *, covariance: str, level: float) -> SlopeTest:
    """Test a slope against 0 with the normal distribution."""
    width = float(stats.norm.ppf((1 + level) / 2)) * standard_error
    return SlopeTest(
        covariance=covariance,
        standard_error=standard_error,
        level=level,
        interval=(slope - width, slope + width),
        p_value=float(2 * stats.norm.sf(abs(slope) / standard_error)),
    )

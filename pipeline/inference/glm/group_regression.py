"""A regression of a KPI on group sums, with the assumptions it rests on.

One Bernoulli trial a row with g distinct x collapses exactly into g binomial cells: same estimate,
same covariance (the likelihoods differ by a constant). Row-level data is never needed.
"""

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.genmod.families import Binomial, Poisson
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.results.family import Family, Floats

_SMALLEST_RANGE = 1e-9
"""A metric that varies less than this, relative to its smallest value, is the same in all groups."""

_ONE_END = "only groups at one end of the metric have any success, so the slope has no finite value"

_NO_VARIATION = 1e-6
"""Clustered errors below this share of the model's are round-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSums:
    """Sums over the users of each group, one entry a group.

    Attributes:
        family: How the KPI depends on x.
        trials: Σ m, e.g. impressions.
        successes: Σ y, e.g. clicks, or the amount they brought.
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

    def of(self, groups: NDArray[np.bool_]) -> "GroupSums":
        """The sums of some of the groups."""
        sums = (field.name for field in fields(self) if field.name != "family")
        return replace(self, **{name: getattr(self, name)[groups] for name in sums})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """``link(rate) = intercept + slope · x``, fitted to group sums.

    Attributes:
        intercept: Log odds (logarithm of the rate) at x = 0.
        slope: Change of the log odds (the logarithm of the rate) for a unit of x.
        covariance: Of intercept and slope, with correlated trials of a user.
        model: The test with independent trials (the paper's line); of amounts, which have no such
            model, the clustered one.
        clustered: The test with correlated trials of a user.
        pearson_chi2: Lack of fit with independent trials: Σ (y - n p)² / (n p (1-p)); of amounts,
            the clustered one.
        clustered_chi2: Lack of fit with correlated trials of a user: Σ (y - n p)² / Q, where
            Q = Σ_u (y_u - m_u p)² over the users of the group.
        lack_of_fit_df: Groups less 2.
        lack_of_fit_p: P-value of ``clustered_chi2``; small means that groups differ for reasons
            beyond x and the habits of their users, and that both intervals are too short.
    """

    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    model: SlopeTest
    clustered: SlopeTest
    pearson_chi2: float
    clustered_chi2: float
    lack_of_fit_df: int
    lack_of_fit_p: float | None

    @property
    def conservative(self) -> SlopeTest:
        """The test with the larger standard error.

        With many users that is the clustered one; with few successes the clustered error is too
        small, and the model's is the wider.
        """
        return max(self.clustered, self.model, key=lambda test: test.standard_error)


def fit_line(x: Floats, sums: GroupSums, *, level: float) -> LineFit | str:
    """Fit the regression; where it is undefined, return the reason instead."""
    if reason := undefined_reason(x, sums):
        return reason
    design = np.column_stack([np.ones_like(x), x])
    fit = fit_glm(build_glm(sums.family, design, sums.trials, sums.successes))
    rate = sums.family.mean(design @ fit.params)
    intercept, slope = (float(value) for value in fit.params)
    (aa, ab), (_, bb) = clustered_covariance(design, rate, sums).tolist()
    error = float(np.sqrt(bb))
    if not error > _NO_VARIATION * fit.bse[1]:
        return "the users of a group do not differ, so the slope has no user-clustered error"
    df = len(x) - 2
    residuals = sums.successes - sums.trials * rate
    chi2 = float((residuals**2 / cluster_sum_squares(rate, sums)).sum())
    clustered = wald_test(slope, error, covariance="user-clustered", level=level)
    binomial = sums.family is Family.BINOMIAL
    return LineFit(
        intercept=intercept,
        slope=slope,
        covariance=((aa, ab), (ab, bb)),
        model=wald_test(slope, float(fit.bse[1]), covariance="model", level=level)
        if binomial
        else clustered,
        clustered=clustered,
        pearson_chi2=float(fit.pearson_chi2) if binomial else chi2,
        lack_of_fit_df=df,
        clustered_chi2=chi2,
        lack_of_fit_p=float(stats.chi2.sf(chi2, df)) if df > 0 else None,
    )


def build_glm(family: Family, design: Floats, trials: Floats, successes: Floats) -> GLM:
    """The model of a family, for statsmodels to fit; one row a cell of trials."""
    if family is Family.BINOMIAL:
        counts = np.column_stack([successes, trials - successes])
        return GLM(counts, design, Binomial())
    return GLM(successes, design, Poisson(), offset=np.log(trials))


def fit_glm(model: GLM) -> Any:
    """Fit a generalised linear model by maximum likelihood, until its coefficients stand still.

    That a fit is exact, as of as many groups as coefficients, is neither a separation (which is
    ruled out before) nor a fault.
    """
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        return model.fit(tol=1e-10, tol_criterion="params", maxiter=100)


def undefined_reason(x: Floats, sums: GroupSums) -> str | None:
    """Why the regression has no finite, unique answer; None if it has."""
    if np.isnan(x).any():
        return "the metric is undefined, 0 or negative in a group"
    if (sums.trials <= 0).any():
        return "a group has no trials"
    if np.ptp(x) < _SMALLEST_RANGE:
        return "the metric is the same in all groups"
    if sums.successes.sum() == 0:
        return "no trial succeeded"
    return _infinite_because(x, sums)


def _infinite_because(x: Floats, sums: GroupSums) -> str | None:
    if sums.family is Family.POISSON:
        return _ONE_END if any(separation(x, sums)) else None
    if sums.successes.sum() == sums.trials.sum():
        return "every trial succeeded"
    if any(separation(x, sums)):
        return "the metric separates successes from failures, so the slope has no finite value"
    mixed = (sums.successes > 0) & (sums.successes < sums.trials)
    return None if mixed.any() else "in every group all trials succeeded or none did"


def separation(x: Floats, sums: GroupSums) -> tuple[bool, bool]:
    """Whether no trial that succeeded lies below one that did not, and whether none lies above.

    Where one of the two holds, the slope has no finite value. An amount has no ceiling, so that any
    of its trials might have brought more.
    """
    succeeded = x[sums.successes > 0]
    failed = x[sums.successes < sums.trials] if sums.family is Family.BINOMIAL else x
    return bool(succeeded.min() >= failed.max()), bool(failed.min() >= succeeded.max())


def clustered_covariance(design: Floats, rate: Floats, sums: GroupSums) -> Floats:
    """Covariance of the coefficients with users as clusters (CR1), from the six sums.

    ``V = I⁻¹ [Σ_i Q_i x_i x_iᵀ] I⁻¹`` with ``Q_i = Σ_u (y_u - m_u p_i)²``, times
    ``U/(U-1) · (n-1)/(n-2)``: statsmodels' row-level ``cov_type="cluster"``, digit for digit.
    """
    weights, squares = sums.trials * sums.family.variance(rate), cluster_sum_squares(rate, sums)
    bread = np.linalg.inv((design.T * weights) @ design)
    users, trials = sums.users.sum(), sums.trials.sum()
    factor = users / (users - 1) * (trials - 1) / (trials - design.shape[1])
    return factor * bread @ ((design.T * squares) @ design) @ bread


def cluster_sum_squares(rate: Floats, sums: GroupSums) -> Floats:
    """``Q_i = Σ_u (y_u - m_u p_i)²`` of each group, from its sums."""
    return np.maximum(sums.sum_yy - 2 * rate * sums.sum_my + rate**2 * sums.sum_mm, 0)

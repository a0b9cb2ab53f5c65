"""The groups' true KPIs, drawn in towards their mean (empirical Bayes).

The best of several measured groups is on average less good than measured. With the logarithm of the
measured KPI normal around the true one, and true ones normal around their mean,

    y_i ~ N(θ_i, v_i),  θ_i ~ N(μ, A²),  μ flat,  A ~ half-Cauchy(scale),

the posterior mean of a difference allows for the selection. A is integrated numerically; given A, the
posterior is that of a random-effects mean.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.results.family import Floats
from pipeline.results.slopes import Change

_SPREADS = np.concatenate([[0.0], np.geomspace(0.01, 60.0, 100)])
"""Standard deviations of the true logarithms, in units of the prior's scale."""

_NEGLIGIBLE = 1e-18


@dataclass(frozen=True, slots=True)
class Posterior:
    """Mean and covariance of the logarithms of the groups' true KPIs."""

    mean_G: Floats
    covariance_GG: Floats

    def change(self, group: int, baseline: int, *, level: float) -> Change:
        """The relative change from a baseline to a group: posterior mean and interval."""
        difference = float(self.mean_G[group] - self.mean_G[baseline])
        block = self.covariance_GG[np.ix_([group, baseline], [group, baseline])]
        variance = max(float(block[0, 0] + block[1, 1] - 2 * block[0, 1]), 0.0)
        width = float(stats.norm.ppf((1 + level) / 2)) * variance**0.5
        return Change(
            change=float(np.expm1(difference + variance / 2)),
            interval=(float(np.expm1(difference - width)), float(np.expm1(difference + width))),
        )


def shrink(sums: GroupSums, *, counted: bool, scale: float) -> Posterior | None:
    """The posterior of the groups' KPIs.

    Args:
        sums: Of one KPI; all groups have trials.
        counted: Whether successes are a number of events. A group without any has half an event;
            an amount of 0 or less has no logarithm.
        scale: Of the prior of the standard deviation between groups.

    Returns:
        None where no group has a success, or an amount has no logarithm.
    """
    successes = sums.successes + 0.5 * counted
    if sums.successes.sum() <= 0 or successes.min() <= 0:
        return None
    return shrink_normal(np.log(successes / sums.trials), _log_variance(sums), scale=scale)


def _log_variance(sums: GroupSums) -> Floats:
    """Variance of each group's log rate: one variance between users times ``Σ m² / n²``.

    Groups are random, so users vary alike in all of them; a group's own few successes say little.
    """
    rate, users = sums.rate, np.maximum(sums.users, 2)
    squares = cluster_sum_squares(np.full_like(sums.trials, rate), sums) * users / (users - 1)
    return squares.sum() / rate**2 / sums.sum_mm.sum() * sums.sum_mm / sums.trials**2


def shrink_normal(log_G: Floats, variance_G: Floats, *, scale: float) -> Posterior:
    """The posterior of the groups' true logarithms, given the measured ones and their variances."""
    spread_A = _SPREADS * scale
    total_AG = np.maximum(variance_G, _NEGLIGIBLE) + spread_A[:, None] ** 2
    weight_AG = 1 / total_AG
    mean_A = (weight_AG * log_G).sum(axis=1) / weight_AG.sum(axis=1)
    deviation_AG = log_G - mean_A[:, None]

    likelihood_A = -0.5 * (
        np.log(total_AG).sum(axis=1)
        + np.log(weight_AG.sum(axis=1))
        + (weight_AG * deviation_AG**2).sum(axis=1)
    )
    posterior_A = np.exp(likelihood_A - likelihood_A.max()) * _prior(spread_A, scale)
    posterior_A /= posterior_A.sum()

    own_AG = spread_A[:, None] ** 2 * weight_AG  # weight of a group's own measurement
    true_AG = mean_A[:, None] + own_AG * deviation_AG
    mean_G = posterior_A @ true_AG
    around_AG, rest_AG = true_AG - mean_G, 1 - own_AG
    mean_variance_A = 1 / weight_AG.sum(axis=1)
    covariance_GG = (around_AG.T * posterior_A) @ around_AG
    covariance_GG += (rest_AG.T * (posterior_A * mean_variance_A)) @ rest_AG
    covariance_GG += np.diag(posterior_A @ (own_AG * variance_G))
    return Posterior(mean_G, covariance_GG)


def _prior(spread_A: Floats, scale: float) -> Floats:
    """Half-Cauchy density times the width of each step of the grid (trapezoidal rule)."""
    steps = np.diff(spread_A)
    width_A = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2
    return width_A / (1 + (spread_A / scale) ** 2)

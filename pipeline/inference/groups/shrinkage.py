"""The groups' true KPIs, drawn in towards their mean (empirical Bayes).

The best of several measured groups is on average less good than measured. With the logarithm of the
measured KPI normal around the true one, and true ones normal around their mean,

    y_i ~ N(θ_i, v_i),  θ_i ~ N(μ, A²),  μ flat,  A ~ half-Cauchy(scale),

the posterior mean of a difference allows for the selection. A is integrated numerically; given A, the
posterior is that of a random-effects mean.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.results.family import Floats
from pipeline.results.slopes import Change

_SPREADS = np.concatenate([[0.0], np.geomspace(0.01, 60.0, 100)])
"""Standard deviations of the true logarithms, in units of the prior's scale."""

_NEGLIGIBLE = 1e-18


@dataclass(frozen=True, slots=True)
class Posterior:
    """The logarithms of the groups' true KPIs: normal for every A, with these probabilities.

    Attributes:
        probability_A: Of every standard deviation A between groups.
        mean_AG: Of the logarithms.
        own_AG: Weight of a group's own measurement; the rest is that of the mean of all groups.
        mean_variance_A: Variance of the mean of all groups.
        variance_G: Of the measured logarithms.
    """

    probability_A: Floats
    mean_AG: Floats
    own_AG: Floats
    mean_variance_A: Floats
    variance_G: Floats

    def change(self, group: int, baseline: int, *, level: float) -> Change:
        """The relative change from a baseline to a group: posterior mean and interval."""
        mean_A = self.mean_AG[:, group] - self.mean_AG[:, baseline]
        own_A, other_A = self.own_AG[:, group], self.own_AG[:, baseline]
        variance_A = (
            own_A * self.variance_G[group]
            + other_A * self.variance_G[baseline]
            + (own_A - other_A) ** 2 * self.mean_variance_A
        )
        low, high = (
            self._quantile(share, mean_A, np.sqrt(variance_A + _NEGLIGIBLE))
            for share in ((1 - level) / 2, (1 + level) / 2)
        )
        return Change(
            change=float(self.probability_A @ np.expm1(mean_A + variance_A / 2)),
            interval=(float(np.expm1(low)), float(np.expm1(high))),
        )

    def _quantile(self, share: float, mean_A: Floats, error_A: Floats) -> float:
        """Of a mixture of normal distributions."""
        reach = float(1 - ndtri(min(share, 1 - share))) * error_A

        def excess(value: float) -> float:
            return float(self.probability_A @ ndtr((value - mean_A) / error_A)) - share

        ends = float((mean_A - reach).min()), float((mean_A + reach).max())
        return cast("float", brentq(excess, *ends))


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

    own_AG = spread_A[:, None] ** 2 * weight_AG
    return Posterior(
        probability_A=posterior_A,
        mean_AG=mean_A[:, None] + own_AG * deviation_AG,
        own_AG=own_AG,
        mean_variance_A=1 / weight_AG.sum(axis=1),
        variance_G=variance_G,
    )


def _prior(spread_A: Floats, scale: float) -> Floats:
    """Half-Cauchy density times the width of each step of the grid (trapezoidal rule)."""
    steps = np.diff(spread_A)
    width_A = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2
    return width_A / (1 + (spread_A / scale) ** 2)

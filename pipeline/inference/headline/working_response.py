"""The groups' KPI on the link scale, with variances that do not depend on a group's own luck.

Arrays are batched: the last axis is the groups G, leading axes are experiments, days or segments.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.batched_newton import fit_batch, fit_plane
from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.results.family import Family, Floats

_LARGEST_LINE = 40.0
"""Bound of the linear predictor; rates beyond it are 0 or 1 to the last digit."""

_SMALLEST = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingResponse:
    """The groups on the link scale.

    Attributes:
        values_G: Linear predictor of the likelihood fit plus the group's working residual.
        variance_G: Of the values, from the users.
        users_df: Degrees of freedom of that variance: the effective number of users less 2.
    """

    values_G: Floats
    variance_G: Floats
    users_df: Floats


def working_response(
    x_G: Floats, sums: GroupSums, others_MG: Floats | None = None
) -> WorkingResponse:
    """Linearise the GLM of the sums on x, and M other metrics, at its maximum likelihood fit.

    ``y_i = a + b x_i + (Y_i - n_i p_i) / (n_i v(p_i))``, v the variance function, p_i the fitted
    rate; with other metrics, their slopes are in the line. Groups without a success are no special
    case. nan where the likelihood has no finite maximum.
    """
    if others_MG is None:
        intercept, slope = fit_batch(x_G, sums)
        line_G = intercept[..., None] + slope[..., None] * x_G
    else:
        line_G = fit_plane(np.concatenate([x_G[..., None, :], others_MG], axis=-2), sums)
    line_G = np.clip(line_G, -_LARGEST_LINE, _LARGEST_LINE)
    rate_G = sums.family.mean(line_G)
    weight_G = sums.trials * sums.family.variance(rate_G)
    residual_G = sums.successes - sums.trials * rate_G
    # a rate of 1 to the last digit despite failures: the fit has run off
    is_fitted = (weight_G > _SMALLEST) | (residual_G == 0)
    values_G = line_G + residual_G / np.maximum(weight_G, _SMALLEST)
    return WorkingResponse(
        values_G=np.where(is_fitted, values_G, np.nan),
        variance_G=user_variance(rate_G, sums),
        users_df=np.maximum(effective_users(sums) - 2, 1.0),
    )


def user_variance(rate_G: Floats, sums: GroupSums) -> Floats:
    """Variance of each group's link(rate) from its users, at given rates; 0 if users do not differ.

    Users are divided at random, so all groups share one parameter, estimated from all of them, with
    ``Q_i = Σ_u (y_u - m_u p_i)²`` times U/(U-1):

    - binary KPIs: the correlation ρ of two trials of a user, in [0, 1],
      ``ρ = Σ (Q_i - n_i p_i q_i) / Σ p_i q_i (Σm²_i - n_i)`` and
      ``v_i = (1 + ρ (Σm²_i / n_i - 1)) / (n_i p_i q_i)``, at least that of independent trials;
    - amounts: the variance c of a trial relative to its squared mean,
      ``c = Σ (Q_i / p_i²) / Σ Σm²_i`` and ``v_i = c Σm²_i / n_i²``, the same in any currency.
    """
    users = np.maximum(sums.users, 2.0)
    squares_G = cluster_sum_squares(rate_G, sums) * users / (users - 1)
    if sums.family is Family.POISSON:
        relative_G = squares_G / np.maximum(rate_G, _SMALLEST) ** 2
        total = np.broadcast_to(sums.sum_mm, relative_G.shape).sum(axis=-1, keepdims=True)
        return relative_G.sum(axis=-1, keepdims=True) / total * sums.sum_mm / sums.trials**2
    bernoulli_G = np.maximum(rate_G * (1 - rate_G), _SMALLEST)
    pairs = (bernoulli_G * (sums.sum_mm - sums.trials)).sum(axis=-1, keepdims=True)
    excess = (squares_G - sums.trials * bernoulli_G).sum(axis=-1, keepdims=True)
    correlation = np.where(pairs > 0, np.clip(excess / np.maximum(pairs, _SMALLEST), 0.0, 1.0), 0.0)
    design_G = 1 + correlation * (sums.sum_mm / sums.trials - 1)
    return design_G / (sums.trials * bernoulli_G)


def effective_users(sums: GroupSums) -> Floats:
    """Kish's effective number of users of all groups, ``Σ n²/Σm²``: users with equal trials."""
    return (sums.trials**2 / sums.sum_mm).sum(axis=-1)

"""The domain-adapted reward model (Radwan et al. 2024, arXiv 2409.19824): Eq. 3, 15 and 4.

A reward model that is wrong somewhere should be right where target policies differ from the logging policy.
So the rows that it is fitted to count more there:

    w_t = π_t(a|x) / π_0(a|x)                      (Eq. 3), or of a domain classifier
    s   = Σ_t |w_t - 1| + λ Σ_{t<u} |w_t - w_u|    (Eq. 15)
    f   = argmin Σ_i s_i loss(r_i, f(x_i, a_i))    (Eq. 4)

With s = 1 for all rows it is the plain reward model of the direct method. If the model can be right everywhere,
s makes no difference but for noise.

Shape suffixes: N rows, M rows of a target, T targets, F features.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import lsmr
from scipy.special import expit

from pipeline.results.family import Floats

_GRADIENT = 1e-7
_PRECISION = 1e-12
_ITERATIONS = 2000


def loss_weights(
    weight_NT: Floats, *, pair_weight: float = 1.0, clip: float = 20.0, floor: float = 0.05
) -> Floats:
    """The weight s of each row in the loss (Eq. 15), with mean 1 before the floor.

    Args:
        weight_NT: Importance weights of the logged actions, target over logging policy (Eq. 3).
        pair_weight: λ, how much differences between targets count. They make the model equally right for all
            targets, so that it orders them.
        clip: Largest importance weight.
        floor: Least s: rows that all targets choose alike would else have none.
    """
    clipped_NT = np.minimum(weight_NT, clip)
    s_N = np.abs(clipped_NT - 1).sum(axis=1)
    first, second = np.triu_indices(clipped_NT.shape[1], 1)
    s_N += pair_weight * np.abs(clipped_NT[:, first] - clipped_NT[:, second]).sum(axis=1)
    mean = s_N.mean()
    return np.maximum(s_N / mean, floor) if mean > 0 else np.ones_like(s_N)


def learn_weights(source_NF: Floats, target_MF: Floats) -> Floats:
    """Importance weights of logged rows for a target whose propensities are unknown (Eq. 3).

    A classifier separates rows of the target from logged ones; its odds, with the numbers of rows taken out, are
    the ratio of their densities. They are as right as the classifier: features must show where the
    policies differ.

    Args:
        source_NF: Features of context and action, as logged; one of them constant.
        target_MF: The same of what the target would have chosen, as from paired lists.
    """
    is_target = np.repeat([0.0, 1.0], [len(source_NF), len(target_MF)])
    found_F = fit_logistic(np.concatenate([source_NF, target_MF]), is_target)
    return np.exp(source_NF @ found_F) * (len(source_NF) / len(target_MF))


def fit_logistic(
    features_NF: Floats,
    label_N: Floats,
    *,
    loss_weight_N: ArrayLike = 1.0,
    offset_N: ArrayLike = 0.0,
) -> Floats:
    """Coefficients of Eq. 4 with the cross-entropy of labels from 0 to 1, and a ridge penalty of 1."""
    rows, columns = features_NF.shape  # of a mean, reductions near the optimum exceed rounding
    weight_N, shift_N = np.broadcast_to(loss_weight_N, rows) / rows, np.asarray(offset_N)

    def loss(coefficient_F: Floats) -> tuple[float, Floats]:
        line_N = features_NF @ coefficient_F + shift_N
        entropy = weight_N @ (np.logaddexp(0, line_N) - label_N * line_N)
        gradient_F = (weight_N * (expit(line_N) - label_N)) @ features_NF
        ridge = coefficient_F @ coefficient_F / 2
        return float(entropy + ridge / rows), gradient_F + coefficient_F / rows

    def curvature(coefficient_F: Floats) -> Floats:
        rate_N = expit(features_NF @ coefficient_F + shift_N)
        scaled_NF = features_NF * (weight_N * rate_N * (1 - rate_N))[:, None]
        return features_NF.T @ scaled_NF + np.eye(columns) / rows

    options = {"gtol": _GRADIENT}
    start_F = np.zeros(columns)
    return minimize(
        loss, start_F, jac=True, hess=curvature, method="trust-exact", options=options
    ).x


def fit_linear(
    features_NF: Floats | csr_array[Any, Any], reward_N: Floats, *, loss_weight_N: Floats
) -> tuple[float, Floats]:
    """Weighted mean reward, and coefficients for what differs from it: Eq. 4 with the squared loss.

    The penalty is ridge, of 1: a feature that is multiplied by c has one of 1 / c².
    """
    root_N = np.sqrt(loss_weight_N)
    mean = float(np.average(reward_N, weights=loss_weight_N))
    found = lsmr(
        diags_array(root_N) @ features_NF,
        root_N * (reward_N - mean),
        damp=1.0,
        atol=_PRECISION,
        btol=_PRECISION,
        conlim=0.0,
        maxiter=_ITERATIONS,
    )
    return mean, found[0]

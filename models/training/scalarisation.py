"""Scalarisation: from a session's losses to one number, by its preference.

Losses are B × O, one row per session. Regularisers and the Tchebycheff scalarisation compare losses
with each other, so they use normalised losses: each divided by its reference
(:attr:`models.objectives.configuration.Objective.reference`), about 1 at worst.
"""

import math
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.training.configuration import Regulariser, Scalarisation, TrainingConfig

_SMALLEST_SHARE = 1e-12


def session_means(values_PO: Tensor, session_P: Tensor, n_sessions: int) -> Tensor:
    """Mean over the positions of each session; B × O. A session without positions gives 0."""
    sums_BO = values_PO.new_zeros(n_sessions, values_PO.shape[1]).index_add(0, session_P, values_PO)
    counts_B = torch.bincount(session_P, minlength=n_sessions).clamp_min(1)
    return sums_BO / counts_B[:, None]


def non_uniformity(normalised_BO: Tensor, preference_BO: Tensor) -> Tensor:
    """Non-uniformity of the weighted losses; per session, in [0, log O], 0 if they are equal.

    ``KL(l̂ ‖ 1/O) = log O + Σ_k l̂_k log l̂_k`` with ``l̂ = π∘L / Σ π∘L`` (Mahapatra & Rajan,
    ICML 2020, the non-uniformity of exact Pareto optimal search; ``L_reg`` of Eq. 1).
    """
    weighted_BO = preference_BO * normalised_BO
    share_BO = weighted_BO / weighted_BO.sum(dim=1, keepdim=True).clamp_min(_SMALLEST_SHARE)
    entropy_B = -torch.xlogy(share_BO, share_BO.clamp_min(_SMALLEST_SHARE)).sum(dim=1)
    return math.log(normalised_BO.shape[1]) - entropy_B


def angle(normalised_BO: Tensor, preference_BO: Tensor) -> Tensor:
    """1 - cos(π, L); per session, in [0, 1] for losses that are not negative, 0 is parallel.

    Source: Ruchte & Grabocka, "Scalable Pareto front approximation for deep multi-objective
    learning" (COSMOS), ICDM 2021, Eq. 4, whose penalty is -cos(π, L).
    """
    return 1 - functional.cosine_similarity(normalised_BO, preference_BO, dim=1)


def smooth_tchebycheff(
    normalised_BO: Tensor, preference_BO: Tensor, *, smoothness: float
) -> Tensor:
    """A smooth maximum of the weighted losses: ``μ log Σ_k exp(π_k L_k / μ)``, per session.

    It lies between ``max_k π_k L_k`` and that plus ``μ log O``, and reaches the parts of a front
    that no weighted sum does. Source: Lin et al., "Smooth Tchebycheff scalarization for
    multi-objective optimization", ICML 2024, Eq. 7, with the ideal point 0.
    """
    return smoothness * torch.logsumexp(preference_BO * normalised_BO / smoothness, dim=1)


def scalarised_losses(
    losses_BO: Tensor,
    preference_BO: Tensor,
    config: TrainingConfig,
    *,
    scale_O: Tensor,
    reference_O: Tensor,
) -> Tensor:
    """The training loss of each session; with the defaults Eq. 1 of the paper.

    Args:
        losses_BO: Unscaled losses.
        preference_BO: Preferences.
        config: The scalarisation and the regulariser.
        scale_O: Factor of each loss in a weighted sum.
        reference_O: Divisor that normalises each loss.
    """
    normalised_BO = losses_BO / reference_O
    match config.scalarisation:
        case Scalarisation.LINEAR:
            loss_B = (preference_BO * losses_BO * scale_O).sum(dim=1)
        case Scalarisation.SMOOTH_TCHEBYCHEFF:
            loss_B = smooth_tchebycheff(normalised_BO, preference_BO, smoothness=config.smoothness)
        case _:
            assert_never(config.scalarisation)
    match config.regulariser:
        case Regulariser.NONE:
            return loss_B
        case Regulariser.NON_UNIFORMITY:
            penalty_B = non_uniformity(normalised_BO, preference_BO)
        case Regulariser.ANGLE:
            penalty_B = angle(normalised_BO, preference_BO)
        case _:
            assert_never(config.regulariser)
    return loss_B + config.regulariser_weight * penalty_B

"""The losses of Eq. 1: one value a position and objective, their scalarisation, the regulariser."""

from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.configuration import Objective
from models.network import ConditionedSessionModel

_SMALLEST_SHARE = 1e-12


def objective_losses(  # noqa: PLR0913 - a batch's tensors
    model: ConditionedSessionModel,
    hidden_PD: Tensor,
    *,
    targets_P: Tensor,
    ordered_P: Tensor,
    carted_P: Tensor,
    negatives_N: Tensor,
    objectives: tuple[Objective, ...],
) -> Tensor:
    """Loss of every real position under every objective; P × O."""
    positive_P = model.score_each(hidden_PD, targets_P)
    losses: list[Tensor] = []
    for objective in objectives:
        match objective:
            case Objective.CLICK:
                negative_PN = model.score_shared(hidden_PD, negatives_N)
                losses.append(
                    sampled_softmax_loss(
                        positive_P, negative_PN, is_target_PN=negatives_N == targets_P[:, None]
                    )
                )
            case Objective.ORDER:
                losses.append(label_loss(positive_P, ordered_P))
            case Objective.CART:
                losses.append(label_loss(positive_P, carted_P))
            case _:
                assert_never(objective)
    return torch.stack(losses, dim=-1)


def sampled_softmax_loss(positive_P: Tensor, negative_PN: Tensor, is_target_PN: Tensor) -> Tensor:
    """Click loss: cross-entropy of the target among itself and sampled negatives, per position.

    ``-s⁺ + log(exp s⁺ + Σ_n exp s_n)``, in [0, ∞), lower is better. A sampled negative that is
    the position's own target is left out of the sum.
    """
    negative_PN = negative_PN.masked_fill(is_target_PN, -torch.inf)
    return torch.logsumexp(torch.cat([positive_P[:, None], negative_PN], dim=1), dim=1) - positive_P


def label_loss(positive_P: Tensor, label_P: Tensor) -> Tensor:
    """Order (or cart) loss: binary cross-entropy of the clicked item's score and its label o.

    ``-o log σ(s⁺) - (1-o) log(1-σ(s⁺))``, in [0, ∞), lower is better.
    """
    return functional.binary_cross_entropy_with_logits(positive_P, label_P, reduction="none")


def session_means(values_PO: Tensor, session_P: Tensor, n_sessions: int) -> Tensor:
    """Mean over the positions of each session; B × O. A session without positions gives 0."""
    sums_BO = values_PO.new_zeros(n_sessions, values_PO.shape[1]).index_add(0, session_P, values_PO)
    counts_B = torch.bincount(session_P, minlength=n_sessions).clamp_min(1)
    return sums_BO / counts_B[:, None]


def non_uniformity(losses_BO: Tensor, preference_BO: Tensor) -> Tensor:
    """How far the weighted losses are from being equal; per session, in [0, log O], 0 is equal.

    ``KL(l̂ ‖ 1/O) = log O + Σ_k l̂_k log l̂_k`` with ``l̂ = π∘L / Σ π∘L`` (Mahapatra & Rajan,
    ICML 2020, the non-uniformity of exact Pareto optimal search; ``L_reg`` of Eq. 1).
    """
    weighted_BO = preference_BO * losses_BO
    share_BO = weighted_BO / weighted_BO.sum(dim=1, keepdim=True).clamp_min(_SMALLEST_SHARE)
    entropy_B = -torch.xlogy(share_BO, share_BO.clamp_min(_SMALLEST_SHARE)).sum(dim=1)
    return torch.log(torch.tensor(float(losses_BO.shape[1]))) - entropy_B


def scalarised_loss(
    losses_BO: Tensor, preference_BO: Tensor, *, non_uniformity_weight: float
) -> Tensor:
    """Eq. 1 of the paper for a batch: mean over sessions of ``Σ_k π_k L_k + λ L_reg(π)``."""
    loss_B = (preference_BO * losses_BO).sum(dim=1)
    if non_uniformity_weight > 0:
        loss_B = loss_B + non_uniformity_weight * non_uniformity(losses_BO, preference_BO)
    return loss_B.mean()

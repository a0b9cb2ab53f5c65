"""Sums over each position's candidates, from which the losses are computed.

This dominates the cost of training: every position is scored against thousands of candidates.
Autograd would store and copy the score matrix several times. :class:`_LogSumExp` stores it once, as
the softmax that its gradient needs; :class:`_TopScores` does not store it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.objectives.negatives import Candidates

_ROWS_PER_BLOCK = 256
"""Rows whose scores fit in the processor's cache."""


@dataclass(frozen=True, slots=True)
class CandidateSums:
    """Sums over a position's candidates, its own target excluded.

    Attributes:
        log_sum_exp_P: log Σ_n w_n exp s_n, w_n a candidate's weight; -∞ without candidates.
        sum_P: Σ_n s_n.
        number_P: Number of candidates.
        softplus_P: Σ_n log(1 + exp s_n) if requested, else 0.
    """

    log_sum_exp_P: Tensor
    sum_P: Tensor
    number_P: Tensor
    softplus_P: Tensor


def candidate_sums(  # noqa: PLR0913 - a batch's tensors, and options
    hidden_PD: Tensor,
    embedding_ND: Tensor,
    candidates: Candidates,
    targets_P: Tensor,
    *,
    top: int | None = None,
    softplus: bool = False,
) -> CandidateSums:
    """Sums over all candidates, or over the ``top`` of each position.

    Args:
        hidden_PD: Hidden states.
        embedding_ND: The candidates' embeddings.
        candidates: The candidates.
        targets_P: Target of each position, which is excluded.
        top: Number of candidates with the highest scores that count; None for all.
        softplus: Whether to compute ``softplus_P``.
    """
    if torch.is_autocast_enabled(hidden_PD.device.type):
        dtype = torch.get_autocast_dtype(hidden_PD.device.type)
        hidden_PD, embedding_ND = hidden_PD.to(dtype), embedding_ND.to(dtype)
    own_P = _own_column(candidates.items_N, targets_P)
    top = min(top or len(candidates.items_N), len(candidates.items_N))
    # A single candidate may be the target itself; the softmax over none is undefined.
    if top < len(candidates.items_N) or top == 1:
        return _sums_of_top(
            hidden_PD, embedding_ND, candidates.log_weight_N, own_P, top=top, softplus=softplus
        )
    own_score_P = (hidden_PD * embedding_ND[own_P.clamp_min(0)]).sum(dim=1).float()
    is_own_P = own_P >= 0
    zero_P = torch.zeros_like(own_score_P)
    softplus_P = zero_P
    if softplus:
        softplus_P = functional.softplus((hidden_PD @ embedding_ND.T).float()).sum(dim=1)
        softplus_P = softplus_P - torch.where(is_own_P, functional.softplus(own_score_P), zero_P)
    log_sum_exp_P: Any = _LogSumExp.apply(hidden_PD, embedding_ND, candidates.log_weight_N, own_P)
    return CandidateSums(
        log_sum_exp_P=log_sum_exp_P,
        sum_P=(hidden_PD @ embedding_ND.sum(dim=0)).float()
        - torch.where(is_own_P, own_score_P, zero_P),
        number_P=len(candidates.items_N) - is_own_P.long(),
        softplus_P=softplus_P,
    )


def _sums_of_top(  # noqa: PLR0913 - as candidate_sums
    hidden_PD: Tensor,
    embedding_ND: Tensor,
    log_weight_N: Tensor,
    own_P: Tensor,
    *,
    top: int,
    softplus: bool,
) -> CandidateSums:
    found: Any = _TopScores.apply(hidden_PD, embedding_ND, own_P, top)
    scores_PK, columns_PK = found
    real_PK = columns_PK != own_P[:, None]
    zero_PK = torch.zeros_like(scores_PK)
    weighted_PK = torch.where(real_PK, scores_PK + log_weight_N[columns_PK], -torch.inf)
    number_P = real_PK.sum(dim=1)
    softplus_PK = functional.softplus(scores_PK) if softplus else zero_PK
    return CandidateSums(
        log_sum_exp_P=torch.logsumexp(weighted_PK, dim=1),
        sum_P=torch.where(real_PK, scores_PK, zero_PK).sum(dim=1),
        number_P=number_P,
        softplus_P=torch.where(real_PK, softplus_PK, zero_PK).sum(dim=1),
    )


def _own_column(items_N: Tensor, targets_P: Tensor) -> Tensor:
    """Column of each position's target among the candidates; -1 if it is not one."""
    column_P = torch.searchsorted(items_N, targets_P).clamp_max(len(items_N) - 1)
    return torch.where(items_N[column_P] == targets_P, column_P, -1)


class _LogSumExp(torch.autograd.Function):
    """log Σ_n w_n exp(h·e_n) over all but a position's own column."""

    @staticmethod
    def forward(
        ctx: Any, hidden_PD: Tensor, embedding_ND: Tensor, log_weight_N: Tensor, own_P: Tensor
    ) -> Tensor:
        """Store the softmax, which the backward pass multiplies with the gradient."""
        softmaxes: list[Tensor] = []
        sums: list[Tensor] = []
        for rows in _row_blocks(len(hidden_PD)):
            scores_PN = _scores_without_own(hidden_PD[rows], embedding_ND, own_P[rows])
            scores_PN += log_weight_N
            softmax_PN = torch.softmax(scores_PN, dim=1)
            # At the largest score the softmax is exp(score - log-sum-exp), far from underflow.
            sums.append(scores_PN.amax(dim=1) - softmax_PN.amax(dim=1).log())
            softmaxes.append(softmax_PN.to(hidden_PD.dtype))
        ctx.save_for_backward(hidden_PD, embedding_ND, *softmaxes)
        return torch.cat(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """d/dh = Σ_n p_n e_n, d/de_n = Σ_P p_n h; the softmax becomes p times the gradient."""
        hidden_PD, embedding_ND, *softmaxes = ctx.saved_tensors
        (gradient_P,) = gradients
        hidden_gradient_PD = torch.empty_like(hidden_PD)
        embedding_gradient_ND = torch.zeros_like(embedding_ND, dtype=torch.float32)
        for rows, softmax_PN in zip(_row_blocks(len(hidden_PD)), softmaxes, strict=True):
            share_PN = softmax_PN * gradient_P[rows, None].to(softmax_PN.dtype)
            hidden_gradient_PD[rows] = share_PN @ embedding_ND
            embedding_gradient_ND += share_PN.T @ hidden_PD[rows]
        return hidden_gradient_PD, embedding_gradient_ND.to(embedding_ND.dtype), None, None


class _TopScores(torch.autograd.Function):
    """The highest scores of each position's candidates except its target, and their columns.

    With fewer than ``top`` others, the target's column is among them.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_PD: Tensor, embedding_ND: Tensor, own_P: Tensor, top: int
    ) -> tuple[Tensor, Tensor]:
        """Store the columns only, which have no gradient."""
        found = [
            torch.topk(
                _scores_without_own(hidden_PD[rows], embedding_ND, own_P[rows]),
                top,
                dim=1,
                sorted=False,
            )
            for rows in _row_blocks(len(hidden_PD))
        ]
        scores_PK, columns_PK = (torch.cat(parts) for parts in zip(*found, strict=True))
        ctx.save_for_backward(hidden_PD, embedding_ND, columns_PK)
        ctx.mark_non_differentiable(columns_PK)
        return scores_PK, columns_PK

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """d/dh = Σ_k g_k e_k, and for each candidate the sum of g h over where it was found."""
        hidden_PD, embedding_ND, columns_PK = ctx.saved_tensors
        gradient_PK = gradients[0].to(hidden_PD.dtype)
        order = torch.argsort(columns_PK.flatten(), stable=True)
        numbers_N = torch.arange(len(embedding_ND), device=order.device)
        begin_N = torch.searchsorted(columns_PK.flatten()[order], numbers_N)
        return (
            functional.embedding_bag(
                columns_PK, embedding_ND, per_sample_weights=gradient_PK, mode="sum"
            ),
            functional.embedding_bag(
                order // columns_PK.shape[1],
                hidden_PD,
                begin_N,
                per_sample_weights=gradient_PK.flatten()[order],
                mode="sum",
            ),
            None,
            None,
        )


def _scores_without_own(hidden_PD: Tensor, embedding_ND: Tensor, own_P: Tensor) -> Tensor:
    """Scores as float32, -∞ in each position's own column."""
    scores_PN = (hidden_PD @ embedding_ND.T).float()
    rows = (own_P >= 0).nonzero()[:, 0]
    scores_PN[rows, own_P[rows]] = -torch.inf
    return scores_PN


def _row_blocks(positions: int) -> list[slice]:
    """Blocks of rows; at least one, possibly empty."""
    starts = range(0, max(positions, 1), _ROWS_PER_BLOCK)
    return [slice(start, start + _ROWS_PER_BLOCK) for start in starts]

"""The losses that a preference weighs: one value per position and objective.

A custom objective is a function of a batch's :class:`Predictions` that returns one loss per
position (P, not negative, lower is better).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.batching import SessionBatch
from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.network.model import ConditionedSessionModel
from models.objectives.candidate_sums import CandidateSums, candidate_sums
from models.objectives.configuration import ClickLoss, Loss, Objective
from models.objectives.negatives import Candidates
from models.training.configuration import TrainingConfig

_CPU = torch.device("cpu")
_LABEL_REFERENCE = 3.0
"""Nats: the loss of a label that is 1 in one of twenty cases, under a score that is certain."""


@dataclass(frozen=True)
class Predictions:
    """The input of a loss, one entry per real position.

    Attributes:
        model: The network.
        config: The training configuration.
        hidden_PD: Hidden states.
        targets_P: The item clicked next.
        ordered_P: Whether it was ordered later in the session, 0 or 1.
        carted_P: Whether it was carted later in the session, 0 or 1.
        value_P: Its value, such as its price over the mean price.
        candidates: The negatives it is compared with.
    """

    model: ConditionedSessionModel
    config: TrainingConfig
    hidden_PD: Tensor
    targets_P: Tensor
    ordered_P: Tensor
    carted_P: Tensor
    value_P: Tensor
    candidates: Candidates

    @cached_property
    def positive_P(self) -> Tensor:
        """Score of the clicked item."""
        return self.model.score_each(self.hidden_PD, self.targets_P).float()

    @cached_property
    def sums(self) -> CandidateSums:
        """Sums over the candidates; computed once for all losses that share them."""
        negatives = self.config.negatives
        table = self.model.item_embedding
        return candidate_sums(
            self.hidden_PD,
            table.weight if negatives.all else table(self.candidates.items_N),
            self.candidates,
            self.targets_P,
            top=negatives.top,
            softplus=self.config.click_loss is ClickLoss.GBCE,
        )

    @cached_property
    def click_P(self) -> Tensor:
        """The click loss, also used by the revenue loss."""
        if self.config.click_loss is ClickLoss.GBCE:
            return gbce_loss(
                self.positive_P,
                self.sums,
                n_items=self.model.n_items,
                calibration=self.config.gbce_calibration,
            )
        return softmax_loss(self.positive_P, self.sums)


def softmax_loss(positive_P: Tensor, sums: CandidateSums) -> Tensor:
    """Click loss: cross-entropy of the target among itself and its candidates.

    ``-s⁺ + log(exp s⁺ + Σ_n w_n exp s_n)``, in [0, ∞), lower is better; the paper's sampled
    softmax, and with the whole catalogue as candidates the full one.
    """
    return functional.softplus(sums.log_sum_exp_P - positive_P)


def gbce_loss(
    positive_P: Tensor, sums: CandidateSums, *, n_items: int, calibration: float
) -> Tensor:
    """Click loss: generalised binary cross-entropy, in [0, ∞), lower is better.

    ``-β log σ(s⁺) - Σ_n log(1 - σ(s_n))`` over the mean number of terms, with
    ``β = α (t (1 - 1/α) + 1/α)`` and ``α`` the sampled share of the other items. Source: Petrov &
    Macdonald, "gSASRec", RecSys 2023, Eq. 9 and 10 (here divided by 1 + N, so that it does not grow
    with the number of negatives).
    """
    share_P = (sums.number_P / max(1, n_items - 1)).clamp(max=1)
    power_P = calibration * (share_P - 1) + 1
    total_P = power_P * functional.softplus(-positive_P) + sums.softplus_P
    return total_P / (1 + sums.number_P)


def distortion_loss(positive_P: Tensor, sums: CandidateSums) -> Tensor:
    """Cross-entropy of the uniform distribution against the model's, over target and candidates.

    ``log(exp s⁺ + Σ_n w_n exp s_n) - mean(s⁺, s_1 … s_N)``, Eq. 2 of the paper: at least the
    logarithm of their number, which equal scores reach; lower is more uniform.
    """
    mean_P = (positive_P + sums.sum_P) / (1 + sums.number_P)
    return torch.logaddexp(sums.log_sum_exp_P, positive_P) - mean_P


def label_loss(positive_P: Tensor, label_P: Tensor) -> Tensor:
    """Order (or cart) loss: binary cross-entropy of the clicked item's score and its label o.

    ``-o log σ(s⁺) - (1-o) log(1-σ(s⁺))``, in [0, ∞), lower is better.
    """
    return functional.binary_cross_entropy_with_logits(positive_P, label_P, reduction="none")


def _known_loss(loss: Loss, predictions: Predictions) -> Tensor:
    match loss:
        case Loss.CLICK:
            return predictions.click_P
        case Loss.ORDER:
            return label_loss(predictions.positive_P, predictions.ordered_P)
        case Loss.CART:
            return label_loss(predictions.positive_P, predictions.carted_P)
        case Loss.REVENUE:
            return predictions.value_P * predictions.click_P
        case Loss.DISTORTION:
            return distortion_loss(predictions.positive_P, predictions.sums)
        case _:
            assert_never(loss)


class Objectives:
    """The study's losses, in the order of the preference's weights."""

    def __init__(
        self,
        config: TrainingConfig,
        *,
        n_items: int,
        value_I: Tensor | None = None,
        device: torch.device = _CPU,
    ) -> None:
        """Load custom losses.

        Args:
            config: The training configuration.
            n_items: Size of the catalogue.
            value_I: Value of each item; only the revenue loss needs it.
            device: Device of the batches.

        Raises:
            ModelError: if a custom loss cannot be loaded, or item values are missing.
        """
        self.names = [objective.loss for objective in config.objectives]
        if value_I is None and Loss.REVENUE in self.names:
            msg = "training.objectives: revenue needs the value of every item; set dataset.item_attributes"
            raise ModelError(msg)
        self._config = config
        self._value_I = (torch.ones(n_items) if value_I is None else value_I).to(device)
        self._custom: dict[str, Callable[[Predictions], Any]] = {
            objective.loss: ExtensionPoint.OBJECTIVES.load(
                objective.loss, key="training.objectives", built_in=list(Loss)
            )
            for objective in config.objectives
            if objective.is_custom
        }
        scales = [objective.scale for objective in config.objectives]
        references = [_reference(objective, config, n_items) for objective in config.objectives]
        self.scale_O = torch.tensor(scales, device=device)
        self.reference_O = torch.tensor(references, device=device)

    def losses(
        self,
        model: ConditionedSessionModel,
        batch: SessionBatch,
        hidden_PD: Tensor,
        candidates: Candidates,
    ) -> Tensor:
        """Unscaled loss of every real position of a batch under every objective; P × O."""
        targets_P = batch.targets_BT[batch.real_BT]
        predictions = Predictions(
            model=model,
            config=self._config,
            hidden_PD=hidden_PD,
            targets_P=targets_P,
            ordered_P=batch.ordered_BT[batch.real_BT],
            carted_P=batch.carted_BT[batch.real_BT],
            value_P=self._value_I[targets_P],
            candidates=candidates,
        )
        return torch.stack([self._loss(name, predictions) for name in self.names], dim=-1)

    def _loss(self, name: str, predictions: Predictions) -> Tensor:
        if name not in self._custom:
            return _known_loss(Loss(name), predictions)
        loss_P: Any = self._custom[name](predictions)
        expected = tuple(predictions.targets_P.shape)
        got = tuple(loss_P.shape) if isinstance(loss_P, Tensor) else type(loss_P).__name__
        if got != expected:
            msg = (
                f"training.objectives: {name} returns {got}, expected one loss for each of "
                f"{expected[0]} positions"
            )
            raise ModelError(msg)
        return loss_P


def _reference(objective: Objective, config: TrainingConfig, n_items: int) -> float:
    """The worst useful value of a loss.

    For softmax losses, that of an untrained model; for the distortion loss, which starts there,
    twice that; for gBCE, that of scores of 0.
    """
    if objective.reference is not None:
        return objective.reference
    untrained = math.log(1 + _effective_candidates(config, n_items))
    match Loss(objective.loss):
        case Loss.ORDER | Loss.CART:
            return _LABEL_REFERENCE
        case Loss.DISTORTION:
            return 2 * untrained
        case Loss.CLICK | Loss.REVENUE:
            return math.log(2) if config.click_loss is ClickLoss.GBCE else untrained


def _effective_candidates(config: TrainingConfig, n_items: int) -> float:
    """Number of items a position's candidates represent; with logQ, that of the catalogue."""
    negatives = config.negatives
    drawn = n_items if negatives.all else negatives.uniform
    if negatives.in_batch:
        drawn += config.batch_size
    return (negatives.top or drawn) * (n_items / drawn if negatives.log_q else 1)

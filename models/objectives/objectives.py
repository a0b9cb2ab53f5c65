"""The losses a preference weighs: one value a position and objective.

An objective of one's own is a function of a batch's :class:`Predictions` that gives one loss a
position (P, not negative, lower is better), named in the study by its import path.
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
"""Nats: a label's loss where one in twenty is 1 and the score says it is certain."""


@dataclass(frozen=True)
class Predictions:
    """What a loss may look at, one entry a real position.

    Attributes:
        model: The network.
        config: How it is trained.
        hidden_PD: Hidden states.
        targets_P: The item clicked next.
        ordered_P: Whether it was ordered later in the session, 0 or 1.
        carted_P: Whether it was put into the cart later in the session, 0 or 1.
        value_P: Its value, such as its price over the mean price.
        candidates: The items it is compared with.
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
        """The click loss, of which the revenue loss is made, too."""
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
    Macdonald, "gSASRec", RecSys 2023, Eq. 9 and 10 (here over 1 + N, so that its pull does not grow
    with the number of negatives).
    """
    share_P = (sums.number_P / max(1, n_items - 1)).clamp(max=1)
    power_P = calibration * (share_P - 1) + 1
    total_P = power_P * functional.softplus(-positive_P) + sums.softplus_P
    return total_P / (1 + sums.number_P)


def distortion_loss(positive_P: Tensor, sums: CandidateSums) -> Tensor:
    """Cross-entropy of an even distribution against the model's, over target and candidates.

    ``log(exp s⁺ + Σ_n w_n exp s_n) - mean(s⁺, s_1 … s_N)``, Eq. 2 of the paper: at least the
    logarithm of their number, reached where all scores are equal; lower is more even. It shares
    the log-sum-exp with the click loss, which is this less the difference of s⁺ to the mean.
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
        """Find the losses of one's own.

        Args:
            config: Which losses.
            n_items: Size of the catalogue.
            value_I: Value of each item; only the revenue loss needs it.
            device: Where batches lie.

        Raises:
            ModelError: if a loss is not there, or lacks the values it needs.
        """
        self.names = [objective.loss for objective in config.objectives]
        if value_I is None and Loss.REVENUE in self.names:
            msg = "training.objectives: revenue needs the value of every item; give dataset.item_attributes"
            raise ModelError(msg)
        self._config = config
        self._value_I = (torch.ones(n_items) if value_I is None else value_I).to(device)
        self._own: dict[str, Callable[[Predictions], Any]] = {
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
        if name not in self._own:
            return _known_loss(Loss(name), predictions)
        loss_P: Any = self._own[name](predictions)
        expected = tuple(predictions.targets_P.shape)
        got = tuple(loss_P.shape) if isinstance(loss_P, Tensor) else type(loss_P).__name__
        if got != expected:
            msg = (
                f"training.objectives: {name} gives {got}, expected one loss for each of "
                f"{expected[0]} positions"
            )
            raise ModelError(msg)
        return loss_P


def _reference(objective: Objective, config: TrainingConfig, n_items: int) -> float:
    """The worst loss worth having.

    Of the softmax losses it is that of a model that knows nothing; the distortion loss begins
    there, so twice it; gBCE's is that of scores of 0.
    """
    if objective.reference is not None:
        return objective.reference
    knows_nothing = math.log(1 + _candidates_worth(config, n_items))
    match Loss(objective.loss):
        case Loss.ORDER | Loss.CART:
            return _LABEL_REFERENCE
        case Loss.DISTORTION:
            return 2 * knows_nothing
        case Loss.CLICK | Loss.REVENUE:
            return math.log(2) if config.click_loss is ClickLoss.GBCE else knows_nothing


def _candidates_worth(config: TrainingConfig, n_items: int) -> float:
    """For about how many items a position's candidates stand; with logQ, all for the catalogue."""
    negatives = config.negatives
    drawn = n_items if negatives.all else negatives.uniform
    if negatives.in_batch:
        drawn += config.batch_size
    return (negatives.top or drawn) * (n_items / drawn if negatives.log_q else 1)

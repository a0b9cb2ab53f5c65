"""One training step: loss, gradient and update."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from models.batching import SessionBatch
from models.errors import ModelError
from models.network.model import ConditionedSessionModel
from models.objectives.negatives import Candidates
from models.objectives.objectives import Objectives
from models.training.configuration import Precision, TrainingConfig
from models.training.distributed import ProcessGroup
from models.training.optimizers import Optimizers, clip_gradient
from models.training.scalarisation import scalarised_losses, session_means


class BatchLoss(nn.Module):
    """The scalarised loss of a batch; a module, so that its gradient can be distributed."""

    def __init__(
        self, model: ConditionedSessionModel, objectives: Objectives, config: TrainingConfig
    ) -> None:
        super().__init__()
        self.model = model
        self.objectives = objectives
        self.config = config

    def forward(
        self, batch: SessionBatch, preference_BO: Tensor, candidates: Candidates, share: float
    ) -> tuple[Tensor, Tensor]:
        """Sum over the sessions times ``share``, and the unscaled losses; scalar and P × O."""
        hidden_BTD = self.model(batch.inputs_BT, batch.lengths_B, preference_BO)
        losses_PO = self.objectives.losses(self.model, batch, hidden_BTD[batch.real_BT], candidates)
        session_P = batch.real_BT.nonzero()[:, 0]
        loss_B = scalarised_losses(
            session_means(losses_PO, session_P, len(batch.sessions)),
            preference_BO,
            self.config,
            scale_O=self.objectives.scale_O,
            reference_O=self.objectives.reference_O,
        )
        return loss_B.sum() * share, losses_PO.detach()


class TrainStep:
    """Training steps on this process's part of each batch, with averaged gradients."""

    def __init__(
        self,
        loss: BatchLoss,
        config: TrainingConfig,
        optimizers: Optimizers,
        processes: ProcessGroup,
    ) -> None:
        """Raises :class:`ModelError` if the device does not support ``config.precision``."""
        device = processes.device
        if config.precision is Precision.FLOAT16 and device.type == "cpu":
            msg = "training.precision = float16 needs a GPU; set it to float32 or bfloat16"
            raise ModelError(msg)
        self._model = loss.model
        self._loss = processes.wrap(loss)
        self._config = config
        self._optimizers = optimizers
        self._processes = processes
        self._scaler = torch.GradScaler(device.type, enabled=config.precision is Precision.FLOAT16)

    def autocast(self) -> torch.autocast:
        """A context in which the network computes in ``config.precision``."""
        precision = self._config.precision
        return torch.autocast(
            self._processes.device.type,
            dtype=getattr(torch, precision.value),
            enabled=precision is not Precision.FLOAT32,
        )

    def step(
        self, batch: SessionBatch, preference_BO: Tensor, candidates: Candidates
    ) -> tuple[float, Tensor]:
        """One update of the weights.

        Returns:
            The batch's loss, and the sums of the unscaled losses over its positions (O).
        """
        device, number = self._processes.device, self._processes.number
        rank = self._processes.rank
        part = batch.part(rank, number).to(device)
        with self.autocast():
            # Gradients are averaged over processes, so each is multiplied by their number.
            loss, losses_PO = self._loss(
                part,
                preference_BO[rank::number].to(device),
                candidates.to(device),
                number / len(batch.sessions),
            )
        value = float(self._processes.total(loss.detach().clone() / number))
        sums_O = self._processes.total(losses_PO.double().sum(dim=0)).cpu()
        if math.isfinite(value):
            self._update(loss)
        return value, sums_O

    def _update(self, loss: Tensor) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        for optimizer in self._optimizers:
            self._scaler.unscale_(optimizer)
        clip_gradient(self._model, self._config.gradient_clip)
        for optimizer in self._optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def scaler_state(self) -> dict[str, Any]:
        """The gradient scaler's state; empty unless float16."""
        return self._scaler.state_dict()

    def restore_scaler(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`scaler_state`."""
        if state:
            self._scaler.load_state_dict(state)

"""The validation front, by which the epoch is selected; the test set is never used."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.batching import ordered_batches
from models.fronts import FrontQuality, loss_front, metric_front
from models.network.model import ConditionedSessionModel
from models.objectives.configuration import Loss
from models.objectives.negatives import CandidateSampler
from models.objectives.objectives import Objectives
from models.preferences import preference_grid
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens
from models.training.configuration import HypervolumeOf, TrainingConfig
from models.training.seeds import SeedPurpose, generator_for

_CUTOFF = 20
"""Cutoff of the metric space, Recall@20 × OD@20 as in the paper."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation results of an epoch.

    Attributes:
        losses_O: Mean unscaled loss of each objective over positions and preferences.
        scalarised: Mean over preferences of the weighted sum of scaled losses; lower is better.
        front: The front by whose hypervolume the epoch is selected.
    """

    losses_O: Tensor
    scalarised: float
    front: FrontQuality


class Validator:
    """Evaluates a model on the validation sessions, always with the same negatives."""

    def __init__(
        self,
        tokens: SessionTokens,
        config: TrainingConfig,
        objectives: Objectives,
        sampler: CandidateSampler,
        *,
        seed: int,
    ) -> None:
        self._tokens = tokens
        self._config = config
        self._objectives = objectives
        self._sampler = sampler
        self._seed = seed
        self._grid_GO = preference_grid(config.validation_preferences, len(config.objectives))

    @torch.no_grad()
    def measure(self, model: ConditionedSessionModel) -> Validation:
        """Losses under every preference of the grid, and the front of losses or metrics."""
        model.eval()
        losses_GO = self._losses(model)
        grid_GO = self._grid_GO.double()
        scale_O = self._objectives.scale_O.double().cpu()
        if self._config.hypervolume_of is HypervolumeOf.METRICS:
            weights = [self._objectives.names.index(name) for name in self._axes()]
            front = metric_front(self._metrics(model), grid_GO[:, weights].numpy())
        else:
            reference = self._objectives.reference_O.double().cpu().numpy()
            front = loss_front(losses_GO.numpy(), grid_GO.numpy(), reference=reference)
        return Validation(
            losses_O=losses_GO.mean(dim=0),
            scalarised=float((losses_GO * scale_O * grid_GO).sum(dim=1).mean()),
            front=front,
        )

    def _axes(self) -> list[str]:
        """The objectives whose weights should increase recall and order density."""
        others = [name for name in self._objectives.names if name != Loss.ORDER]
        return [others[0], Loss.ORDER.value]

    def _losses(self, model: ConditionedSessionModel) -> Tensor:
        sums_GO = torch.zeros(self._grid_GO.shape, dtype=torch.float64)
        positions = 0
        batches = ordered_batches(
            self._tokens,
            batch_size=self._config.batch_size,
            max_length=model.config.max_length,
        )
        for number, batch in enumerate(batches):
            generator = generator_for(self._seed, SeedPurpose.VALIDATION, number)
            candidates = self._sampler.draw(batch.targets_BT[batch.real_BT], generator).to(
                model.device
            )
            positions += int(batch.real_BT.sum())
            batch = batch.to(model.device)  # noqa: PLW2901
            for row, preference_O in enumerate(self._grid_GO.to(model.device)):
                preference_BO = preference_O.expand(len(batch.sessions), -1)
                hidden_BTD = model(batch.inputs_BT, batch.lengths_B, preference_BO)
                losses_PO = self._objectives.losses(
                    model, batch, hidden_BTD[batch.real_BT], candidates
                )
                sums_GO[row] += losses_PO.double().sum(dim=0).cpu()
        return sums_GO / positions

    def _metrics(self, model: ConditionedSessionModel) -> np.ndarray:
        scores = score_targets(model, self._tokens, self._grid_GO, with_click_loss=False)
        return np.array([one.recall_and_order_density(_CUTOFF) for one in scores])

"""Results of training."""

from dataclasses import dataclass

from models.fronts import FrontQuality
from models.network.model import ConditionedSessionModel


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One value of one split (train or validation) after one epoch.

    ``objective`` is a loss (unscaled, mean over positions), or ``hypervolume`` of the validation
    front.
    """

    epoch: int
    split: str
    objective: str
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model of the best epoch.

    Attributes:
        model: The model, on the CPU and in evaluation mode.
        curves: Losses and hypervolume of all epochs.
        best_epoch: The epoch of the weights.
        front: Its validation front.
        reference: Reference point of the hypervolume in loss space, one loss per objective.
    """

    model: ConditionedSessionModel
    curves: list[CurvePoint]
    best_epoch: int
    front: FrontQuality
    reference: tuple[float, ...]

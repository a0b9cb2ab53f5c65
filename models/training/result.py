"""What a training run gives."""

from dataclasses import dataclass

from models.fronts import FrontQuality
from models.network.model import ConditionedSessionModel


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One number of one split (train or validation) after one epoch.

    ``objective`` is the loss it is (unscaled, mean over positions), or ``hypervolume`` for that of
    the validation front.
    """

    epoch: int
    split: str
    objective: str
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model of the best epoch.

    Attributes:
        model: On the CPU, ready to serve.
        curves: Losses and hypervolume of all epochs.
        best_epoch: The epoch the weights are from.
        front: Its front on validation.
        reference: The point hypervolume in loss space is measured from, one loss an objective.
    """

    model: ConditionedSessionModel
    curves: list[CurvePoint]
    best_epoch: int
    front: FrontQuality
    reference: tuple[float, ...]

"""What a model is and how it is trained: the two configurations a checkpoint carries."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Interval, Len
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from models.errors import ModelError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Unknown keys, silently converted types and endless numbers are errors in every configuration."""


class Objective(StrEnum):
    """A loss the preference vector weighs; the order in the study is the order of the weights."""

    CLICK = "click"
    ORDER = "order"
    CART = "cart"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network R(x, π).

    Attributes:
        width: Size of item embeddings and hidden states.
        layers: Number of transformer blocks.
        heads: Attention heads a block; divides ``width``.
        dropout: Share of activations dropped in training.
        max_length: Longest session the network reads, in clicks; of longer ones the last are kept.
    """

    width: Annotated[int, Gt(0)] = 64
    layers: Annotated[int, Gt(0)] = 2
    heads: Annotated[int, Gt(0)] = 2
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    max_length: Annotated[int, Ge(2)] = 50

    def __post_init__(self) -> None:
        if self.width % self.heads:
            msg = f"model.width = {self.width} is not divisible by model.heads = {self.heads}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """How R(x, π) is fitted.

    Attributes:
        objectives: The two losses, in the order of the preference's weights.
        loss_scales: What each objective's loss is multiplied with, so that the preference weighs
            losses of comparable pull; the click loss of a large catalogue is far steeper than the
            order loss. L_k of Eq. 1 is the scaled loss.
        preference_concentration: β of the Dirichlet a session's preference is drawn from, one
            positive number an objective (Eq. 1 of the paper; it uses [0.5, 0.5]).
        non_uniformity_weight: λ of Eq. 1.
        epochs: Passes over the training sessions; the best one on validation is kept.
        batch_sessions: Sessions in a step.
        negatives: Items drawn uniformly, shared by the batch, for the sampled softmax.
        learning_rate: Peak of the schedule (linear warm-up, then cosine decay).
        weight_decay: Of AdamW, on matrices only.
        gradient_clip: Largest norm of a step's gradient.
        threads: CPU threads; part of the study because the order of additions depends on it.
    """

    objectives: Annotated[tuple[Objective, ...], Len(2, 2)] = (Objective.CLICK, Objective.ORDER)
    loss_scales: tuple[Annotated[float, Gt(0)], ...] = (1.0, 4.0)
    preference_concentration: tuple[Annotated[float, Gt(0)], ...] = (0.5, 0.5)
    non_uniformity_weight: Annotated[float, Ge(0)] = 0.2
    epochs: Annotated[int, Gt(0)] = 8
    batch_sessions: Annotated[int, Gt(0)] = 256
    negatives: Annotated[int, Gt(0)] = 512
    learning_rate: Annotated[float, Gt(0)] = 0.003
    weight_decay: Annotated[float, Ge(0)] = 0.01
    gradient_clip: Annotated[float, Gt(0)] = 1.0
    threads: Annotated[int, Gt(0)] = 2

    def __post_init__(self) -> None:
        if len(set(self.objectives)) != len(self.objectives):
            msg = f"training.objectives = {list(self.objectives)} names an objective twice"
            raise ModelError(msg)
        for name in ("preference_concentration", "loss_scales"):
            if (got := len(getattr(self, name))) != len(self.objectives):
                msg = f"training.{name} has {got} numbers for {len(self.objectives)} objectives"
                raise ModelError(msg)

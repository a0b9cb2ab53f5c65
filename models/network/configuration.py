"""The configuration of the network."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Interval
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.strict import STRICT


class Conditioning(StrEnum):
    """How the network is conditioned on the preference; see :mod:`models.network.conditioning`."""

    CONCATENATION = "concatenation"
    FILM = "film"
    LOW_RANK_MIXTURE = "low-rank-mixture"


class Positions(StrEnum):
    """The end of the session from which positions are counted."""

    START = "start"
    END = "end"


class Activation(StrEnum):
    """The non-linearity in the feed-forward network of the session transformer."""

    GELU = "gelu"
    RELU = "relu"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network R(x, π).

    Attributes:
        backbone: ``tron``, ``ligr``, ``gru4rec``, the name of an installed
            ``paretoscope.backbones`` entry point, or an import path ``package.module:Class``; see
            :mod:`models.network.backbones`.
        conditioning: How it is conditioned on the preference.
        rank: Rank of each objective's matrix in a low-rank mixture.
        hidden_size: Size of item embeddings and hidden states.
        layers: Number of blocks.
        heads: Attention heads per block; divides ``hidden_size``.
        feedforward_multiplier: Size of a block's feed-forward network, as a multiple of
            ``hidden_size``.
        activation: Non-linearity of that network, for the backbone ``tron``.
        dropout: Share of activations dropped in training.
        max_length: Longest session in clicks; of longer ones the last clicks are used.
        positions: The end of the window from which positions are counted.
    """

    backbone: str = "ligr"
    conditioning: Conditioning = Conditioning.LOW_RANK_MIXTURE
    rank: Annotated[int, Interval(gt=0, le=1024)] = 4
    hidden_size: Annotated[int, Interval(gt=0, le=8192)] = 64
    layers: Annotated[int, Interval(gt=0, le=128)] = 2
    heads: Annotated[int, Interval(gt=0, le=256)] = 2
    feedforward_multiplier: Annotated[int, Interval(gt=0, le=64)] = 2
    activation: Activation = Activation.GELU
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    max_length: Annotated[int, Interval(ge=2, le=10_000)] = 50
    positions: Positions = Positions.START

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            msg = f"model.hidden_size = {self.hidden_size} is not divisible by model.heads = {self.heads}"
            raise ModelError(msg)

"""What a model is and how it is trained: the two configurations a checkpoint carries."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.extensions import ExtensionPoint

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Unknown keys, silently converted types and endless numbers are errors in every configuration."""


class Conditioning(StrEnum):
    """How the preference reaches the network; see :mod:`models.conditioning`."""

    CONCATENATION = "concatenation"
    FILM = "film"
    LOW_RANK_MIXTURE = "low-rank-mixture"


class Positions(StrEnum):
    """Which end of the session positions are counted from."""

    START = "start"
    END = "end"


class Activation(StrEnum):
    """What bends the feed-forward network of the session transformer."""

    GELU = "gelu"
    RELU = "relu"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network R(x, π).

    Attributes:
        backbone: ``tron``, ``ligr``, ``gru4rec``, or a module of one's own as
            ``package.module:Class``; see :mod:`models.backbones`.
        conditioning: How the preference reaches it.
        rank: Rank of each objective's matrix in a low-rank mixture.
        hidden_size: Size of item embeddings and hidden states.
        layers: Number of blocks.
        heads: Attention heads a block; divides ``width``.
        feedforward_multiplier: Width of a block's feed-forward network, as a multiple of ``width``.
        activation: Between the two layers of that network, where the backbone is ``tron``.
        dropout: Share of activations dropped in training.
        max_length: Longest session the network reads, in clicks; of longer ones the last are kept.
        positions: Which end of the window positions are counted from.
    """

    backbone: str = "tron"
    conditioning: Conditioning = Conditioning.LOW_RANK_MIXTURE
    rank: Annotated[int, Gt(0)] = 4
    hidden_size: Annotated[int, Gt(0)] = 64
    layers: Annotated[int, Gt(0)] = 2
    heads: Annotated[int, Gt(0)] = 2
    feedforward_multiplier: Annotated[int, Gt(0)] = 2
    activation: Activation = Activation.GELU
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    max_length: Annotated[int, Ge(2)] = 50
    positions: Positions = Positions.START

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            msg = f"model.hidden_size = {self.hidden_size} is not divisible by model.heads = {self.heads}"
            raise ModelError(msg)


class Loss(StrEnum):
    """The losses this product knows; see :mod:`models.objectives`."""

    CLICK = "click"
    ORDER = "order"
    CART = "cart"
    REVENUE = "revenue"
    DISTORTION = "distortion"


class ClickLoss(StrEnum):
    """What the click and the revenue objective are made of."""

    SOFTMAX = "softmax"
    GBCE = "gbce"


class Scalarisation(StrEnum):
    """How a session's losses become one number; see :mod:`models.scalarisation`."""

    LINEAR = "linear"
    SMOOTH_TCHEBYCHEFF = "smooth-tchebycheff"


class Regulariser(StrEnum):
    """What spreads the front; see :mod:`models.scalarisation`."""

    NONE = "none"
    NON_UNIFORMITY = "non-uniformity"
    ANGLE = "angle"


class PreferenceSampling(StrEnum):
    """Whether each session of a batch is trained under its own preference, or all under one."""

    SESSION = "session"
    BATCH = "batch"


class Precision(StrEnum):
    """The numbers the network computes in; weights, sums and optimiser stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class HypervolumeOf(StrEnum):
    """The space in which validation measures the front that chooses the epoch."""

    LOSSES = "losses"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Objective:
    """One loss the preference vector weighs.

    Attributes:
        loss: One of :class:`Loss`, or a function of one's own as ``package.module:function``; see
            :mod:`models.objectives`.
        scale: What the loss is multiplied with before the preference weighs it, so that the losses
            have comparable pull; L_k of Eq. 1 is the scaled loss.
        concentration: Its number in β, the Dirichlet a session's preference is drawn from (Eq. 1
            of the paper, which uses 0.5 for each).
        reference: Its worst loss worth having: its coordinate of the point the hypervolume is
            measured from, and what the loss is divided by where losses are compared. None is a
            number that follows from the loss; needed for one's own.
    """

    loss: str
    scale: Annotated[float, Gt(0)] = 1.0
    concentration: Annotated[float, Gt(0)] = 0.1
    reference: Annotated[float, Gt(0)] | None = None

    @property
    def is_custom(self) -> bool:
        """Whether the loss is not a built-in one."""
        return self.loss not in set(Loss)

    def __post_init__(self) -> None:
        key = "training.objectives"
        ExtensionPoint.OBJECTIVES.check_name(self.loss, key=key, built_in=list(Loss))
        if self.is_custom and self.reference is None:
            msg = f"{key}: the custom loss {self.loss} needs a 'reference', its worst useful value"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Negatives:
    """The items a target is compared with; see :mod:`models.negatives`.

    Attributes:
        uniform: Items drawn uniformly with replacement, shared by the batch.
        in_batch: Whether the batch's targets are among them, too.
        top: Only so many with the highest scores count, for each position; None counts all.
        log_q: Whether scores are corrected for how often an item is drawn.
        all: Every item of the catalogue is compared with, and nothing is drawn.
    """

    uniform: Annotated[int, Ge(0)] = 512
    in_batch: bool = False
    top: Annotated[int, Gt(0)] | None = None
    log_q: bool = False
    all: bool = False

    def __post_init__(self) -> None:
        if self.all and (self.uniform or self.in_batch or self.log_q):
            msg = (
                "training.negatives.all compares with every item; set uniform: 0, in_batch: false "
                "and log_q: false"
            )
            raise ModelError(msg)
        if not (self.all or self.uniform or self.in_batch):
            msg = "training.negatives draws none; set uniform, in_batch or all"
            raise ModelError(msg)
        if self.top is not None and self.uniform and self.top > self.uniform:
            msg = (
                f"training.negatives.top = {self.top} exceeds uniform = {self.uniform}, the "
                "negatives it is chosen from; lower it"
            )
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """How R(x, π) is fitted.

    Attributes:
        objectives: Two or more losses, in the order of the preference's weights.
        click_loss: What the click objectives are made of.
        gbce_calibration: t of gBCE in [0, 1]; 1 takes all overconfidence out.
        negatives: The items targets are compared with.
        scalarisation: How a session's losses become one number.
        smoothness: μ of the smooth Tchebycheff scalarisation.
        regulariser: What spreads the front.
        regulariser_weight: λ of Eq. 1.
        preference_sampling: Whether preferences are drawn per session or per batch.
        epochs: Passes over the training sessions; the best one on validation is kept.
        patience: Epochs without a better front after which training ends; None never ends it.
        hypervolume_of: The space in which validation measures the front.
        validation_preferences: Preferences along an edge of the simplex that validation looks at.
        batch_size: Sessions in a step, over all processes.
        learning_rate: Peak of the schedule (linear warm-up, then cosine decay).
        warmup_ratio: Share of the steps in which the rate rises.
        weight_decay: Of AdamW, on matrices only.
        gradient_clip: Largest norm of a step's gradient.
        sparse_items: Whether only the rows of the item table that a step uses are updated (lazy
            Adam, without decay); for catalogues far larger than what a step touches.
        precision: The numbers the network computes in.
        device: ``auto`` takes a GPU if there is one; else ``cpu`` or ``cuda``.
        threads: CPU threads; part of the study because the order of additions depends on it.
        save_every: Steps after which the run can be resumed from, besides the ends of epochs.
    """

    objectives: Annotated[tuple[Objective, ...], MinLen(2)] = (
        Objective(loss="click"),
        Objective(loss="order", scale=4.0),
    )
    click_loss: ClickLoss = ClickLoss.SOFTMAX
    gbce_calibration: Annotated[float, Interval(ge=0, le=1)] = 0.75
    negatives: Negatives = Negatives()
    scalarisation: Scalarisation = Scalarisation.LINEAR
    smoothness: Annotated[float, Gt(0)] = 0.1
    regulariser: Regulariser = Regulariser.NON_UNIFORMITY
    regulariser_weight: Annotated[float, Ge(0)] = 0.2
    preference_sampling: PreferenceSampling = PreferenceSampling.SESSION
    epochs: Annotated[int, Gt(0)] = 8
    patience: Annotated[int, Gt(0)] | None = None
    hypervolume_of: HypervolumeOf = HypervolumeOf.LOSSES
    validation_preferences: Annotated[int, Ge(2)] = 5
    batch_size: Annotated[int, Gt(0)] = 256
    learning_rate: Annotated[float, Gt(0)] = 0.003
    warmup_ratio: Annotated[float, Interval(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Ge(0)] = 0.01
    gradient_clip: Annotated[float, Gt(0)] = 1.0
    sparse_items: bool = False
    precision: Precision = Precision.FLOAT32
    device: str = "auto"
    threads: Annotated[int, Gt(0)] = 2
    save_every: Annotated[int, Gt(0)] = 1000

    def __post_init__(self) -> None:
        names = [objective.loss for objective in self.objectives]
        if len(set(names)) != len(names):
            msg = f"training.objectives names a loss twice: {names}"
            raise ModelError(msg)
        if self.negatives.all and self.click_loss is ClickLoss.GBCE:
            msg = "training.click_loss = gbce samples negatives; set training.negatives.all: false"
            raise ModelError(msg)
        if self.sparse_items and self.negatives.all:
            msg = (
                "training.sparse_items updates the rows a step uses, but negatives.all uses every "
                "row; set one of them to false"
            )
            raise ModelError(msg)
        if self.device not in {"auto", "cpu", "cuda"}:
            msg = f"training.device = {self.device!r}; accepted are 'auto', 'cpu' and 'cuda'"
            raise ModelError(msg)

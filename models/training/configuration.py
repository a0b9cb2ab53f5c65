"""The configuration of training."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Interval, MinLen
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.objectives.configuration import ClickLoss, Loss, Negatives, Objective
from models.strict import STRICT


class PreferenceSampling(StrEnum):
    """Whether a preference is drawn per session or per batch."""

    SESSION = "session"
    BATCH = "batch"


class Scalarisation(StrEnum):
    """How a session's losses are scalarised; see :mod:`models.training.scalarisation`."""

    LINEAR = "linear"
    SMOOTH_TCHEBYCHEFF = "smooth-tchebycheff"


class Regulariser(StrEnum):
    """The regulariser that spreads the front; see :mod:`models.training.scalarisation`."""

    NONE = "none"
    NON_UNIFORMITY = "non-uniformity"
    ANGLE = "angle"


class ItemVectors(StrEnum):
    """The item table before the first step; see :mod:`models.training.co_occurrence`."""

    RANDOM = "random"
    CO_OCCURRENCE = "co-occurrence"


class Precision(StrEnum):
    """The data type the network computes in; weights, sums and optimiser stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class HypervolumeOf(StrEnum):
    """The space of the validation front by which the epoch is selected."""

    LOSSES = "losses"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """How R(x, π) is trained.

    Attributes:
        objectives: Two or more losses, in the order of the preference's weights.
        click_loss: The loss of the click and the revenue objective.
        gbce_calibration: t of gBCE in [0, 1]; 1 removes all overconfidence.
        negatives: The items targets are compared with.
        scalarisation: How a session's losses are scalarised.
        smoothness: μ of the smooth Tchebycheff scalarisation.
        regulariser: The regulariser that spreads the front.
        regulariser_weight: λ of Eq. 1.
        preference_sampling: Whether preferences are drawn per session or per batch.
        initial_items: Where the item table begins: ``random`` vectors, or those of ``co-occurrence`` in the
            training sessions.
        epochs: Passes over the training sessions; the best one on validation is kept.
        sessions_per_epoch: Size of an epoch's random sample of the training sessions, a new one each; None
            for all. For logs of which one pass takes hours.
        warm_start_epochs: Passes of a run that continues from the study's last finished model; None
            trains every model from scratch, for ``epochs``.
        patience: Epochs without a better front after which training stops; None for no limit.
        hypervolume_of: The space of the validation front.
        validation_preferences: Validation preferences along an edge of the simplex.
        batch_size: Sessions per step, over all processes.
        learning_rate: Peak of the schedule (linear warm-up, then cosine decay).
        warmup_ratio: Share of the steps with linear warm-up.
        weight_decay: Weight decay of AdamW, on matrices only.
        gradient_clip: Largest norm of a step's gradient.
        sparse_items: Whether only the rows of the item table used in a step are updated (lazy
            Adam, without decay); for catalogues far larger than the items of a step.
        precision: The data type the network computes in.
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.
        threads: CPU threads; part of the study because the order of additions depends on it.
        save_every: Steps between saved states, besides the end of each epoch.
    """

    objectives: Annotated[tuple[Objective, ...], MinLen(2)] = (
        Objective(loss="click"),
        Objective(loss="order", scale=6.0, concentration=0.06),
    )
    click_loss: ClickLoss = ClickLoss.SOFTMAX
    gbce_calibration: Annotated[float, Interval(ge=0, le=1)] = 0.75
    negatives: Negatives = Negatives()
    scalarisation: Scalarisation = Scalarisation.LINEAR
    smoothness: Annotated[float, Interval(gt=0, le=1e6)] = 0.1
    regulariser: Regulariser = Regulariser.NON_UNIFORMITY
    regulariser_weight: Annotated[float, Interval(ge=0, le=1e6)] = 0.2
    preference_sampling: PreferenceSampling = PreferenceSampling.SESSION
    initial_items: ItemVectors = ItemVectors.CO_OCCURRENCE
    epochs: Annotated[int, Interval(gt=0, le=10_000)] = 8
    sessions_per_epoch: Annotated[int, Interval(gt=0, le=1_000_000_000)] | None = None
    warm_start_epochs: Annotated[int, Interval(gt=0, le=10_000)] | None = None
    patience: Annotated[int, Interval(gt=0, le=10_000)] | None = None
    hypervolume_of: HypervolumeOf = HypervolumeOf.LOSSES
    validation_preferences: Annotated[int, Interval(ge=2, le=101)] = 5
    batch_size: Annotated[int, Interval(gt=0, le=1_000_000)] = 256
    learning_rate: Annotated[float, Interval(gt=0, le=1e30)] = 0.003
    warmup_ratio: Annotated[float, Interval(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Interval(ge=0, le=1000)] = 0.01
    gradient_clip: Annotated[float, Interval(gt=0, le=1e9)] = 1.0
    sparse_items: bool = False
    precision: Precision = Precision.FLOAT32
    device: str = "auto"
    threads: Annotated[int, Interval(gt=0, le=1024)] = 2
    save_every: Annotated[int, Interval(gt=0, le=1_000_000_000)] = 1000

    @property
    def losses(self) -> tuple[str, ...]:
        """The objectives' losses, in the order of the preference's weights."""
        return tuple(objective.loss for objective in self.objectives)

    @property
    def concentrations(self) -> tuple[float, ...]:
        """β of Eq. 1, the parameter of the Dirichlet distribution of preferences."""
        return tuple(objective.concentration for objective in self.objectives)

    def __post_init__(self) -> None:
        names = self.losses
        if len(set(names)) != len(names):
            msg = f"training.objectives names a loss twice: {list(names)}"
            raise ModelError(msg)
        if self.hypervolume_of is HypervolumeOf.METRICS and Loss.ORDER not in names:
            msg = (
                "training.hypervolume_of = metrics is the space of Recall@20 and OD@20, but order is "
                f"not among the objectives {list(names)}; set hypervolume_of: losses"
            )
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

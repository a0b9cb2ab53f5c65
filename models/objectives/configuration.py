"""The configuration of the objectives."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Interval
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.strict import STRICT


class Loss(StrEnum):
    """The built-in losses; see :mod:`models.objectives.objectives`."""

    CLICK = "click"
    ORDER = "order"
    CART = "cart"
    REVENUE = "revenue"
    DISTORTION = "distortion"


DISTORTION_SCALE = 0.1
"""A starting scale of the distortion loss with the click loss (docs/how-to/clicks-only.md)."""


class ClickLoss(StrEnum):
    """The loss of the click and the revenue objective."""

    SOFTMAX = "softmax"
    GBCE = "gbce"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Objective:
    """One loss that the preference weighs.

    Attributes:
        loss: A :class:`Loss`, the name of an installed ``paretoscope.objectives`` entry point, or
            an import path ``package.module:function``; see :mod:`models.objectives.objectives`.
        scale: Factor of the loss before the preference weighs it, to make losses comparable; L_k
            of Eq. 1 is the scaled loss.
        concentration: Its component of β, the parameter of the Dirichlet distribution from which
            preferences are drawn (Eq. 1 of the paper, which uses 0.5 for each).
        reference: Its worst useful value: its coordinate of the hypervolume's reference point, and
            the divisor that normalises the loss. None to derive it; required for a custom loss.
    """

    loss: str
    scale: Annotated[float, Interval(gt=0, le=1e9)] = 1.0
    concentration: Annotated[float, Interval(gt=0, le=1e6)] = 0.1
    reference: Annotated[float, Interval(gt=0, le=1e30)] | None = None

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
    """The items a target is compared with.

    Attributes:
        uniform: Items drawn uniformly with replacement, shared by the batch.
        in_batch: Whether the batch's targets are negatives, too.
        top: Number of negatives with the highest scores that count per position; None for all.
        log_q: Whether scores are corrected for the sampling probability of their item.
        all: Whether every item of the catalogue is a negative, without sampling.
    """

    uniform: Annotated[int, Interval(ge=0, le=10_000_000)] = 512
    in_batch: bool = False
    top: Annotated[int, Interval(gt=0, le=10_000_000)] | None = None
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

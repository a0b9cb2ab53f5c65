"""The configuration of the objectives."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Gt
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.strict import STRICT


class Loss(StrEnum):
    """The losses this product knows; see :mod:`models.objectives.objectives`."""

    CLICK = "click"
    ORDER = "order"
    CART = "cart"
    REVENUE = "revenue"
    DISTORTION = "distortion"


class ClickLoss(StrEnum):
    """What the click and the revenue objective are made of."""

    SOFTMAX = "softmax"
    GBCE = "gbce"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Objective:
    """One loss the preference vector weighs.

    Attributes:
        loss: One of :class:`Loss`, or a function of one's own as ``package.module:function``; see
            :mod:`models.objectives.objectives`.
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

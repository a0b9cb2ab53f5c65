"""How far an experiment has come: each day's answer for one hypothesis."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from pipeline.results.slopes import Finite


class State(StrEnum):
    """Whether an experiment has to go on for a hypothesis."""

    DECIDED = "decided"
    NOT_ANY_MORE = "cannot be decided any more"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayProgress:
    """A hypothesis at the end of a day.

    Attributes:
        day: The day.
        state: Whether the slope is decided by then, or cannot be by the planned end.
        positive: The sign of a decided slope; None otherwise.
        chance: To be significant at the planned end, given the data; None once decided.
        days_to_go: Expected number of further days until the slope is decided or the planned end;
            None once there are none, and without a slope.
    """

    day: date
    state: State
    positive: bool | None = None
    chance: Finite | None = None
    days_to_go: Finite | None = None

"""What the endpoint takes and gives; its OpenAPI is made from this."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS

MAX_BODY_BYTES = 256 * 1024
"""Bytes of a request."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Of a user, an item, an impression or an event: up to 128 characters, none of them a control one."""


def _whole(value: Any) -> Any:
    """3.0 as 3: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)

Timestamp = Annotated[int, Field(ge=EARLIEST_TS, lt=LATEST_TS), _WHOLE]
"""Milliseconds since 1970-01-01 UTC."""

_LARGEST_UNITS = 1_000_000
_LARGEST_REVENUE = 10**15


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RecommendRequest(_Message):
    """A user, and what it has clicked in this session."""

    user: Id = Field(description="The user: the randomisation unit.")
    session: list[Id] = Field(max_length=500, description="Items clicked so far, oldest first.")
    k: Annotated[int, Field(ge=1, le=100), _WHOLE] | None = Field(
        None, description="Items wanted; by default the plan's."
    )
    exclude: list[Id] = Field([], max_length=1000, description="Items that must not be listed.")
    ts: Timestamp | None = Field(None, description="When; now by default. For simulations.")


class ListedItem(BaseModel):
    """An item of a list."""

    item: str
    position: int = Field(description="From 1.")
    score: float | None = Field(description="What it was ranked by; null in a fallback.")


class RecommendResponse(BaseModel):
    """A list, and what it came of. Without a group the user is none of the experiment's."""

    experiment: str
    group: str | None
    preference: list[float] | None
    model: str
    rules: str
    impression: str | None = Field(description="Names this list in /events; null without a group.")
    fallback: str | None = Field(description="Why these are the popular items; else null.")
    unknown_items: int = Field(description="Items of the request that the catalogue lacks.")
    items: list[ListedItem]


class _Event(_Message):
    event: Id = Field(description="Yours; sent again with the same impression, it counts once.")
    impression: Id
    ts: Timestamp | None = Field(None, description="When; now by default. For simulations.")


class Shown(_Event):
    """The list was seen."""

    event_type: Literal["shown"]


class Click(_Event):
    """An item of the list was clicked."""

    event_type: Literal["click"]
    item: Id | None = None


class Order(_Event):
    """A clicked item was ordered."""

    event_type: Literal["order"]
    item: Id | None = None
    units: Annotated[int, Field(ge=1, le=_LARGEST_UNITS), _WHOLE]
    revenue: Annotated[int, Field(ge=0, le=_LARGEST_REVENUE), _WHOLE] | None = Field(
        None,
        description="What it brought, in the currency's smallest unit.",
    )


Event = Annotated[Shown | Click | Order, Field(discriminator="event_type")]


class EventsRequest(_Message):
    """What came of lists."""

    events: list[Event] = Field(min_length=1, max_length=100)


class EventsResponse(BaseModel):
    """All events are in the log; some were before."""

    accepted: int
    duplicates: int


class GroupView(BaseModel):
    """A group of the experiment."""

    name: str
    preference: list[float]
    share: float


class ExperimentView(BaseModel):
    """What is being served."""

    experiment: str
    list_length: int
    groups: list[GroupView]
    model: str
    rules: str
    items: int


class Health(BaseModel):
    """Whether requests are answered as they should be."""

    status: Literal["ok", "failing"]
    problems: list[str]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class FieldProblem(BaseModel):
    """What is wrong with a field of a request."""

    loc: list[str | int]
    msg: str


class ValidationProblem(BaseModel):
    """What is wrong with a request."""

    detail: list[FieldProblem]

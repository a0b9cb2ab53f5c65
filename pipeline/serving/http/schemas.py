"""Request and response bodies of the endpoint; its OpenAPI is generated from them."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS

MAX_BODY_BYTES = 64 * 1024
"""The largest request body: 1,500 items with ids of 40 characters, parsed in less than 2 ms."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""The id of a user, item, impression or event: 1 to 128 characters, no control characters."""


def _as_integer(value: Any) -> Any:
    """Accepts 3.0 as 3, since JSON has one number type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_INTEGER = BeforeValidator(_as_integer)

Timestamp = Annotated[int, Field(ge=EARLIEST_TS, lt=LATEST_TS), _INTEGER]
"""Milliseconds since 1970-01-01 UTC."""

_MAX_UNITS = 1_000_000
_MAX_REVENUE = 10**15
_TS = "Milliseconds since 1970 UTC; default: now. For simulations."


Ids = Annotated[list[Id], FailFast()]
"""A list of ids; validation stops at the first invalid one."""


class RequestModel(BaseModel):
    """A request body: no unknown fields, no type coercion.

    The number of faults is limited by the number of fields, because unknown fields are one fault
    and lists stop at their first (:class:`pydantic.FailFast`).
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _forbid_unknown_fields(cls, values: Any) -> Any:
        if isinstance(values, dict) and (n := len(values.keys() - cls.model_fields.keys())):
            known = ", ".join(cls.model_fields)
            msg = "{n} unknown fields; expected only: {known}"
            raise PydanticCustomError("unknown_fields", msg, {"n": n, "known": known})
        return values


class RecommendRequest(RequestModel):
    """A user and the current session."""

    user: Id = Field(description="The user id; the user is the randomisation unit.")
    session: Ids = Field(max_length=500, description="Clicked items, oldest first.")
    k: Annotated[int, Field(ge=1, le=100), _INTEGER] | None = Field(
        None, description="Length of the list; default: that of the group."
    )
    exclude: Ids = Field([], max_length=1000, description="Items not to recommend.")
    ts: Timestamp | None = Field(None, description=_TS)


class ListedItem(BaseModel):
    """An item of a recommendation list."""

    item: str
    position: int = Field(description="From 1.")
    score: float | None = Field(description="The ranking score; null in a fallback.")


class RecommendResponse(BaseModel):
    """A recommendation list, of a test group or, for users outside the groups, of an arm."""

    experiment: str
    group: str | None = Field(description="The test group; null outside the groups.")
    arm: Literal["incumbent", "candidate"] | None = Field(
        description="What is served outside the groups; null in a group."
    )
    preference: list[float]
    level: float | None = Field(description="Of the second axis; null if the experiment has none.")
    model: str
    rules: str
    impression: str = Field(description="The impression id, for /events.")
    explored: bool = Field(description="Whether the list was drawn at random.")
    fallback: str | None = Field(description="Why these are popular items; null otherwise.")
    unknown_items: int = Field(description="Items of the request that the catalogue lacks.")
    items: list[ListedItem]


class _Event(RequestModel):
    event: Id = Field(
        description="Your event id, unique per impression and event type; duplicates count once."
    )
    impression: Id
    ts: Timestamp | None = Field(None, description=_TS)


class Shown(_Event):
    """The user saw the list."""

    event_type: Literal["shown"]


class Click(_Event):
    """The user clicked an item of the list."""

    event_type: Literal["click"]
    item: Id | None = None


class Order(_Event):
    """The user ordered a clicked item."""

    event_type: Literal["order"]
    item: Id | None = None
    units: Annotated[int, Field(ge=1, le=_MAX_UNITS), _INTEGER]
    revenue: Annotated[int, Field(ge=0, le=_MAX_REVENUE), _INTEGER] | None = Field(
        None, description="Revenue in the smallest unit of the currency."
    )


Event = Annotated[Shown | Click | Order, Field(discriminator="event_type")]


class EventsRequest(RequestModel):
    """Events of any impressions."""

    events: Annotated[list[Event], FailFast()] = Field(min_length=1, max_length=100)


class EventsResponse(BaseModel):
    """The number of new and of duplicate events; all are in the log."""

    accepted: int
    duplicates: int
    unknown_impressions: int = Field(
        description="Accepted events whose impression id is not from this study's server."
    )


class GroupView(BaseModel):
    """A group of the experiment."""

    name: str
    preference_id: str
    preference: list[float]
    level: float | None = Field(description="Of the second axis; null if the experiment has none.")
    share: float = Field(description="Traffic share, 0 to 1.")


class ExperimentView(BaseModel):
    """The running experiment, and the versions of the model and rules of its groups."""

    experiment: str
    list_length: int
    second_axis: str | None = Field(description="What the levels of the groups mean.")
    groups: list[GroupView]
    model: str
    rules: str
    items: int


class Health(BaseModel):
    """The health of the server."""

    status: Literal["ok", "failing"]
    problems: list[str]


class Problem(BaseModel):
    """Why a request was rejected."""

    detail: str


class FieldProblem(BaseModel):
    """An invalid field of a request."""

    loc: list[str | int]
    msg: str


class ValidationProblem(BaseModel):
    """The invalid fields of a request."""

    detail: list[FieldProblem]

"""``dataset.generic``: the columns of a custom log."""

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import available_timezones

from annotated_types import Len
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import EventType
from pipeline.core.errors import StudyError

ROW_ORDER = "row-order"
"""In place of a time column: rows are in the order of their events, and no times are known."""


class IdType(StrEnum):
    """Type of session, user and item ids."""

    INTEGER = "integer"
    TEXT = "text"


def _as_list(value: Any) -> Any:
    """One column, or a list of columns, as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GenericLayout:
    """The columns of a custom parquet, CSV or JSON lines file.

    Attributes:
        session: Column of the session id, or a list of columns that identify a session together,
            such as ``[user_pseudo_id, ga_session_id]``; None to derive sessions from ``user``.
        user: Column of the user id, if there is no session id.
        item: Column of the item id; in a parquet file in row order also a list of items, one row
            per session.
        time: Column of the event time; or ``row-order`` for a log without times, whose rows are in
            the order of their events.
        time_unit: ``s``, ``ms``, ``us`` or ``ns`` since 1970 UTC; ``iso8601`` (with a zone);
            ``iso8601-utc`` (without one, read as UTC); ``iso8601-local`` (without one, read in
            ``time_zone``); or a ``strptime`` pattern such as ``%Y-%m-%d %H:%M:%S`` (read in
            ``time_zone`` unless it has ``%z``). Fractions of a millisecond are truncated.
        time_zone: Zone of times without one, and of the days of the data card, such as
            ``Europe/Berlin``. A time that occurs twice when clocks are set back is the first of the
            two.
        event_type: Column of the event type; None if every row is a click.
        event_types: Event type for each value of that column; null to skip the value.
        price: Column of the price of one unit, for the revenue of orders; None if the log has none.
        quantity: Column of the units of an order; None, or an empty field, for one unit.
        currency: Column of the price's currency; all orders must have the same.
        ids: Whether session, user and item ids are integers or strings.
        separator: Field separator of a CSV file.
    """

    session: (
        Annotated[tuple[Annotated[str, Len(1)], ...], BeforeValidator(_as_list), Len(1)] | None
    ) = None
    user: Annotated[str, Len(1)] | None = None
    item: Annotated[str, Len(1)]
    time: Annotated[str, Len(1)]
    time_unit: Annotated[
        str, Field(pattern=r"^(s|ms|us|ns|iso8601|iso8601-utc|iso8601-local|.*%.*)$")
    ] = "ms"
    time_zone: str = "UTC"
    event_type: Annotated[str, Len(1)] | None = None
    event_types: dict[str, EventType | None] = Field(default_factory=dict[str, EventType | None])
    price: Annotated[str, Len(1)] | None = None
    quantity: Annotated[str, Len(1)] | None = None
    currency: Annotated[str, Len(1)] | None = None
    ids: IdType = IdType.TEXT
    separator: Annotated[str, Field(pattern=r'^[\x01-\x7f--"\r\n]$')] = ","

    def __post_init__(self) -> None:
        if (self.session is None) == (self.user is None):
            session = ", ".join(self.session) if self.session else None
            msg = (
                f"dataset.generic: session = {session!r} and user = {self.user!r}; set exactly one "
                "of the two"
            )
            raise StudyError(msg)
        if len(set(self.columns)) < len(self.columns):
            msg = f"dataset.generic: a column is named twice: {self.columns}"
            raise StudyError(msg)
        if (self.event_type is None) == bool(self.event_types):
            msg = (
                f"dataset.generic: event_type = {self.event_type!r} and event_types = "
                f"{self.event_types}; set both (the column, and the event type of each value) or "
                "neither (every row is a click)"
            )
            raise StudyError(msg)
        if self.row_order and self.session is None:
            msg = (
                f"dataset.generic: time = {ROW_ORDER} and session = None; sessions cannot be derived "
                "without times. Name the column of the session"
            )
            raise StudyError(msg)
        if self.price is None and (self.quantity or self.currency):
            msg = "dataset.generic: quantity and currency describe prices; set price, too"
            raise StudyError(msg)
        self._check_times()

    def _check_times(self) -> None:
        if "%" in self.time_unit and not _has_date(self.time_unit):
            msg = (
                f"dataset.generic.time_unit = {self.time_unit!r} is not a strptime pattern with a "
                "date; expected a pattern such as '%Y-%m-%d %H:%M:%S'"
            )
            raise StudyError(msg)
        zones = available_timezones()
        if self.time_zone not in zones:
            near = get_close_matches(self.time_zone, zones, n=3) or ["UTC", "Europe/Berlin"]
            msg = (
                f"dataset.generic.time_zone = {self.time_zone!r} is not a valid time zone; expected a "
                f"name such as {', '.join(near)}"
            )
            raise StudyError(msg)
        if self.time_unit == "iso8601-utc" and self.time_zone != "UTC":
            msg = (
                f"dataset.generic: time_unit = iso8601-utc contradicts time_zone = {self.time_zone}; "
                "for local times set time_unit: iso8601-local"
            )
            raise StudyError(msg)

    @property
    def session_columns(self) -> tuple[str, ...]:
        """The columns that identify a session; the user's, if the log has no sessions."""
        return self.session or (self.user or "",)

    @property
    def row_order(self) -> bool:
        """Whether the log has no times."""
        return self.time == ROW_ORDER

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        time = None if self.row_order else self.time
        named = (self.item, time, self.event_type, self.price, self.quantity, self.currency)
        return [*self.session_columns, *(name for name in named if name)]

    @property
    def has_local_times(self) -> bool:
        """Whether a time that is text has no zone of its own, and is read in ``time_zone``."""
        pattern = self.time_unit
        return pattern == "iso8601-local" or (
            "%" in pattern and "%z" not in pattern and "%Z" not in pattern
        )


def _has_date(pattern: str) -> bool:
    """Whether a date survives being formatted and parsed with the pattern."""
    moment = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(pattern), pattern)  # noqa: DTZ007
    except (ValueError, re.error):
        return False
    return read.date() == moment.date()

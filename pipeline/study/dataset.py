"""``dataset``, ``synthetic`` and ``sessions``: the raw data and its sessions."""

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import available_timezones

from annotated_types import Ge, Interval, Len
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from models.extensions import ExtensionPoint
from models.strict import STRICT
from pipeline.core.contracts import EventType
from pipeline.core.errors import StudyError


class DatasetFormat(StrEnum):
    """Format of the raw data; each has an adapter in ``pipeline.datasets.formats``."""

    OTTO = "otto"
    YOOCHOOSE = "yoochoose"
    DIGINETICA = "diginetica"
    RETAILROCKET = "retailrocket"
    REES46 = "rees46"
    JDATA = "jdata"
    GENERIC = "generic"


class IdType(StrEnum):
    """Type of session, user and item ids."""

    INTEGER = "integer"
    TEXT = "text"


class Duplicates(StrEnum):
    """Treatment of events with the session, time, item and event type of an earlier one."""

    REJECT = "reject"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SyntheticConfig:
    """The synthetic shop.

    Attributes:
        seed: Seed of the shop, independent of ``study.seed``.
        items: Number of items in the catalogue.
        categories: Number of item categories.
        neighbours: Number of related items that a product page links to.
        users: Number of users.
        sessions: Number of sessions in the log.
        days: Number of days in the log, from 2025-09-01 UTC.
    """

    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 7
    items: Annotated[int, Interval(ge=50, le=10_000_000)] = 3000
    categories: Annotated[int, Interval(ge=2, le=100_000)] = 40
    neighbours: Annotated[int, Interval(ge=5, le=1000)] = 20
    users: Annotated[int, Interval(ge=10, le=100_000_000)] = 20000
    sessions: Annotated[int, Interval(ge=10, le=1_000_000_000)] = 40000
    days: Annotated[int, Interval(ge=3, le=3650)] = 28

    def __post_init__(self) -> None:
        if self.categories > self.items:
            msg = (
                f"synthetic.categories = {self.categories} exceeds synthetic.items = {self.items}; "
                "every category needs at least one item. Lower categories or raise items"
            )
            raise StudyError(msg)


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
        item: Column of the item id.
        time: Column of the event time.
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
    def columns(self) -> list[str]:
        """All columns to read."""
        named = (self.item, self.time, self.event_type, self.price, self.quantity, self.currency)
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


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expected:
    """Expected counts of the raw data, such as those its publisher states; None is not checked.

    Attributes:
        rows: Rows, rejected ones included.
        sessions: Sessions with at least one event.
        clicks: Clicks before deduplication.
        carts: Carts before deduplication.
        orders: Orders before deduplication.
    """

    rows: Annotated[int, Ge(0)] | None = None
    sessions: Annotated[int, Ge(0)] | None = None
    clicks: Annotated[int, Ge(0)] | None = None
    carts: Annotated[int, Ge(0)] | None = None
    orders: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DatasetConfig:
    """The raw data.

    Attributes:
        format: Format of the data.
        path: File or folder of the data.
        generic: Columns of the data, if the format is ``generic``.
        inactivity_minutes: Inactivity timeout that ends a session, for data without session ids.
        duplicates: ``reject`` (and count) duplicate events, or ``keep`` them.
        expected: Expected counts.
        item_attributes: CSV or parquet file with the column ``item`` and one or more of ``value``
            (for an objective that weights clicks by revenue), ``category`` and ``available_since``.
    """

    format: str
    path: Annotated[str, Len(1)]
    generic: GenericLayout | None = None
    inactivity_minutes: Annotated[float, Interval(gt=0, le=525_600)] = 30.0
    duplicates: Duplicates = Duplicates.REJECT
    expected: Expected | None = None
    item_attributes: Annotated[str, Len(1)] | None = None

    def __post_init__(self) -> None:
        ExtensionPoint.FORMATS.check_name(
            self.format, key="dataset.format", built_in=[one.value for one in DatasetFormat]
        )
        if (self.format == DatasetFormat.GENERIC) != (self.generic is not None):
            msg = (
                f"dataset.format = {self.format}: set dataset.generic (the columns) if and only if "
                "the format is 'generic'"
            )
            raise StudyError(msg)

    @property
    def time_zone(self) -> str:
        """The zone of the days of the data card."""
        return self.generic.time_zone if self.generic else "UTC"

    @property
    def lacks_sessions(self) -> bool:
        """Whether the data has user ids only, so that sessions must be derived."""
        if self.generic is not None:
            return self.generic.session is None
        return self.format == DatasetFormat.RETAILROCKET


class SupportFilter(StrEnum):
    """How the item support and session length filters are applied."""

    ONE_PASS = "one-pass"  # noqa: S105 - no password
    ITERATED = "iterated"


class BoundaryPolicy(StrEnum):
    """Treatment of boundary sessions, which start before a split boundary and end after it."""

    DROP = "drop"
    TRIM = "trim"
    LATER = "later"
    EARLIER = "earlier"


class Preset(StrEnum):
    """A named set of preprocessing rules."""

    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SessionsConfig:
    """Filtering and splitting of the sessions.

    Attributes:
        preset: ``reference`` reproduces MultiTRON's preprocessing of OTTO, Yoochoose and
            Diginetica; it overrides the keys up to ``test_days``, and ``order_window_minutes``.
        min_item_support: Minimum number of training clicks of an item in the catalogue.
        min_session_length: Minimum number of clicks of a session, before and after the item filter.
        support_filter: ``one-pass`` (length, support, length), or ``iterated`` until both hold.
        boundary_sessions: ``drop`` sessions that cross a split boundary; ``trim`` them to the part
            before it; or assign them to the ``later`` or the ``earlier`` split (which then has
            events from after its boundary).
        test_days: Length of the test period, the last part of the data, in days.
        validation_days: Length of the validation period before it, which selects the epoch.
        order_window_minutes: A click counts as ordered if the order follows within this time; None
            for any later order in the session.
        max_rejected_share: Maximum share of rejected rows; with more, ingestion fails.
    """

    preset: Preset | None = None
    min_item_support: Annotated[int, Interval(ge=1, le=1_000_000_000)] = 5
    min_session_length: Annotated[int, Interval(ge=2, le=1000)] = 2
    support_filter: SupportFilter = SupportFilter.ONE_PASS
    boundary_sessions: BoundaryPolicy = BoundaryPolicy.DROP
    test_days: Annotated[float, Interval(gt=0, le=3650)] = 4.0
    validation_days: Annotated[float, Interval(gt=0, le=3650)] = 2.0
    order_window_minutes: Annotated[float, Interval(gt=0, le=5_256_000)] | None = None
    max_rejected_share: Annotated[float, Interval(ge=0, le=1)] = 0.05

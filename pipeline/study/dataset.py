"""Where a study's sessions come from, and how they are made."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.extensions import ExtensionPoint
from models.strict import STRICT
from pipeline.core.contracts import EventType
from pipeline.core.errors import StudyError


class DatasetFormat(StrEnum):
    """A built-in layout of the raw data; each has an adapter in ``pipeline.datasets.formats``."""

    OTTO = "otto"
    YOOCHOOSE = "yoochoose"
    DIGINETICA = "diginetica"
    RETAILROCKET = "retailrocket"
    REES46 = "rees46"
    JDATA = "jdata"
    GENERIC = "generic"


class IdType(StrEnum):
    """How ids are kept."""

    INTEGER = "integer"
    TEXT = "text"


class Duplicates(StrEnum):
    """What becomes of an event that repeats another: same session, time, item and event_type."""

    REJECT = "reject"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SyntheticConfig:
    """The synthetic shop.

    Attributes:
        seed: Of the world alone, so that a study can change its own seed and keep the shop.
        items: Size of the catalogue.
        categories: Number of categories the items fall into.
        neighbours: Related items a product page links to.
        users: People who visit the shop.
        sessions: Visits in the log.
        days: Days the log covers, from 2025-09-01 UTC.
    """

    seed: Annotated[int, Ge(0)] = 7
    items: Annotated[int, Ge(50)] = 3000
    categories: Annotated[int, Ge(2)] = 40
    neighbours: Annotated[int, Ge(5)] = 20
    users: Annotated[int, Ge(10)] = 20000
    sessions: Annotated[int, Ge(10)] = 40000
    days: Annotated[int, Ge(3)] = 28

    def __post_init__(self) -> None:
        if self.categories > self.items:
            msg = (
                f"synthetic.categories = {self.categories} exceeds synthetic.items = {self.items}; "
                "every category needs an item of its own"
            )
            raise StudyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GenericLayout:
    """Where an event's fields stand in a parquet, CSV or JSON lines file of one's own.

    Attributes:
        session: Column of the session; or None, and sessions are cut from those of ``user``.
        user: Column of the user, if there is none of the session.
        item: Column of the item.
        time: Column of the time.
        time_unit: ``s``, ``ms`` or ``us`` since 1970 UTC; ``iso8601`` (with a zone);
            ``iso8601-utc`` (without one, read as UTC); or a ``strptime`` pattern such as
            ``%Y-%m-%d %H:%M:%S`` (read as UTC unless it holds ``%z``). Fractions of a millisecond
            are cut off.
        event_type: Column of the event type; None if every row is a click.
        event_types: What the file's words for event_types mean; null for those that are of no use here.
        ids: Whether sessions, users and items are whole numbers or texts.
        separator: Between the fields of a CSV.
    """

    session: Annotated[str, Len(1)] | None = None
    user: Annotated[str, Len(1)] | None = None
    item: Annotated[str, Len(1)]
    time: Annotated[str, Len(1)]
    time_unit: Annotated[str, Field(pattern=r"^(s|ms|us|iso8601|iso8601-utc|.*%.*)$")] = "ms"
    event_type: Annotated[str, Len(1)] | None = None
    event_types: dict[str, EventType | None] = Field(default_factory=dict[str, EventType | None])
    ids: IdType = IdType.TEXT
    separator: Annotated[str, Field(pattern=r'^[\x01-\x7f--"\r\n]$')] = ","

    def __post_init__(self) -> None:
        if (self.session is None) == (self.user is None):
            msg = (
                f"dataset.generic: session = {self.session!r} and user = {self.user!r}; name the "
                "column of one of the two"
            )
            raise StudyError(msg)
        named = [self.session or self.user, self.item, self.time, self.event_type]
        if len(set(named)) < len(named):
            msg = f"dataset.generic names a column twice: {[name for name in named if name]}"
            raise StudyError(msg)
        if (self.event_type is None) == bool(self.event_types):
            msg = (
                f"dataset.generic: event_type = {self.event_type!r} and event_types = {self.event_types}; give both (the "
                "column, and what its words mean) or neither (every row is a click)"
            )
            raise StudyError(msg)
        if "%" in self.time_unit and not _names_a_date(self.time_unit):
            msg = (
                f"dataset.generic.time_unit = {self.time_unit!r} is no pattern that strptime finds "
                "a date by; expected one such as '%Y-%m-%d %H:%M:%S'"
            )
            raise StudyError(msg)


def _names_a_date(pattern: str) -> bool:
    """Whether a time written by the pattern can be read by it, too."""
    moment = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(pattern), pattern)  # noqa: DTZ007
    except (ValueError, re.error):
        return False
    return read.date() == moment.date()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expected:
    """Counts the raw data must have, such as those its publisher states; None is not checked.

    Attributes:
        rows: Events and lines, those set aside included.
        sessions: Sessions with an event.
        clicks: Clicks as read, repeated ones included.
        carts: Carts as read.
        orders: Orders as read.
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
        format: Its layout: a built-in name, the name of an installed ``paretoscope.formats`` entry
            point, or an import path ``package.module:function``.
        path: The file or folder it lies in.
        generic: The columns, if the format is ``generic``.
        inactivity_minutes: Where the data knows users only, a session ends after such a rest.
        duplicates: ``reject`` (and count) an event that repeats another, or ``keep`` it.
        expected: Counts the data must have.
        item_attributes: A CSV or parquet file with the column item and one or more of value (for
            an objective that weighs clicks by revenue), category and available_since.
    """

    format: str
    path: Annotated[str, Len(1)]
    generic: GenericLayout | None = None
    inactivity_minutes: Annotated[float, Gt(0)] = 30.0
    duplicates: Duplicates = Duplicates.REJECT
    expected: Expected | None = None
    item_attributes: Annotated[str, Len(1)] | None = None

    def __post_init__(self) -> None:
        ExtensionPoint.FORMATS.check_name(
            self.format, key="dataset.format", built_in=[one.value for one in DatasetFormat]
        )
        if (self.format == DatasetFormat.GENERIC) != (self.generic is not None):
            msg = (
                f"dataset.format = {self.format}: give dataset.generic (where the columns stand) "
                "if and only if the format is 'generic'"
            )
            raise StudyError(msg)

    @property
    def knows_users_only(self) -> bool:
        """Whether sessions are still to be cut."""
        if self.generic is not None:
            return self.generic.session is None
        return self.format == DatasetFormat.RETAILROCKET


class SupportFilter(StrEnum):
    """How often the filters of item support and session length are applied."""

    ONE_PASS = "one-pass"  # noqa: S105 - no password
    ITERATED = "iterated"


class BoundaryPolicy(StrEnum):
    """What becomes of a session that begins before a cut and ends after it."""

    DROP = "drop"
    TRIM = "trim"
    LATER = "later"
    EARLIER = "earlier"


class Preset(StrEnum):
    """A named way to make sessions, instead of the keys one by one."""

    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SessionsConfig:
    """Cleaning and splitting.

    Attributes:
        preset: ``reference`` makes the sessions MultiTRON's preprocessing makes of OTTO,
            Yoochoose and Diginetica files; it then decides instead of the keys up to
            ``test_days`` and of ``order_window_minutes``.
        min_item_support: Clicks an item needs in the training period to be in the catalogue.
        min_session_length: Clicks a session needs, before the item filter and after it.
        support_filter: ``one-pass`` (length, support, length), or ``iterated`` until both hold.
        boundary_sessions: ``drop`` a session that straddles a cut; ``trim`` it to the part before; or
            count all of it to the ``later`` or the ``earlier`` part (which then holds events from
            after its cut).
        test_days: Length of the last part of the data, in days; its sessions are the test set.
        validation_days: Length of the part before it; its sessions choose the epoch.
        order_window_minutes: A click counts as ordered if the order follows within these; None
            for any order later in the session.
        max_rejected_share: Share of rejected rows above which the data is refused.
    """

    preset: Preset | None = None
    min_item_support: Annotated[int, Ge(1)] = 5
    min_session_length: Annotated[int, Ge(2)] = 2
    support_filter: SupportFilter = SupportFilter.ONE_PASS
    boundary_sessions: BoundaryPolicy = BoundaryPolicy.DROP
    test_days: Annotated[float, Gt(0)] = 4.0
    validation_days: Annotated[float, Gt(0)] = 2.0
    order_window_minutes: Annotated[float, Gt(0)] | None = None
    max_rejected_share: Annotated[float, Interval(ge=0, le=1)] = 0.05

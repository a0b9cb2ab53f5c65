"""``dataset``, ``synthetic`` and ``sessions``: the raw data and its sessions."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Interval
from pydantic.dataclasses import dataclass

from models.extensions import ExtensionPoint
from models.strict import STRICT
from pipeline.core.errors import StudyError
from pipeline.study.generic_layout import GenericLayout
from pipeline.study.local_path import DataPath


class DatasetFormat(StrEnum):
    """Format of the raw data; each has an adapter in ``pipeline.datasets.formats``."""

    OTTO = "otto"
    YOOCHOOSE = "yoochoose"
    DIGINETICA = "diginetica"
    RETAILROCKET = "retailrocket"
    REES46 = "rees46"
    JDATA = "jdata"
    GENERIC = "generic"
    NONE = "none"
    """No raw log: of a study of external variants."""


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
        path: File or folder of the data, also ``s3://bucket/key``.
        generic: Columns of the data, if the format is ``generic``.
        inactivity_minutes: Inactivity timeout that ends a session, for data without session ids.
        duplicates: ``reject`` (and count) duplicate events, or ``keep`` them.
        expected: Expected counts.
        item_attributes: CSV or parquet file with the column ``item`` and one or more of ``value``
            (for an objective that weights clicks by revenue), ``category`` and ``available_since``.
    """

    format: str
    path: DataPath
    generic: GenericLayout | None = None
    inactivity_minutes: Annotated[float, Interval(gt=0, le=525_600)] = 30.0
    duplicates: Duplicates = Duplicates.REJECT
    expected: Expected | None = None
    item_attributes: DataPath | None = None

    def __post_init__(self) -> None:
        if self.format != DatasetFormat.NONE:
            built_in = [one.value for one in DatasetFormat]
            ExtensionPoint.FORMATS.check_name(self.format, key="dataset.format", built_in=built_in)
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
    def has_times(self) -> bool:
        """Whether the times of events are known, or only their order."""
        return self.generic is None or not self.generic.row_order

    @property
    def lacks_sessions(self) -> bool:
        """Whether the data has user ids only, so that sessions must be derived."""
        if self.generic is not None:
            return self.generic.session is None
        return self.format == DatasetFormat.RETAILROCKET


NO_DATASET = DatasetConfig(format=DatasetFormat.NONE.value, path="none")
"""The dataset of a study that has no raw log."""


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
        test_sessions: Size of the test split instead of ``test_days``: a share of the sessions that
            are long enough, such as 0.1, or their number from 1; those that start last. Required for
            a log without times.
        validation_sessions: Likewise, of the validation split before it; set both or neither.
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
    test_sessions: Annotated[float, Interval(gt=0, le=1_000_000_000)] | None = None
    validation_sessions: Annotated[float, Interval(gt=0, le=1_000_000_000)] | None = None
    order_window_minutes: Annotated[float, Interval(gt=0, le=5_256_000)] | None = None
    max_rejected_share: Annotated[float, Interval(ge=0, le=1)] = 0.05

    def __post_init__(self) -> None:
        sizes = {
            "sessions.test_sessions": self.test_sessions,
            "sessions.validation_sessions": self.validation_sessions,
        }
        given = [name for name, size in sizes.items() if size is not None]
        if len(given) == 1:
            msg = f"{given[0]} is set without the other; set both {' and '.join(sizes)}, or neither"
            raise StudyError(msg)
        if wrong := [name for name in given if (size := sizes[name] or 0) >= 1 and size % 1]:
            msg = (
                f"{wrong[0]} = {sizes[wrong[0]]:g}; expected a share below 1, such as 0.1, or an "
                "integer number of sessions"
            )
            raise StudyError(msg)
        if given and self.preset is not None:
            msg = f"sessions.preset = {self.preset} splits by days; remove {' and '.join(given)}"
            raise StudyError(msg)
        if given and self.boundary_sessions is BoundaryPolicy.TRIM:
            msg = (
                "sessions.boundary_sessions = trim cuts sessions at a time; with "
                f"{' and '.join(given)} set drop, later or earlier"
            )
            raise StudyError(msg)

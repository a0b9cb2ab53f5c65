"""``experiment.columns``: the column mapping of a log in another format."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError


class LogTime(StrEnum):
    """Time format of a log."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    MICROSECONDS = "us"
    ISO8601 = "iso8601"
    ISO8601_UTC = "iso8601-utc"
    ISO8601_LOCAL = "iso8601-local"


Column = Annotated[str, Len(1)] | None

_LOG_TABLES = ("impressions", "clicks", "orders", "users")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LogFileNames:
    """``experiment.files``: which files have which table, if their names do not say so.

    Patterns such as ``click_events_*.csv`` match a file's name or its path in the folder, in any case.

    Attributes:
        impressions: Files of impressions.
        clicks: Files of clicks.
        orders: Files of orders.
        users: Files of pre-experiment data of users.
        ignored: Files that are not read, although they look like data.
    """

    impressions: Column = None
    clicks: Column = None
    orders: Column = None
    users: Column = None
    ignored: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ImpressionColumns:
    """Column names in the files of impressions; None where they equal the contract's."""

    experiment: Column = None
    impression: Column = None
    user: Column = None
    group: Column = None
    item: Column = None
    ts: Column = None
    clicked: Column = None
    ordered: Column = None
    units: Column = None
    revenue: Column = None
    explored: Column = None
    propensity: Column = None
    arm: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ClickColumns:
    """Column names in the files of clicks; None where they equal the contract's.

    Attributes:
        event: The id of an event, the same if it is sent again; None if there is none, or if the files
            follow the contract.
    """

    impression: Column = None
    user: Column = None
    item: Column = None
    event: Column = None
    ts: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OrderColumns(ClickColumns):
    """Column names in the files of orders: those of clicks, and the amounts."""

    units: Column = None
    revenue: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class UserColumns:
    """Column names in the files of users; None where they equal the contract's."""

    user: Column = None
    segment: Column = None
    impressions: Column = None
    clicks: Column = None
    orders: Column = None
    units: Column = None
    revenue: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LogColumns:
    """The column mapping of a log in another format; see docs/experiment-log.md.

    Attributes:
        impressions: Columns of the files of impressions.
        clicks: Columns of the files of clicks.
        orders: Columns of the files of orders.
        users: Columns of the files of users.
        experiment: The experiment's name in the log; None for ``experiment.name``.
        time: ``s``, ``ms`` or ``us`` since 1970 UTC; ``iso8601`` (with a zone); or, without one,
            ``iso8601-utc`` and ``iso8601-local`` (in ``experiment.time_zone``). Timestamps with a
            zone are read under every setting. Fractions of a millisecond are truncated.
        revenue_unit: Value of a revenue of 1 in the currency's smallest unit: 1 for a log in cents,
            100 for a log in euros.
    """

    impressions: ImpressionColumns = Field(default_factory=ImpressionColumns)
    clicks: ClickColumns = Field(default_factory=ClickColumns)
    orders: OrderColumns = Field(default_factory=OrderColumns)
    users: UserColumns = Field(default_factory=UserColumns)
    experiment: Annotated[str, Len(1)] | None = None
    time: LogTime = LogTime.MILLISECONDS
    revenue_unit: Annotated[int, Interval(ge=1, le=1_000_000)] = 1

    def __post_init__(self) -> None:
        for table, columns in asdict(self).items():
            named = [name for name in columns.values() if name] if table in _LOG_TABLES else []
            if twice := sorted({name for name in named if named.count(name) > 1}):
                msg = (
                    f"experiment.columns.{table}: {', '.join(twice)} is named twice; map a column of "
                    "the log once"
                )
                raise StudyError(msg)

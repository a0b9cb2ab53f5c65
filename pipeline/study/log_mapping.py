"""How a log that was not written for this project is to be read."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError


class LogTime(StrEnum):
    """How a log that was brought tells time."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    MICROSECONDS = "us"
    ISO8601 = "iso8601"
    ISO8601_UTC = "iso8601-utc"


Column = Annotated[str, Len(1)] | None

_LOG_TABLES = ("impressions", "clicks", "orders", "users")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ImpressionColumns:
    """What a log's impressions call the columns of the contract; None where they call it the same."""

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


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ClickColumns:
    """What a log's clicks call the columns of the contract; None where they call it the same."""

    impression: Column = None
    user: Column = None
    item: Column = None
    ts: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OrderColumns:
    """What a log's orders call the columns of the contract; None where they call it the same."""

    impression: Column = None
    user: Column = None
    item: Column = None
    ts: Column = None
    units: Column = None
    revenue: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class UserColumns:
    """What a log's users call the columns of the contract; None where they call it the same."""

    user: Column = None
    segment: Column = None
    impressions: Column = None
    clicks: Column = None
    orders: Column = None
    units: Column = None
    revenue: Column = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LogColumns:
    """How a log that was not written for this project is to be read; see docs/experiment-log.md.

    Attributes:
        impressions: What the files of impressions call their columns.
        clicks: What those of clicks do.
        orders: What those of orders do.
        users: What those of users do.
        experiment: What the log calls the experiment; None if it is ``experiment.name``.
        time: ``s``, ``ms`` or ``us`` since 1970 UTC; ``iso8601`` (with a zone); or
            ``iso8601-utc`` (without one, read as UTC). Fractions of a millisecond are cut off.
        revenue_unit: How many of the currency's smallest unit a revenue of 1 is: 1 if the log
            counts cents, 100 if 19.99 is nineteen euros and 99 cents.
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
                    f"experiment.columns.{table} names {', '.join(twice)} twice; a column of the log "
                    "has one meaning"
                )
                raise StudyError(msg)

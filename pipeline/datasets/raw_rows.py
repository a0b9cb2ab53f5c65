"""Rows of raw files as an adapter reads them, and their validation.

Adapters only parse. Whether a value is missing, an event type unknown or a time out of range is
decided in one place for all formats, :func:`validate_rows`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import EARLIEST_TS, EVENT_TYPE, LATEST_TS, REJECTED, EventType

CONTENT_LIMIT = 200


class Reason(StrEnum):
    """Why a row was rejected."""

    NOT_TEXT = "not UTF-8 text"
    UNREADABLE = "not a row of this format"
    MISSING_FIELD = "a field is missing"
    WRONG_TYPE = "a field has the wrong type"
    TIME_OUT_OF_RANGE = "time outside 2000-01-01 to 2100-01-01"
    UNKNOWN_EVENT_TYPE = "unknown event type"
    DUPLICATE = "duplicate of another event"
    UNUSED_EVENT_TYPE = "an event type that is not used"


DELIBERATE = frozenset({Reason.UNUSED_EVENT_TYPE})
"""Reasons that are no defect of the data; they do not count towards the rejected share."""


@dataclass(frozen=True, slots=True)
class ParseError:
    """A line that cannot be parsed as a row, and why."""

    position: int
    reason: Reason
    content: str


@dataclass(frozen=True, slots=True)
class RawRows:
    """A piece of a file, as its adapter reads it.

    Attributes:
        source: Name of the file.
        positions: Line of each row of ``frame``, from 1.
        frame: Columns session (the user, if the data has no sessions), ts, item and event_type as
            the file spells it; null or empty where the file has no value.
        errors: Lines that are not rows.
    """

    source: str
    positions: NDArray[np.int64]
    frame: pl.DataFrame
    errors: list[ParseError] = field(default_factory=list)


Task = Callable[[], RawRows]
"""Reads one piece of a file when called; several threads may read pieces at once."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the raw data, and how its pieces are read.

    Attributes:
        path: The file.
        tasks: Returns the tasks that read its pieces, in their order in the file.
        event_types: The event type of each word in the file; None for a word that is not used.
    """

    path: Path
    tasks: Callable[[], Iterator[Task]]
    event_types: Mapping[str, EventType | None]


def validate_rows(
    rows: RawRows, event_types: Mapping[str, EventType | None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate valid events from rejected rows; every row is in exactly one of the two.

    Returns:
        Events with columns session, ts, item and event_type, in the order of ``rows``; and the
        rejected rows as :data:`REJECTED`.
    """
    used = {word: event_type for word, event_type in event_types.items() if event_type}
    word = pl.col("event_type").cast(pl.Enum(list(used)), strict=False)
    meanings = pl.Series(used.values(), dtype=EVENT_TYPE)
    event_type = pl.lit(meanings).gather(word.to_physical())
    bad = _missing() | word.is_null() | ~_in_range()
    rejected = _parse_errors(rows)
    events = rows.frame
    if not _all_valid(events, word):
        events = events.filter(~bad)
        unused = [word for word in event_types if word not in used]
        rejected = pl.concat([rejected, _rejected(rows, bad, unused)])
    return events.with_columns(event_type=event_type), REJECTED.validate(rejected)


def _all_valid(events: pl.DataFrame, word: pl.Expr) -> bool:
    """Whether every row is valid, from aggregates only: the fast path for most pieces."""
    strings = pl.selectors.string() - pl.selectors.by_name("event_type")
    totals = events.select(
        pl.sum_horizontal(pl.all().null_count()).alias("nulls"),
        word.null_count().alias("unknown"),
        pl.sum_horizontal(pl.lit(0), (strings == "").sum()).alias("empty"),
        pl.col("ts").min().alias("first"),
        pl.col("ts").max().alias("last"),
    ).row(0, named=True)
    if not events.height:
        return True
    in_range = (totals["first"] or 0) >= EARLIEST_TS and (totals["last"] or 0) < LATEST_TS
    return in_range and not totals["nulls"] + totals["unknown"] + totals["empty"]


def _rejected(rows: RawRows, bad: pl.Expr, unused: list[str]) -> pl.DataFrame:
    """The bad rows as :data:`REJECTED`, each with the first reason that applies."""
    reason = (
        pl.when(_missing())
        .then(pl.lit(Reason.MISSING_FIELD.value))
        .when(pl.col("event_type").is_in(unused))
        .then(pl.lit(Reason.UNUSED_EVENT_TYPE.value))
        .when(_in_range())
        .then(pl.lit(Reason.UNKNOWN_EVENT_TYPE.value))
        .otherwise(pl.lit(Reason.TIME_OUT_OF_RANGE.value))
    )
    content = pl.concat_str(pl.exclude("position").cast(pl.String).fill_null(""), separator=",")
    return (
        rows.frame.with_columns(position=pl.Series(rows.positions))
        .filter(bad)
        .select(
            source=pl.lit(rows.source),
            position="position",
            reason=reason,
            content=content.str.head(CONTENT_LIMIT),
        )
    )


def _missing() -> pl.Expr:
    """Whether a field is null or an empty string."""
    return pl.any_horizontal(pl.all().is_null(), pl.selectors.string() == "")


def _in_range() -> pl.Expr:
    return pl.col("ts").is_between(EARLIEST_TS, LATEST_TS, closed="left")


def _parse_errors(rows: RawRows) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (rows.source, line.position, line.reason.value, line.content[:CONTENT_LIMIT])
            for line in rows.errors
        ],
        schema=REJECTED.schema,
        orient="row",
    )

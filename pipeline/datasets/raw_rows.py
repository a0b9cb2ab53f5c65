"""What an adapter makes of a piece of a raw file: rows that may be events, and rows that cannot be.

Adapters know formats; they do not judge. Whether a value is missing, a event_type unknown or a time
absurd is decided once for all formats in :func:`judge`.
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
    """Why a row was set aside."""

    NOT_TEXT = "not UTF-8 text"
    UNREADABLE = "not a row of this format"
    MISSING_FIELD = "a field is missing"
    WRONG_TYPE = "a field has the wrong type"
    TIME_OUT_OF_RANGE = "time outside 2000-01-01 to 2100-01-01"
    UNKNOWN_EVENT_TYPE = "unknown event type"
    DUPLICATE = "duplicate of another event"
    UNUSED_EVENT_TYPE = "a event type this product does not use"


DELIBERATE = frozenset({Reason.UNUSED_EVENT_TYPE})
"""Reasons that say nothing about the data's quality; they do not count as rejected share."""


@dataclass(frozen=True, slots=True)
class ParseError:
    """A line that is no row at all, and why."""

    position: int
    reason: Reason
    content: str


@dataclass(frozen=True, slots=True)
class RawRows:
    """A piece of a file, as an adapter reads it.

    Attributes:
        source: Name of the file.
        positions: Line of every row of ``frame``, from 1.
        frame: Columns session (or the user, where sessions are still to be cut), ts, item and
            event_type, the file's own word; null or empty where the file says nothing.
        refusals: Lines that are no rows.
    """

    source: str
    positions: NDArray[np.int64]
    frame: pl.DataFrame
    refusals: list[ParseError] = field(default_factory=list)


Task = Callable[[], RawRows]
"""Reads one piece of a file when called; pieces can be read at once by several threads."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the raw data and how its pieces are read.

    Attributes:
        path: The file.
        tasks: Gives the pieces in their order in the file.
        event_types: What the file's words for event_types mean; None is a event_type this product does not use.
    """

    path: Path
    tasks: Callable[[], Iterator[Task]]
    event_types: Mapping[str, EventType | None]


def validate_rows(
    rows: RawRows, event_types: Mapping[str, EventType | None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort rows into events and rejections; every row ends in exactly one of the two.

    Returns:
        Events with columns session, ts, item and event_type, in the order of ``rows``; and rows of
        :data:`REJECTED`.
    """
    used = {word: event_type for word, event_type in event_types.items() if event_type}
    word = pl.col("event_type").cast(pl.Enum(list(used)), strict=False)
    meanings = pl.Series(used.values(), dtype=EVENT_TYPE)
    event_type = pl.lit(meanings).gather(word.to_physical())
    bad = _missing() | word.is_null() | ~_in_range()
    refused = _refused(rows)
    events = rows.frame
    if not _all_good(events, word):
        events = events.filter(~bad)
        refused = pl.concat(
            [refused, _set_aside(rows, bad, [w for w in event_types if w not in used])]
        )
    return events.with_columns(event_type=event_type), REJECTED.validate(refused)


def _all_good(events: pl.DataFrame, word: pl.Expr) -> bool:
    """Whether no row is bad, found out from totals, which is all that most pieces cost."""
    texts = pl.selectors.string() - pl.selectors.by_name("event_type")
    totals = events.select(
        pl.sum_horizontal(pl.all().null_count()).alias("nulls"),
        word.null_count().alias("unknown"),
        pl.sum_horizontal(pl.lit(0), (texts == "").sum()).alias("empty"),
        pl.col("ts").min().alias("first"),
        pl.col("ts").max().alias("last"),
    ).row(0, named=True)
    if not events.height:
        return True
    in_range = (totals["first"] or 0) >= EARLIEST_TS and (totals["last"] or 0) < LATEST_TS
    return in_range and not totals["nulls"] + totals["unknown"] + totals["empty"]


def _set_aside(rows: RawRows, bad: pl.Expr, other_words: list[str]) -> pl.DataFrame:
    """The bad rows as :data:`REJECTED`, each under the first reason that holds."""
    reason = (
        pl.when(_missing())
        .then(pl.lit(Reason.MISSING_FIELD.value))
        .when(pl.col("event_type").is_in(other_words))
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
    """Whether a field is null or empty text."""
    return pl.any_horizontal(pl.all().is_null(), pl.selectors.string() == "")


def _in_range() -> pl.Expr:
    return pl.col("ts").is_between(EARLIEST_TS, LATEST_TS, closed="left")


def _refused(rows: RawRows) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (rows.source, line.position, line.reason.value, line.content[:CONTENT_LIMIT])
            for line in rows.refusals
        ],
        schema=REJECTED.schema,
        orient="row",
    )

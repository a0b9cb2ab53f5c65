"""Rows of raw files as an adapter reads them, and their validation.

Adapters only parse. Whether a value is missing, an event type unknown, a time out of range or a price
invalid is decided in one place for all formats, :func:`validate_rows`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import EARLIEST_TS, EVENT_TYPE, LATEST_TS, REJECTED, EventType
from pipeline.datasets.revenue import amount_faults, revenue_of

CONTENT_LIMIT = 200

FIELDS = ["session", "ts", "item", "event_type"]
"""The fields that every event has."""


class Reason(StrEnum):
    """Why a row was rejected."""

    NOT_TEXT = "not UTF-8 text"
    UNREADABLE = "not a row of this format"
    MISSING_FIELD = "a field is missing"
    WRONG_TYPE = "a field has the wrong type"
    TIME_OUT_OF_RANGE = "time outside 2000-01-01 to 2100-01-01"
    UNKNOWN_EVENT_TYPE = "unknown event type"
    INVALID_AMOUNT = "price or quantity of an order is not valid"
    DUPLICATE = "duplicate of another event"
    UNUSED_EVENT_TYPE = "an event type that is not used"


DELIBERATE = frozenset({Reason.UNUSED_EVENT_TYPE})
"""Reasons that are no defect of the data; they do not count towards the rejected share."""


@dataclass(frozen=True, slots=True)
class ParseError:
    """A line that cannot be parsed as a row, and why.

    Attributes:
        position: Its line, from 1.
        reason: Why it is rejected, unless its event type is not used.
        content: The line.
        field: The column that the reason is about; None if it is the whole line.
        event_type: The event type as the file spells it; None if unknown.
    """

    position: int
    reason: Reason
    content: str
    field: str | None = None
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class RawRows:
    """A piece of a file, as its adapter reads it.

    Attributes:
        source: Name of the file.
        positions: Line of each row of ``frame``, from 1.
        frame: Columns session (the user, if the data has no sessions), ts, item and event_type as
            the file spells it; null or empty where the file has no value. With prices also price,
            quantity and currency, as numbers or strings.
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
        columns: The file's name of each field, where it differs.
    """

    path: Path
    tasks: Callable[[], Iterator[Task]]
    event_types: Mapping[str, EventType | None]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


def validate_rows(
    rows: RawRows,
    event_types: Mapping[str, EventType | None],
    columns: Mapping[str, str] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate valid events from rejected rows; every row is in exactly one of the two.

    Rows whose event type is unknown or not used are rejected as such, whatever else they lack.

    Args:
        rows: The rows.
        event_types: The event type of each word; None for a word that is not used.
        columns: The file's name of each field, where it differs.

    Returns:
        Events with columns session, ts, item and event_type (with prices also revenue and currency),
        in the order of ``rows``; and the rejected rows as :data:`REJECTED`.
    """
    used = {word: event_type for word, event_type in event_types.items() if event_type}
    word = pl.col("event_type").cast(pl.Enum(list(used)), strict=False)
    meanings = pl.Series(used.values(), dtype=EVENT_TYPE)
    event_type = pl.lit(meanings).gather(word.to_physical())
    rejected = [_parse_errors(rows, event_types)]
    events, faults = rows.frame, list[tuple[str, pl.Expr]]()
    if "price" in events.columns:
        faults = amount_faults(events, event_type == EventType.ORDER.value)
    bad = pl.any_horizontal(
        _missing(), word.is_null(), ~_in_range(), *(condition for _, condition in faults)
    )
    if faults or not _all_valid(events, word):
        rejected.append(_rejected(rows, bad, event_types, faults, columns or {}))
        events = events.filter(~bad)
    if "price" in events.columns:
        events = events.with_columns(revenue=revenue_of(events, event_type))
    names = [*FIELDS, *(name for name in ("revenue", "currency") if name in events.columns)]
    events = events.with_columns(event_type=event_type).select(names)
    return events, REJECTED.validate(pl.concat(rejected))


def _all_valid(events: pl.DataFrame, word: pl.Expr) -> bool:
    """Whether every row is valid, from aggregates only: the fast path for most pieces."""
    strings = pl.selectors.string() & pl.selectors.by_name("session", "item")
    totals = events.select(
        pl.sum_horizontal(pl.col(FIELDS).null_count()).alias("nulls"),
        word.null_count().alias("unknown"),
        pl.sum_horizontal(pl.lit(0), (strings == "").sum()).alias("empty"),
        pl.col("ts").min().alias("first"),
        pl.col("ts").max().alias("last"),
    ).row(0, named=True)
    if not events.height:
        return True
    in_range = (totals["first"] or 0) >= EARLIEST_TS and (totals["last"] or 0) < LATEST_TS
    return in_range and not totals["nulls"] + totals["unknown"] + totals["empty"]


def _rejected(
    rows: RawRows,
    bad: pl.Expr,
    event_types: Mapping[str, EventType | None],
    faults: list[tuple[str, pl.Expr]],
    columns: Mapping[str, str],
) -> pl.DataFrame:
    """The bad rows as :data:`REJECTED`, each with the first reason that applies."""
    unused = [word for word, event_type in event_types.items() if event_type is None]
    word = pl.col("event_type").cast(pl.String)
    unknown = ~word.is_in([*event_types, ""])
    rules = [
        (Reason.UNUSED_EVENT_TYPE, "event_type", word.is_in(unused)),
        (Reason.UNKNOWN_EVENT_TYPE, "event_type", unknown),
        *((Reason.MISSING_FIELD, name, _is_missing(name, rows.frame)) for name in FIELDS),
        (Reason.TIME_OUT_OF_RANGE, "ts", ~_in_range()),
        *((Reason.INVALID_AMOUNT, name, condition) for name, condition in faults),
    ]
    reason = about = pl.lit(None, dtype=pl.String)
    for rule, name, condition in reversed(rules):
        reason = pl.when(condition).then(pl.lit(rule.value)).otherwise(reason)
        about = pl.when(condition).then(pl.lit(_name(name, columns))).otherwise(about)
    content = pl.concat_str(pl.exclude("position").cast(pl.String).fill_null(""), separator=",")
    return (
        rows.frame.with_columns(position=pl.Series(rows.positions))
        .filter(bad)
        .select(
            source=pl.lit(rows.source),
            position="position",
            reason=reason,
            field=about,
            content=content.str.head(CONTENT_LIMIT),
        )
    )


def _name(field: str, columns: Mapping[str, str]) -> str:
    return columns.get(field, field)


def _missing() -> pl.Expr:
    """Whether a field is null or an empty string."""
    strings = pl.selectors.string() & pl.selectors.by_name(*FIELDS)
    return pl.any_horizontal(pl.col(FIELDS).is_null(), strings == "")


def _is_missing(name: str, frame: pl.DataFrame) -> pl.Expr:
    column = pl.col(name)
    is_text = isinstance(frame.schema[name], pl.String)
    return column.is_null() | (column == "") if is_text else column.is_null()


def _in_range() -> pl.Expr:
    return pl.col("ts").is_between(EARLIEST_TS, LATEST_TS, closed="left")


def _parse_errors(rows: RawRows, event_types: Mapping[str, EventType | None]) -> pl.DataFrame:
    unused = {word for word, event_type in event_types.items() if event_type is None}
    return pl.DataFrame(
        [
            (rows.source, line.position, *_verdict(line, unused), line.content[:CONTENT_LIMIT])
            for line in rows.errors
        ],
        schema=REJECTED.schema,
        orient="row",
    )


def _verdict(line: ParseError, unused: Collection[str]) -> tuple[str, str | None]:
    """Reason and field of a line that is not a row."""
    if line.event_type in unused:
        return Reason.UNUSED_EVENT_TYPE.value, None
    return line.reason.value, line.field

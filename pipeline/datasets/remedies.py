"""What to set when rows of the raw data are rejected, from the reasons and the rows themselves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS
from pipeline.datasets.formats.column_mapping import UNIT_MS, names_of
from pipeline.datasets.raw_rows import FIELDS, Reason
from pipeline.study import DatasetConfig, GenericLayout, IdType

CONTENT_SHOWN = 100
"""Characters of a rejected row that a message shows."""

_NAMED = 5
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+(?P<zone>Z|[+-][0-9:]+)?")
_SECONDS = re.compile(r"(?<![0-9.])[0-9]{9,10}[.][0-9]+(?![0-9.])")
_TOO_LARGE_FOR_SECONDS = 1 << 62
"""Milliseconds; nanoseconds that were read as seconds have been clipped at twice as many."""


@dataclass(slots=True)
class Kind:
    """Rejected rows of one reason about one field.

    Attributes:
        reason: The reason.
        field: The file's columns it is about; None for the whole row.
        source: File of the first such row.
        position: Its line; None if unknown.
        content: The row.
        rows: Number of such rows.
    """

    reason: Reason
    field: str | None
    source: str
    position: int | None
    content: str
    rows: int = 0

    def __str__(self) -> str:
        """Reason, field, count, first place, and what was found there."""
        return f"{self.label}: {self.rows:,}, first in {self.place}"

    @property
    def place(self) -> str:
        """Where the first such row is, and its content."""
        line = self.source if self.position is None else f"{self.source} line {self.position}"
        content = self.content[:CONTENT_SHOWN]
        return f"{line}: {content!r}{'…' if len(self.content) > CONTENT_SHOWN else ''}"

    @property
    def label(self) -> str:
        """Reason and field."""
        return f"{self.reason.value} ({self.field})" if self.field else self.reason.value


def remedies(kinds: Sequence[Kind], rejected: pl.DataFrame, dataset: DatasetConfig) -> list[str]:
    """One sentence for each kind that has a remedy, in their order."""
    found = [_remedy(kind, _contents(kind, rejected), dataset) for kind in kinds]
    return list(dict.fromkeys(remedy for remedy in found if remedy))


def _contents(kind: Kind, rejected: pl.DataFrame) -> list[str]:
    same = (pl.col("reason") == kind.reason.value) & pl.col("field").eq_missing(kind.field)
    return rejected.filter(same)["content"].to_list() or [kind.content]


def _remedy(kind: Kind, contents: list[str], dataset: DatasetConfig) -> str | None:
    match kind.reason:
        case Reason.TIME_OUT_OF_RANGE:
            return _of_range(contents[0], dataset)
        case Reason.WRONG_TYPE:
            return _of_type(kind, dataset)
        case Reason.DUPLICATE:
            return (
                "If a file is there twice (such as 'events (1).csv'), remove the copy; if events may "
                "repeat within a millisecond, set dataset.duplicates: keep"
            )
        case Reason.INVALID_AMOUNT:
            return (
                f"An order's {kind.field} must be a decimal number with a point, without currency "
                "or separators (price at least 0, quantity an integer of at least 1)"
            )
        case _:
            return _of_generic(kind, contents) if dataset.generic is not None else None


def _of_generic(kind: Kind, contents: list[str]) -> str | None:
    match kind.reason:
        case Reason.MISSING_FIELD:
            return (
                f"If an event type has no {kind.field}, map it to null in "
                "dataset.generic.event_types"
            )
        case Reason.UNKNOWN_EVENT_TYPE:
            words = dict.fromkeys(_values(content).get("event_type", "") for content in contents)
            named = ", ".join(repr(word) for word in list(words)[:_NAMED])
            return f"Map {named} to click, cart, order or null in dataset.generic.event_types"
        case Reason.UNREADABLE:
            return _of_line(kind)
        case _:
            return None


def _of_line(kind: Kind) -> str:
    """What a line must be, by the name of its file."""
    if ".jsonl" in kind.source.lower() or ".ndjson" in kind.source.lower():
        return "A line must be one JSON object; convert an array or an indented file to such lines"
    return (
        "A row needs as many fields as the header: quote fields that contain the separator, close "
        "quotes, and check dataset.generic.separator"
    )


def _of_range(content: str, dataset: DatasetConfig) -> str | None:
    """The unit that the times seem to have."""
    text = _values(content).get("ts", "")
    declared = dataset.generic.time_unit if dataset.generic else "ms"
    if declared not in UNIT_MS or not re.fullmatch(r"-?[0-9]+", text):
        return None
    number = int(text) / UNIT_MS[declared]
    fits = [unit for unit, ms in UNIT_MS.items() if EARLIEST_TS <= number * ms < LATEST_TS]
    if declared == "s" and int(text) > _TOO_LARGE_FOR_SECONDS:
        fits = ["ns"]
    if not fits:
        return f"{text} is not a time in {_UNIT_NAMES[declared]} between 2000 and 2100"
    seems = f"The times look like {_UNIT_NAMES[fits[0]]}"
    if dataset.generic is not None:
        return f"{seems}: set dataset.generic.time_unit: {fits[0]}"
    return (
        f"{seems}, but dataset.format = {dataset.format} has {_UNIT_NAMES[declared]}: convert them, "
        f"or write one event per line and set dataset.format: generic with time_unit: {fits[0]}"
    )


def _of_type(kind: Kind, dataset: DatasetConfig) -> str | None:
    layout = dataset.generic
    if layout is None:
        return (
            f"dataset.format = {dataset.format} has integer ids and times; for ids that are text, or "
            "times in another unit, write one event per line and set dataset.format: generic"
            if kind.field
            else None
        )
    names = names_of(layout)
    if kind.field == names["ts"]:
        return _of_time(kind, layout)
    if layout.ids is IdType.INTEGER and kind.field in (*layout.session_columns, layout.item):
        return (
            f"{kind.field} is not always an integer without leading zeros: set "
            "dataset.generic.ids: text"
        )
    if kind.field in (*layout.session_columns, layout.item, layout.event_type):
        return f"{kind.field} must be text or an integer; 1965.0 is another id than 1965"
    return None


def _of_time(kind: Kind, layout: GenericLayout) -> str:
    """The unit that times of the wrong type seem to have."""
    found = _ISO.search(kind.content)
    if found is None and _SECONDS.search(kind.content):
        return "The times look like seconds: set dataset.generic.time_unit: s"
    if found is None:
        units = ", ".join([*UNIT_MS, "iso8601", "iso8601-utc", "iso8601-local"])
        return (
            f"{kind.field} is not a time with dataset.generic.time_unit: {layout.time_unit}; set "
            f"{units} or a strptime pattern"
        )
    unit = "iso8601" if found["zone"] else "iso8601-local"
    return f"The times look like {found[0]!r}: set dataset.generic.time_unit: {unit}"


def _values(content: str) -> dict[str, str]:
    """The fields of a row that was read, from its content; ids with commas are not separated."""
    return dict(zip(FIELDS, content.split(","), strict=False))

"""What an adapter makes of a raw file: rows that may be events, and rows that cannot be.

Adapters know formats; they do not judge. Whether a time is absurd or a row is a duplicate is
decided once for all formats in :mod:`pipeline.sessions.events`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import polars as pl

from pipeline.errors import DataError
from pipeline.schemas import EVENTS, REJECTED

_CONTENT_LIMIT = 200
_INT64_LIMIT = 2**63


class Reason(StrEnum):
    """Why a row was set aside."""

    NOT_TEXT = "not UTF-8 text"
    UNREADABLE = "not a row of this format"
    MISSING_FIELD = "a field is missing"
    WRONG_TYPE = "a field has the wrong type"
    TIME_OUT_OF_RANGE = "time outside 2000-01-01 to 2100-01-01"
    UNKNOWN_KIND = "unknown kind of event"
    DUPLICATE = "duplicate of another event"
    OTHER_KIND = "a kind of event this product does not use"


DELIBERATE = frozenset({Reason.OTHER_KIND})
"""Reasons that say nothing about the data's quality; they do not count as rejected share."""


@dataclass(slots=True)
class RawRows:
    """Collects an adapter's rows; each has its source file and its position there."""

    events: list[tuple[str, int, str, int, str, str]] = field(default_factory=list)
    rejected: list[tuple[str, int, str, str]] = field(default_factory=list)

    def add(  # noqa: PLR0913 - one argument a column, named by the caller
        self, source: str, position: int, *, session: str, ts: int, item: str, kind: str
    ) -> None:
        """Keep a row that is complete and well typed."""
        bounded = max(-_INT64_LIMIT, min(ts, _INT64_LIMIT - 1))
        self.events.append((source, position, session, bounded, item, kind))

    def reject(self, source: str, position: int, *, reason: Reason, content: str) -> None:
        """Set a row aside."""
        self.rejected.append((source, position, reason.value, content[:_CONTENT_LIMIT]))

    def event_frame(self) -> pl.DataFrame:
        """The kept rows with the columns of a rejection's place in front of an event's."""
        schema = {"source": pl.String, "position": pl.Int64, **EVENTS.columns}
        return pl.DataFrame(self.events, schema=schema, orient="row")

    def rejected_frame(self) -> pl.DataFrame:
        """The rows set aside so far."""
        return pl.DataFrame(self.rejected, schema=REJECTED.columns, orient="row")


def text_lines(path: Path, rows: RawRows) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of every non-blank line; set lines aside that are no text.

    Raises:
        DataError: if the file cannot be opened.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise DataError(msg) from error
    with stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError:
                rows.reject(path.name, number, reason=Reason.NOT_TEXT, content=repr(line))
                continue
            if text.strip():
                yield number, text

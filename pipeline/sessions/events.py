"""From raw rows to canonical events; what is set aside is counted under a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import polars as pl

from pipeline.errors import DataError
from pipeline.schemas import EARLIEST_TS, EVENTS, LATEST_TS, REJECTED
from pipeline.sessions.jdata import read_jdata
from pipeline.sessions.otto import read_otto
from pipeline.sessions.raw import DELIBERATE, RawRows, Reason
from pipeline.study import DatasetFormat


@dataclass(frozen=True, slots=True)
class PreparedEvents:
    """Canonical events, sorted by session and time, and the rows that were set aside."""

    events: pl.DataFrame
    rejected: pl.DataFrame

    def summary(self) -> dict[str, Any]:
        """Counts of events by kind and of rejected rows by reason."""
        kinds = self.events.group_by("kind").len().sort("kind")
        reasons = self.rejected.group_by("reason").len().sort("len", "reason", descending=True)
        return {
            "events": self.events.height,
            "sessions": self.events["session"].n_unique(),
            "items": self.events["item"].n_unique(),
            "kinds": dict(kinds.iter_rows()),
            "rejected": self.rejected.height,
            "rejected_by_reason": dict(reasons.iter_rows()),
        }


def read_events(
    path: Path, dataset_format: DatasetFormat, *, max_rejected_share: float
) -> PreparedEvents:
    """Read raw data of a named format into canonical events.

    Raises:
        DataError: if nothing is usable or the rejected share exceeds ``max_rejected_share``.
    """
    prepared = accept(_adapter(dataset_format)(path))
    _check_share(prepared, path, max_rejected_share)
    return prepared


def accept(rows: RawRows) -> PreparedEvents:
    """Sort an adapter's rows into events and rejections; every row ends in exactly one."""
    raw = rows.event_frame()
    in_range = pl.col("ts").is_between(EARLIEST_TS, LATEST_TS, closed="left")
    duplicate = ~pl.struct(list(EVENTS.columns)).is_first_distinct()
    reason = (
        pl.when(~in_range)
        .then(pl.lit(Reason.TIME_OUT_OF_RANGE.value))
        .when(duplicate)
        .then(pl.lit(Reason.DUPLICATE.value))
    )
    judged = raw.with_columns(reason=reason)
    refused = judged.filter(pl.col("reason").is_not_null()).select(
        "source", "position", "reason", content=pl.concat_str(list(EVENTS.columns), separator=",")
    )
    events = (
        judged.filter(pl.col("reason").is_null())
        .select(list(EVENTS.columns))
        .sort("session", "ts", maintain_order=True)
    )
    return PreparedEvents(
        events=EVENTS.check(events),
        rejected=REJECTED.check(pl.concat([rows.rejected_frame(), refused])),
    )


def _adapter(dataset_format: DatasetFormat) -> Callable[[Path], RawRows]:
    match dataset_format:
        case DatasetFormat.OTTO:
            return read_otto
        case DatasetFormat.JDATA:
            return read_jdata
        case _:
            assert_never(dataset_format)


def _check_share(prepared: PreparedEvents, path: Path, limit: float) -> None:
    deliberate = [reason.value for reason in DELIBERATE]
    faulty = prepared.rejected.filter(~pl.col("reason").is_in(deliberate))
    total = prepared.events.height + faulty.height
    if not prepared.events.height:
        msg = f"{path} holds no usable event ({_reasons(faulty)}); is dataset.format right?"
        raise DataError(msg)
    if faulty.height > limit * total:
        msg = (
            f"{path}: {faulty.height} of {total} rows are unusable ({_reasons(faulty)}); at most "
            f"{limit:.1%} are accepted. Repair the data, or raise sessions.max_rejected_share"
        )
        raise DataError(msg)


def _reasons(faulty: pl.DataFrame) -> str:
    """The reasons with their counts and the first place of each."""
    firsts = (
        faulty.group_by("reason")
        .agg(pl.len(), pl.col("source").first(), pl.col("position").first())
        .sort("len", "reason", descending=True)
    )
    texts = [
        f"{reason}: {count}, first in {source} line {position}"
        for reason, count, source, position in firsts.iter_rows()
    ]
    return "; ".join(texts) or "no rows at all"

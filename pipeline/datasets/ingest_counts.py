"""Counts of ingested and rejected rows, and the limits they must keep."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import EVENT_TYPE, EventType
from pipeline.core.errors import DataError
from pipeline.datasets.raw_rows import DELIBERATE, Reason
from pipeline.datasets.session_runs import run_starts
from pipeline.study import Expected

_EARLY_ROWS = 10_000
_EARLY_REJECTED_SHARE = 0.5
"""If more than this share of the rows read so far is rejected, ingestion stops early."""


@dataclass(slots=True)
class IngestCounts:
    """Counts of a raw data set while it is ingested.

    Attributes:
        dataset: Its path, for messages.
        max_rejected_share: Largest accepted share of rejected rows.
        reasons: Rejected rows by reason.
        first: Where each reason occurred first.
        read: Events by type, duplicates included.
        event_types: Events by type, as written.
        files: Events of each file, duplicates included.
        events: Events, as written.
        sessions: Their sessions.
        first_ts: Time of the earliest one; None without events.
        last_ts: Time of the latest one.
    """

    dataset: str
    max_rejected_share: float
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)
    event_types: Counter[str] = field(default_factory=Counter)
    files: dict[str, int] = field(default_factory=dict)
    events: int = 0
    sessions: int = 0
    first_ts: int | None = None
    last_ts: int | None = None

    def count_read(self, source: str, events: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Count a piece of a file.

        Raises:
            DataError: if too many of the rows read so far are rejected to go on.
        """
        self.files[source] = self.files.get(source, 0) + events.height
        self.read.update(_by_type(events))
        self.count_rejected(rejected)
        faulty, total = self._faulty(), self._faulty() + sum(self.files.values())
        if (
            total >= _EARLY_ROWS
            and faulty > max(self.max_rejected_share, _EARLY_REJECTED_SHARE) * total
        ):
            self._refuse(f"{faulty} of the first {total}")

    def count_rejected(self, rejected: pl.DataFrame) -> None:
        """Count rejected rows."""
        for reason, n, source, position in (
            rejected.group_by("reason", maintain_order=True)
            .agg(pl.len(), pl.col("source").first(), pl.col("position").first())
            .iter_rows()
        ):
            place = source if position is None else f"{source} line {position}"
            self.first.setdefault(reason, place)
            self.reasons[reason] += n

    def count_written(self, events: pl.DataFrame) -> None:
        """Count events of whole sessions."""
        if not events.height:
            return
        ts = events["ts"]
        self.events += events.height
        self.sessions += int(run_starts(events["session"]).sum())
        ends = [ts.min(), ts.max(), self.first_ts, self.last_ts]
        times = [int(time) for time in ends if isinstance(time, int)]
        self.first_ts, self.last_ts = min(times), max(times)
        self.event_types.update(_by_type(events))

    def check(self) -> None:
        """Check the counts of the whole data set.

        Raises:
            DataError: if there is no event, or the rejected share exceeds the limit.
        """
        faulty = self._faulty()
        if not self.events:
            msg = (
                f"{self.dataset} has no usable event ({self._reasons()}); is dataset.format right?"
            )
            raise DataError(msg)
        total = self.events + faulty
        if faulty > self.max_rejected_share * total:
            self._refuse(f"{faulty} of {total}")

    def check_expected(self, expected: Expected) -> None:
        """Compare the counts with those of ``dataset.expected``.

        Raises:
            DataError: naming those that differ.
        """
        got = {
            "rows": sum(self.files.values())
            + self.reasons.total()
            - self.reasons[Reason.DUPLICATE],
            "sessions": self.sessions,
            **{f"{event_type}s": self.read[event_type.value] for event_type in EventType},
        }
        wanted = asdict(expected)
        differ = [
            f"{name}: expected {wanted[name]}, got {number}"
            for name, number in got.items()
            if wanted[name] is not None and wanted[name] != number
        ]
        if differ:
            msg = (
                f"{self.dataset} differs from dataset.expected: {'; '.join(differ)}. Check that the "
                "download is complete, or correct dataset.expected"
            )
            raise DataError(msg)

    def summary(self) -> dict[str, Any]:
        """The counts as a JSON object."""
        return {
            "events": self.events,
            "sessions": self.sessions,
            "event_types": {one.value: self.event_types[one] for one in EventType},
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "files": self.files,
            "rejected": self.reasons.total(),
            "rejected_by_reason": dict(self._by_size()),
        }

    def _by_size(self) -> list[tuple[str, int]]:
        """The reasons with their counts, most frequent first, ties by name."""
        return sorted(self.reasons.items(), key=lambda entry: (-entry[1], entry[0]))

    def _faulty(self) -> int:
        return sum(n for reason, n in self.reasons.items() if Reason(reason) not in DELIBERATE)

    def _refuse(self, share: str) -> None:
        msg = (
            f"{self.dataset}: {share} rows are rejected ({self._reasons()}); at most "
            f"{self.max_rejected_share:.1%} are accepted. Fix the data, correct dataset.format, "
            "or raise sessions.max_rejected_share"
        )
        raise DataError(msg)

    def _reasons(self) -> str:
        """The reasons that count, each with its count and where it occurred first."""
        texts = [
            f"{reason}: {n}, first in {self.first[reason]}"
            for reason, n in self._by_size()
            if Reason(reason) not in DELIBERATE
        ]
        return "; ".join(texts) or "no rows at all"


def _by_type(events: pl.DataFrame) -> dict[str, int]:
    counts = np.bincount(events["event_type"].to_physical().to_numpy(), minlength=len(EventType))
    return dict(zip(EVENT_TYPE.categories.to_list(), counts.tolist(), strict=True))

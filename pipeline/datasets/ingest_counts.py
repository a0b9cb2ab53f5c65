"""Counts of ingested and rejected rows, and the limits they must keep."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import EVENT_TYPE, REJECTED, EventType
from pipeline.core.errors import DataError
from pipeline.core.labels import counted
from pipeline.datasets.raw_rows import DELIBERATE, Reason
from pipeline.datasets.remedies import Kind, remedies
from pipeline.datasets.revenue import PER_UNIT
from pipeline.datasets.session_runs import run_starts
from pipeline.study import DatasetConfig, Expected

_DELIBERATE = [reason.value for reason in DELIBERATE]
_EARLY_ROWS = 10_000
_EARLY_REJECTED_SHARE = 0.5
"""If more than this share of the rows read so far is rejected, ingestion stops early."""

_COPY_SHARE = 0.9
"""A file with more duplicates than this share of its events is a copy."""

_KEPT_ROWS = 10_000
"""Rejected rows that a refusal shows."""


class RefusedDataError(DataError):
    """Too many rows are rejected, or none is usable.

    Attributes:
        rejected: The first rejected rows that count as faults, as
            :data:`pipeline.core.contracts.REJECTED`.
    """

    def __init__(self, message: str, rejected: pl.DataFrame) -> None:
        super().__init__(message)
        self.rejected = rejected


@dataclass(slots=True)
class IngestCounts:
    """Counts of a raw data set while it is ingested.

    Attributes:
        dataset: Its path, for messages.
        max_rejected_share: Largest accepted share of rejected rows.
        config: Its format and columns, for the remedies in messages; None for none.
        kinds: Rejected rows by reason and field.
        faulty_rows: The first rejected rows that count as faults.
        foreign: What each file is that is not text, and what to do.
        read: Events by type, duplicates included.
        event_types: Events by type, as written.
        files: Events of each file, duplicates included.
        duplicates: Duplicates of each file.
        events: Events, as written.
        sessions: Their sessions.
        first_ts: Time of the earliest one; None without events.
        last_ts: Time of the latest one.
        revenue: Revenue of the orders, in :data:`pipeline.datasets.revenue.PER_UNIT`; None if the log
            has no prices.
        unpriced_orders: Orders without a price.
        currencies: Orders by currency, duplicates included.
    """

    dataset: str
    max_rejected_share: float
    config: DatasetConfig | None = None
    kinds: dict[tuple[str, str | None], Kind] = field(default_factory=dict)
    faulty_rows: list[pl.DataFrame] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    foreign: Mapping[str, str] = field(default_factory=dict[str, str])
    event_types: Counter[str] = field(default_factory=Counter)
    files: dict[str, int] = field(default_factory=dict)
    duplicates: Counter[str] = field(default_factory=Counter)
    events: int = 0
    sessions: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    revenue: int | None = None
    unpriced_orders: int = 0
    currencies: Counter[str] = field(default_factory=Counter)

    @property
    def reasons(self) -> Counter[str]:
        """Rejected rows by reason."""
        found: Counter[str] = Counter()
        for (reason, _), kind in self.kinds.items():
            found[reason] += kind.rows
        return found

    def count_read(self, source: str, events: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Count a piece of a file.

        Raises:
            DataError: if too many of the rows read so far are rejected to go on.
        """
        self.files[source] = self.files.get(source, 0) + events.height
        self.read.update(_by_type(events))
        if "currency" in events.columns:
            orders = events.filter(pl.col("event_type") == EventType.ORDER.value)["currency"]
            self.currencies.update(orders.drop_nulls().cast(pl.String).to_list())
        self.count_rejected(rejected)
        faulty, total = self._faulty(), self._faulty() + sum(self.files.values())
        if (
            total >= _EARLY_ROWS
            and faulty > max(self.max_rejected_share, _EARLY_REJECTED_SHARE) * total
        ):
            self._refuse(f"{faulty} of the first {total}")

    def count_rejected(self, rejected: pl.DataFrame) -> None:
        """Count rejected rows."""
        for reason, column, n, *example in (
            rejected.group_by("reason", "field", maintain_order=True)
            .agg(pl.len(), *(pl.col(name).first() for name in ("source", "position", "content")))
            .iter_rows()
        ):
            kind = self.kinds.setdefault((reason, column), Kind(Reason(reason), column, *example))
            kind.rows += n
        repeated = rejected.filter(pl.col("reason") == Reason.DUPLICATE.value)["source"]
        self.duplicates.update(repeated.to_list())
        kept = sum(frame.height for frame in self.faulty_rows)
        if kept < _KEPT_ROWS:
            faulty = rejected.filter(~pl.col("reason").is_in(_DELIBERATE))
            if faulty.height:  # a large log has thousands of pieces, nearly all without any
                self.faulty_rows.append(faulty.head(_KEPT_ROWS - kept))

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
        if "revenue" in events.columns:
            orders = events.filter(pl.col("event_type") == EventType.ORDER.value)["revenue"]
            self.revenue = (self.revenue or 0) + int(orders.cast(pl.Int128).sum() or 0)
            self.unpriced_orders += orders.null_count()

    def check(self) -> None:
        """Check the counts of the whole data set.

        Raises:
            DataError: if there is no event, or the rejected share exceeds the limit.
        """
        faulty = self._faulty()
        if not self.events:
            msg = (
                f"{self.dataset} has no usable event ({self._reasons()}).{self._remedies()} Check "
                "dataset.format"
            )
            raise RefusedDataError(msg, self.rejected_rows())
        total = self.events + faulty
        if faulty > self.max_rejected_share * total:
            self._refuse(f"{faulty} of {total}")
        if len(self.currencies) > 1:
            orders = ", ".join(f"{name}: {n:,}" for name, n in self.currencies.most_common(5))
            msg = (
                f"{self.dataset} has orders in {len(self.currencies)} currencies ({orders}), whose "
                "revenue cannot be added; convert the prices to one currency, or remove "
                "dataset.generic.price"
            )
            raise DataError(msg)

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
            "rejected_by_reason": dict(
                sorted(self.reasons.items(), key=lambda entry: (-entry[1], entry[0]))
            ),
            **self._revenue(),
        }

    def _revenue(self) -> dict[str, Any]:
        if self.revenue is None:
            return {}
        return {
            "revenue": self.revenue / PER_UNIT,
            "currency": next(iter(self.currencies), None),
            "orders_without_price": self.unpriced_orders,
        }

    def by_size(self) -> list[Kind]:
        """The kinds of rejected rows, most frequent first, ties by reason and field."""
        return sorted(
            self.kinds.values(), key=lambda kind: (-kind.rows, kind.reason, kind.field or "")
        )

    def rejected_rows(self) -> pl.DataFrame:
        """The first rejected rows that count as faults."""
        return pl.concat([pl.DataFrame(schema=REJECTED.schema), *self.faulty_rows])

    def _faulty(self) -> int:
        return sum(n for reason, n in self.reasons.items() if Reason(reason) not in DELIBERATE)

    def _refuse(self, share: str) -> None:
        msg = (
            f"{self.dataset}: {share} rows are rejected ({self._reasons()}); at most "
            f"{self.max_rejected_share:.1%} are accepted.{self._remedies()} Fix the data, correct "
            "dataset.format, or raise sessions.max_rejected_share"
        )
        raise RefusedDataError(msg, self.rejected_rows())

    def _reasons(self) -> str:
        """The reasons that count, each with its count and where it occurred first."""
        texts = [str(kind) for kind in self.by_size() if kind.reason not in DELIBERATE]
        if not texts and self.reasons:
            return f"{counted(self.reasons.total(), 'row')}, all of event types that are not used"
        return "; ".join(texts) or "no rows at all"

    def _remedies(self) -> str:
        """What to set, from the rows that were rejected."""
        faults = [kind for kind in self.by_size() if kind.reason not in DELIBERATE]
        found = remedies(faults, self.rejected_rows(), self.config) if self.config else []
        foreign = [f"{file}: {what}" for file, what in self.foreign.items()]
        copies = [f"{file} repeats other files: remove the copy" for file in self._copies()]
        return "".join(f" {remedy}." for remedy in (*foreign, *copies, *found))

    def _copies(self) -> list[str]:
        """Files whose events nearly all repeat those of other files."""
        return [
            file
            for file, n in self.duplicates.items()
            if len(self.files) > 1 and n > _COPY_SHARE * self.files[file]
        ]


def _by_type(events: pl.DataFrame) -> dict[str, int]:
    counts = np.bincount(events["event_type"].to_physical().to_numpy(), minlength=len(EventType))
    return dict(zip(EVENT_TYPE.categories.to_list(), counts.tolist(), strict=True))

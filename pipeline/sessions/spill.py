"""Labelled clicks of whole sessions, in pieces that are kept in memory or spilled to disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.contracts import EVENT_TYPE, EventType
from pipeline.datasets.session_runs import run_starts, run_sums
from pipeline.sessions.item_index import ItemIndex
from pipeline.sessions.order_labels import has_followup_event
from pipeline.sessions.rules import Rules
from pipeline.sessions.temporal_split import Cuts, in_start_split
from pipeline.study import BoundaryPolicy

_BYTES_IN_MEMORY = 512 << 20


@dataclass(frozen=True, slots=True)
class SpilledSessions:
    """A piece of the sessions.

    Attributes:
        sessions: One row per session: session, first_ts and last_ts (of any event), in_test_file
            and clicks (their number).
        clicks: One row per click, in the order of the sessions: code (of the item), ts, ordered
            and carted.
    """

    sessions: pl.DataFrame
    clicks: pl.DataFrame

    @property
    def number(self) -> NDArray[np.int64]:
        """The row of ``sessions`` of each click."""
        return np.repeat(np.arange(self.sessions.height), self.sessions["clicks"].to_numpy())

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number of chosen clicks of each session."""
        return run_sums(chosen, self.sessions["clicks"].to_numpy())

    def span(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Times of the first and last chosen click of each session; 0 without one."""
        number, ts = self.number[chosen], self.clicks["ts"].to_numpy()[chosen]
        first, last = np.zeros((2, self.sessions.height), dtype=np.int64)
        first[number[::-1]], last[number] = ts[::-1], ts  # the last write of a session wins
        return first, last


class SpillBuffer:
    """Keeps pieces in their order; beyond a memory limit they are spilled to disk."""

    def __init__(self, folder: Path) -> None:
        """Start empty; files go into ``folder``, which the caller removes."""
        self._folder = folder
        self._pieces: list[Callable[[], SpilledSessions]] = []
        self._held_bytes = 0

    def add(self, staged: SpilledSessions) -> None:
        """Add a piece."""
        size = staged.sessions.estimated_size() + staged.clicks.estimated_size()
        if self._held_bytes + size <= _BYTES_IN_MEMORY:
            self._held_bytes += int(size)
            self._pieces.append(lambda: staged)
            return
        self._folder.mkdir(exist_ok=True)
        files = [self._folder / f"{len(self._pieces)}-{name}.arrow" for name in ("s", "c")]
        staged.sessions.write_ipc(files[0])
        staged.clicks.write_ipc(files[1])
        self._pieces.append(lambda: SpilledSessions(*(pl.read_ipc(file) for file in files)))

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._pieces)

    def __iter__(self) -> Iterator[Callable[[], SpilledSessions]]:
        """A function per piece that returns it."""
        return iter(self._pieces)


def label_sessions(
    events: pl.DataFrame, items: ItemIndex, rules: Rules, cuts: Cuts | None, test_files: list[int]
) -> SpilledSessions:
    """Label the clicks of whole sessions.

    Args:
        events: Events of whole sessions in the order of ``events.parquet``, at least one.
        items: The codes of items.
        rules: Whether boundary sessions are trimmed, and what counts as ordered.
        cuts: The split boundaries, where sessions are trimmed.
        test_files: Numbers of the files whose sessions are the test split.
    """
    session = events["session"]
    new = run_starts(session).to_numpy()
    starts, number = np.flatnonzero(new), np.cumsum(new) - 1
    if rules.boundary_sessions is BoundaryPolicy.TRIM and cuts is not None:
        start = events["ts"].to_numpy()[starts][number]
        within = in_start_split(events["ts"].to_numpy(), start, cuts)
        if not within.all():
            return label_sessions(events.filter(within), items, rules, None, test_files)
    ts = events["ts"].to_numpy()
    click, cart, order = (
        (events["event_type"] == event_type.value).to_numpy()
        for event_type in (EventType.CLICK, EventType.CART, EventType.ORDER)
    )
    code = items.code(events["item"])
    follows = partial(has_followup_event, item=code, session=number, ts=ts)
    ordered, carted = follows(order, within_ms=rules.order_window_ms), follows(cart)
    last = np.append(starts[1:], len(events)) - 1
    clicks = np.add.reduceat(click, starts, dtype=np.int64)
    return SpilledSessions(
        sessions=pl.DataFrame(
            {
                "session": session.gather(starts),
                "first_ts": ts[starts],
                "last_ts": ts[last],
                "in_test_file": np.isin(events["file"].to_numpy()[starts], test_files),
                "clicks": clicks,
            }
        ),
        clicks=pl.DataFrame(
            {
                "code": code[click],
                "ts": ts[click],
                "ordered": ordered[click],
                "carted": carted[click],
            }
        ),
    )


def iter_session_chunks(events: pq.ParquetFile) -> Iterator[pl.DataFrame]:
    """The events in pieces of whole sessions."""
    rest: pl.DataFrame | None = None
    for group in range(events.num_row_groups):
        table = pl.DataFrame(events.read_row_group(group)).with_columns(
            pl.col("event_type").cast(EVENT_TYPE)
        )
        frame = table if rest is None else pl.concat([rest, table])
        starts = run_starts(frame["session"]).arg_true()
        last = int(starts[-1]) if len(starts) else 0
        if last:
            yield frame[:last]
        rest = frame[last:]
    if rest is not None and rest.height:
        yield rest

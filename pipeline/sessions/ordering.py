"""Events in the order of their sessions' hashes, by partitions that fit in memory.

A partition is a range of the hash, so the partitions, one after another, are the same events in the
same order whatever their number is. Inside a session events are in order of time, and at one time
in the order of the files.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandas.util import hash_array

from pipeline.schemas import EVENTS
from pipeline.sessions.runs import begins

Ints = NDArray[np.int64]


def hash_of(sessions: pl.Series) -> NDArray[np.uint64]:
    """A 64-bit hash of each name, the same on every machine."""
    return hash_array(sessions.to_numpy(), categorize=False)  # pyright: ignore[reportCallIssue]


def order_by_hash(sessions: pl.Series) -> tuple[Ints, NDArray[np.uint64], Ints]:
    """How rows must be taken so that sessions stand together, by hash, then by name.

    Rows of a session keep their order. A hash may be shared, but only by names that are texts.

    Returns:
        The rows in their new order; and of each run of one session, its hash and where it ends.
    """
    starts = begins(sessions).arg_true().to_numpy().astype(np.int64)
    names = sessions.gather(starts)
    hashes = hash_of(names)
    order = np.argsort(hashes, kind="stable")
    if names.dtype == pl.String and len(np.unique(hashes)) < names.n_unique():
        runs = pl.DataFrame({"hash": hashes, "name": names})
        by_both = pl.arg_sort_by("hash", "name", maintain_order=True)
        order = runs.select(by_both).to_series().to_numpy()
    lengths = np.diff(np.append(starts, len(sessions)))[order]
    ends = np.cumsum(lengths)
    rows = np.arange(len(sessions)) + np.repeat(starts[order] - (ends - lengths), lengths)
    return rows, hashes[order], ends


def by_time(events: pl.DataFrame) -> pl.DataFrame:
    """Events whose sessions stand together, each put in order of time; ties keep their order."""
    ts, new = events["ts"].to_numpy(), begins(events["session"]).to_numpy()
    number = np.cumsum(new)
    falls = np.flatnonzero((ts[1:] < ts[:-1]) & ~new[1:])
    if not len(falls):
        return events
    touched = np.flatnonzero(np.isin(number, number[falls]))
    rows = np.arange(len(events))
    rows[touched] = touched[np.lexsort((ts[touched], number[touched]))]
    return events[rows]


def repeated(events: pl.DataFrame) -> NDArray[np.bool_]:
    """Which rows say the same as an earlier one: session, time, item and kind; in order of time."""
    ts, new = events["ts"].to_numpy(), begins(events["session"]).to_numpy()
    tie = np.zeros(len(events), dtype=np.bool_)
    tie[1:] = (ts[1:] == ts[:-1]) & ~new[1:]
    tied = np.flatnonzero(tie | np.append(tie[1:], False))
    found = np.zeros(len(events), dtype=np.bool_)
    same = pl.struct("session", "ts", "item", "kind")
    found[tied] = events[tied].select(~same.is_first_distinct()).to_series().to_numpy()
    return found


class Partitions:
    """Collects events by range of their session's hash; what memory cannot hold waits on disk."""

    def __init__(self, number: int, folder: Path, *, memory_bytes: int) -> None:
        """``number`` ranges; files go into ``folder``, which the caller removes."""
        self.number = number
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._empty = pl.DataFrame(schema=EVENTS.schema)
        self._pieces: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._spills = 0

    def add(self, events: pl.DataFrame) -> None:
        """Keep one piece of a file; pieces come in the order of the files."""
        self._empty = events.clear()
        self._pieces.append(events)
        self._held_bytes += int(events.estimated_size())
        if self._held_bytes > self._memory_bytes:
            self._folder.mkdir(exist_ok=True)
            for number, part in enumerate(self._split()):
                part().write_ipc(self._file(self._spills, number))
            self._spills += 1

    def close(self) -> Iterator[Callable[[], pl.DataFrame]]:
        """No more pieces: what gives the events of each partition, to be called once each.

        A partition's sessions stand together in the order of their hash, rows of a session in the
        order they were added.
        """
        rest = self._split()
        for number in range(self.number):
            yield partial(self._take, number, rest[number])

    def _split(self) -> list[Callable[[], pl.DataFrame]]:
        """What gives the held events of each partition; they are no longer held."""
        events = pl.concat([self._empty, *self._pieces], rechunk=True)
        self._pieces, self._held_bytes = [], 0
        rows, hashes, ends = order_by_hash(events["session"])
        # A float64 cannot hold 2^64, hence integers of Python.
        bounds = [(n << 64) // self.number for n in range(1, self.number)]
        runs = np.searchsorted(hashes, np.array(bounds, dtype=np.uint64))
        cuts = [0, *np.append(0, ends)[runs].tolist(), len(rows)]
        return [partial(events.__getitem__, rows[a:b]) for a, b in pairwise(cuts)]

    def _take(self, number: int, rest: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        if not self._spills:
            return rest()
        files = [self._file(spill, number) for spill in range(self._spills)]
        events = pl.concat([*(pl.read_ipc(file) for file in files), rest()])
        for file in files:
            file.unlink()
        return events[order_by_hash(events["session"])[0]]

    def _file(self, spill: int, number: int) -> Path:
        return self._folder / f"{spill}-{number}.arrow"

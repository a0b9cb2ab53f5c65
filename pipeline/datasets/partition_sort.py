"""Events sorted by the hash of their session, in partitions that fit in memory.

A partition is a range of the hash, so the concatenated partitions are the same events in the same
order for any number of partitions. Events of a session are sorted by time, ties by the order of the
files.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import EVENTS
from pipeline.core.frame_contract import Contract
from pipeline.datasets.session_runs import run_starts

Ints = NDArray[np.int64]


def hash_of(sessions: pl.Series) -> NDArray[np.uint64]:
    """A 64-bit hash of each session id, the same on every machine."""
    from pandas.util import hash_array  # noqa: PLC0415 - half a second, which a refusal need not wait for

    return hash_array(sessions.to_numpy(), categorize=False)  # pyright: ignore[reportCallIssue]


class SessionRuns(NamedTuple):
    """Runs of consecutive rows of one session.

    Attributes:
        start: First row of each run.
        length: Rows of each run.
        hash: Hash of its session.
    """

    start: Ints
    length: Ints
    hash: NDArray[np.uint64]

    @classmethod
    def by_hash(cls, sessions: pl.Series) -> Self:
        """The runs sorted by hash, then by session id; runs of one session keep their order.

        Only string ids can share a hash.
        """
        starts = run_starts(sessions).arg_true().to_numpy().astype(np.int64)
        names = sessions.gather(starts)
        hashes = hash_of(names)
        order = np.argsort(hashes, kind="stable")
        if names.dtype == pl.String and len(np.unique(hashes)) < names.n_unique():
            runs = pl.DataFrame({"hash": hashes, "name": names})
            by_both = pl.arg_sort_by("hash", "name", maintain_order=True)
            order = runs.select(by_both).to_series().to_numpy()
        lengths = np.diff(np.append(starts, len(sessions)))
        return cls(starts[order], lengths[order], hashes[order])

    def between(self, first: int, last: int) -> "SessionRuns":
        """The runs from ``first`` to ``last``, exclusive."""
        return SessionRuns(self.start[first:last], self.length[first:last], self.hash[first:last])

    def take(self, events: pl.DataFrame) -> pl.DataFrame:
        """The rows of the runs, concatenated."""
        behind = np.cumsum(self.length)
        shift = np.repeat(self.start - (behind - self.length), self.length)
        return events[np.arange(len(shift)) + shift]


def sort_by_time(events: pl.DataFrame) -> pl.DataFrame:
    """Sort each session by time, ties in their order; rows of a session are consecutive."""
    ts, new = events["ts"].to_numpy(), run_starts(events["session"]).to_numpy()
    number = np.cumsum(new)
    falls = np.flatnonzero((ts[1:] < ts[:-1]) & ~new[1:])
    if not len(falls):
        return events
    touched = np.flatnonzero(np.isin(number, number[falls]))
    rows = np.arange(len(events))
    rows[touched] = touched[np.lexsort((ts[touched], number[touched]))]
    return events[rows]


def duplicate_mask(events: pl.DataFrame) -> NDArray[np.bool_]:
    """Which rows repeat an earlier one in everything but the file; sorted by time."""
    ts, new = events["ts"].to_numpy(), run_starts(events["session"]).to_numpy()
    tie = np.zeros(len(events), dtype=np.bool_)
    tie[1:] = (ts[1:] == ts[:-1]) & ~new[1:]
    tied = np.flatnonzero(tie | np.append(tie[1:], False))
    found = np.zeros(len(events), dtype=np.bool_)
    same = pl.struct(pl.exclude("file"))
    found[tied] = events[tied].select(~same.is_first_distinct()).to_series().to_numpy()
    return found


class Partitions:
    """Collects events by range of their session's hash; beyond a limit they spill to disk."""

    def __init__(
        self, number: int, folder: Path, *, memory_bytes: int, contract: Contract = EVENTS
    ) -> None:
        """Start with ``number`` empty ranges; files go into ``folder``, which the caller removes.

        Without a piece, the partitions have the columns of ``contract``.
        """
        self.number = number
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._empty = pl.DataFrame(schema=contract.schema)
        self._pieces: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._spills = 0

    def add(self, events: pl.DataFrame) -> None:
        """Add one piece of a file; pieces must come in the order of the files."""
        self._empty = events.clear()
        self._pieces.append(events)
        self._held_bytes += int(events.estimated_size())
        if self._held_bytes > self._memory_bytes:
            self._folder.mkdir(exist_ok=True)
            for number, part in enumerate(self._split()):
                part().write_ipc(self._file(self._spills, number))
            self._spills += 1

    def close(self) -> Iterator[Callable[[], pl.DataFrame]]:
        """After the last piece: a function per partition that returns its events, to be called once.

        Rows of a session are consecutive, sessions sorted by hash, rows in the order they were
        added.
        """
        rest = self._split()
        for number in range(self.number):
            yield partial(self._take, number, rest[number])

    def _split(self) -> list[Callable[[], pl.DataFrame]]:
        """A function per partition that returns its part of the events in memory, which are dropped."""
        events = pl.concat([self._empty, *self._pieces], rechunk=True)
        self._pieces, self._held_bytes = [], 0
        runs = SessionRuns.by_hash(events["session"])
        # A float64 cannot hold 2^64, hence integers of Python.
        bounds = [(n << 64) // self.number for n in range(1, self.number)]
        places = np.searchsorted(runs.hash, np.array(bounds, dtype=np.uint64)).tolist()
        cuts = pairwise([0, *places, len(runs.hash)])
        return [partial(runs.between(first, last).take, events) for first, last in cuts]

    def _take(self, number: int, rest: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        if not self._spills:
            return rest()
        files = [self._file(spill, number) for spill in range(self._spills)]
        events = pl.concat([*(pl.read_ipc(file) for file in files), rest()])
        for file in files:
            file.unlink()
        return SessionRuns.by_hash(events["session"]).take(events)

    def _file(self, spill: int, number: int) -> Path:
        return self._folder / f"{spill}-{number}.arrow"

"""From canonical events to the sessions a model is trained and tested on.

The steps: keep sessions with enough clicks; keep items with enough clicks; keep sessions that still
have enough; split by time; the catalogue is the items in train; drop clicks on other items from
validation and test, and the sessions that become too short. By default an item's clicks count in
train only, so nothing of the test period reaches train. Carts and orders only label clicks. What
each step drops is counted.

Events are read once, their labelled clicks (:mod:`pipeline.sessions.spill`) several times.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.progress import track
from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import ITEMS
from pipeline.datasets.io.thread_map import ordered_thread_map
from pipeline.sessions.item_index import ItemIndex
from pipeline.sessions.rules import Rules
from pipeline.sessions.select_sessions import Selection, select_sessions
from pipeline.sessions.spill import (
    SpillBuffer,
    SpilledSessions,
    iter_session_chunks,
    label_sessions,
)
from pipeline.sessions.store_writer import write_selections, write_summary
from pipeline.sessions.temporal_split import (
    CROSSING,
    SPLITS,
    Cuts,
    assign_split,
    cuts_of_events,
    cuts_of_kept,
    ranks_of_cuts,
)

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

_TRAIN, _VALIDATION, _TEST = range(len(SPLITS))


def write_sessions(events: Path, folder: Path, rules: Rules) -> dict[str, Any]:
    """Filter, split and label the events of the folder ``events`` into ``folder``, which exists.

    Writes ``sessions.parquet``, ``items.parquet``, ``tokens.safetensors`` and ``summary.json``. A
    split's sessions have the same order in the table and in the tokens.

    Returns:
        The summary: what each step dropped, and what is left.

    Raises:
        DataError: if a split or the catalogue is empty; the message has all counts.
    """
    summary = read_json(events / "summary.json")
    file = pq.ParquetFile(events / "events.parquet")
    work = _Preparation.of(file, summary, rules, folder / "stage")
    keep = work.well_supported()
    work.split(keep)
    catalogue, train_clicks = work.catalogue(keep)
    chosen = np.flatnonzero(catalogue >= 0)
    items = pl.DataFrame(
        {
            "index": catalogue[chosen],
            "item": work.items.item(chosen),
            "train_clicks": train_clicks[chosen],
        }
    ).sort("index")
    ITEMS.validate(items).write_parquet(folder / "items.parquet")
    counts = write_selections(work.selections(keep, catalogue), folder)
    shutil.rmtree(folder / "stage", ignore_errors=True)
    return write_summary(counts, len(items), rules, folder)


@dataclass(slots=True)
class _Preparation:
    """The labelled clicks of a data set, and the rules they are prepared by."""

    rules: Rules
    items: ItemIndex
    buffer: SpillBuffer
    cuts: Cuts | None

    @classmethod
    def of(
        cls, file: pq.ParquetFile, summary: dict[str, Any], rules: Rules, folder: Path
    ) -> "_Preparation":
        """Label the clicks of all sessions."""
        cuts = cuts_of_events(rules, first_ts=summary["first_ts"], last_ts=summary["last_ts"])
        test_files = rules.test_file_numbers(summary["files"])
        items, buffer = ItemIndex.of(file), SpillBuffer(folder)
        tasks = (
            partial(label_sessions, piece, items, rules, cuts, test_files)
            for piece in iter_session_chunks(file)
        )
        for labelled in track(
            ordered_thread_map(tasks),
            file.num_row_groups,
            "labelling sessions",
            unit="clicks",
            size=lambda labelled: labelled.clicks.height,
        ):
            buffer.add(labelled)
        work = cls(rules, items, buffer, cuts)
        by_days = rules.test_sessions is None
        return work if by_days else replace(work, cuts=work.cuts_by_sessions())

    def cuts_by_sessions(self) -> Cuts:
        """The split boundaries by the number of sessions that are long enough."""
        starts = [
            staged.sessions["first_ts"].to_numpy()[
                staged.sessions["clicks"].to_numpy() >= self.rules.min_length
            ]
            for staged in (piece() for piece in self.buffer)
        ]
        ordered = np.sort(np.concatenate(starts))
        return Cuts(*(int(ordered[rank]) for rank in ranks_of_cuts(len(ordered), self.rules)))

    def well_supported(self) -> Flags:
        """Which items have enough clicks, in sessions that are long enough."""
        keep: Flags | None = None
        while True:
            counts = self._item_counts(keep, in_train=self.rules.support_in_train)
            before, keep = keep, counts >= self.rules.min_support
            if not self.rules.iterated or (before is not None and (before == keep).all()):
                return keep

    def split(self, keep: Flags) -> None:
        """Compute the split boundaries, if they depend on the sessions that pass the filters."""
        if self.cuts is not None:
            return
        tasks = (partial(self._bounds, piece, keep) for piece in self.buffer)
        bounds = [times for times in ordered_thread_map(tasks) if times is not None]
        if not bounds:
            return
        starts, last_starts, last_ends = zip(*bounds, strict=True)
        self.cuts = cuts_of_kept(
            self.rules, start=min(starts), last_start=max(last_starts), last_end=max(last_ends)
        )

    def catalogue(self, keep: Flags) -> tuple[NDArray[np.int32], Ints]:
        """The catalogue index of every item code, -1 outside it, and its clicks in train.

        The item with the most clicks has index 0; ties are in the order of ids.
        """
        clicks = self._item_counts(keep, in_train=True)
        chosen = np.flatnonzero(clicks)
        ranked = chosen[np.argsort(-clicks[chosen], kind="stable")]
        index = np.full(self.items.number, -1, dtype=np.int32)
        index[ranked] = np.arange(len(ranked), dtype=np.int32)
        return index, clicks

    def selections(self, keep: Flags, catalogue: NDArray[np.int32]) -> Iterator[Selection]:
        """The sessions that are kept, and what each step dropped."""
        tasks = (partial(self._select, piece, keep, catalogue) for piece in self.buffer)
        return track(
            ordered_thread_map(tasks),
            len(self.buffer),
            "writing sessions",
            unit="sessions",
            size=lambda selected: selected.sessions.height,
        )

    def _item_counts(self, keep: Flags | None, *, in_train: bool) -> Ints:
        """Clicks of each item code in sessions that are long enough.

        Args:
            keep: The items that count; None for all.
            in_train: Whether to count only sessions whose items form the catalogue.
        """
        total = np.zeros(self.items.number, dtype=np.int64)
        tasks = (partial(self._count, piece, keep, in_train=in_train) for piece in self.buffer)
        for codes in track(
            ordered_thread_map(tasks), len(self.buffer), "counting items", unit="clicks", size=len
        ):
            np.add.at(total, codes, 1)
        return total

    def _count(
        self, piece: Callable[[], SpilledSessions], keep: Flags | None, *, in_train: bool
    ) -> NDArray[np.int32]:
        staged = piece()
        codes = staged.clicks["code"].to_numpy()
        kept = np.ones(len(codes), dtype=np.bool_) if keep is None else keep[codes]
        long_enough = staged.count(kept) >= self.rules.min_length
        if in_train:
            part = self._parts(staged, keep)
            known = part == _TRAIN
            if self.rules.validation_in_catalogue:
                known |= part == _VALIDATION
            long_enough &= known
        return codes[kept & long_enough[staged.number]]

    def _span(self, staged: SpilledSessions, keep: Flags | None) -> tuple[Ints, Ints]:
        """Start and end of each session."""
        if self.rules.by_clicks and keep is not None:
            return staged.span(keep[staged.clicks["code"].to_numpy()])
        return staged.sessions["first_ts"].to_numpy(), staged.sessions["last_ts"].to_numpy()

    def _parts(self, staged: SpilledSessions, keep: Flags | None) -> NDArray[np.int8]:
        if self.cuts is None:
            return np.full(staged.sessions.height, CROSSING, dtype=np.int8)
        start, end = self._span(staged, keep)
        part = assign_split(start, end, self.cuts, self.rules.boundary_sessions)
        if self.rules.test_files is not None:
            part[staged.sessions["in_test_file"].to_numpy()] = _TEST
        return part

    def _bounds(
        self, piece: Callable[[], SpilledSessions], keep: Flags
    ) -> tuple[int, int, int] | None:
        """Earliest and latest start, and latest end, of the sessions outside the test files."""
        staged = piece()
        kept = keep[staged.clicks["code"].to_numpy()]
        alive = staged.count(kept) >= self.rules.min_length
        alive &= ~staged.sessions["in_test_file"].to_numpy()
        if not alive.any():
            return None
        start, end = (times[alive] for times in self._span(staged, keep))
        return int(start.min()), int(start.max()), int(end.max())

    def _select(
        self, piece: Callable[[], SpilledSessions], keep: Flags, catalogue: NDArray[np.int32]
    ) -> Selection:
        staged = piece()
        index = catalogue[staged.clicks["code"].to_numpy()]
        return select_sessions(staged, index, self._parts(staged, keep), self.rules.min_length)

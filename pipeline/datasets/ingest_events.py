"""Ingestion: from raw files to canonical events; rejected rows are counted by reason.

Files are read in pieces on all cores. The pieces are partitioned by session; each partition is
sorted, deduplicated and written. Memory holds a few pieces, events up to a limit (beyond it they
spill to disk) and one partition per core.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from models.progress import track
from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import EVENTS, PRICED_EVENTS, REJECTED
from pipeline.core.errors import DataError
from pipeline.core.file_content import HEAD_BYTES, foreign_content
from pipeline.core.frame_contract import Contract
from pipeline.datasets.formats.registry import list_inputs
from pipeline.datasets.ingest_counts import IngestCounts
from pipeline.datasets.io.blocks import BLOCK_BYTES
from pipeline.datasets.io.files import is_compressed, open_stream
from pipeline.datasets.io.parquet_writer import TableWriter
from pipeline.datasets.io.thread_map import ordered_thread_map
from pipeline.datasets.lost_zeros import find_lost_zeros
from pipeline.datasets.partition_sort import Partitions, duplicate_mask, sort_by_time
from pipeline.datasets.raw_rows import CONTENT_LIMIT, InputFile, Reason, Task, validate_rows
from pipeline.datasets.sessionize import sessionize_by_inactivity
from pipeline.study import DatasetConfig, Duplicates

_log = logging.getLogger(__name__)

_EVENTS_BYTES_IN_MEMORY = 512 << 20
_RAW_BYTES_PER_PARTITION = 128 << 20
_MIN_PARTITIONS = 4
"""So that several cores are busy even with a small file."""

_DECOMPRESSION_RATIO = 8
"""Assumed size of a decompressed file over its compressed size."""


class _Piece(NamedTuple):
    """A validated piece of a file."""

    source: str
    events: pl.DataFrame
    rejected: pl.DataFrame


def write_events(
    dataset: DatasetConfig,
    path: Path,
    folder: Path,
    *,
    max_rejected_share: float,
    partitions: int | None = None,
) -> dict[str, Any]:
    """Ingest raw data into ``folder``, which exists and is empty.

    Writes ``events.parquet`` (sessions in the order of their hash, each sorted by time),
    ``rejected.parquet`` and ``summary.json``.

    Args:
        dataset: The format and options of the raw data.
        path: Its file or folder.
        folder: Where the events are written.
        max_rejected_share: Largest accepted share of rejected rows.
        partitions: Number of partitions; None to choose it by size. The result is the same for
            any number.

    Returns:
        The summary: counts of sessions, of events by type, and of rejected rows by reason.

    Raises:
        DataError: if a file cannot be read, no row is usable, too many are rejected, or the counts
            differ from the expected ones.
    """
    counts = read_events(
        dataset, path, folder, max_rejected_share=max_rejected_share, partitions=partitions
    )
    counts.check()
    if dataset.expected is not None:
        counts.check_expected(dataset.expected)
    for sentence in find_lost_zeros(folder / "events.parquet"):
        _log.warning("%s", sentence)
    summary = counts.summary() | {"has_times": dataset.has_times}
    write_json(folder / "summary.json", summary)
    return summary


def read_events(
    dataset: DatasetConfig,
    path: Path,
    folder: Path,
    *,
    max_rejected_share: float,
    partitions: int | None = None,
) -> IngestCounts:
    """Ingest raw data as :func:`write_events` does, but check only the share of the first rows."""
    files = list_inputs(dataset, path)
    raw_bytes = _raw_bytes(files)
    spill = folder / "spill"
    number = partitions or max(_MIN_PARTITIONS, -(-raw_bytes // _RAW_BYTES_PER_PARTITION))
    parts = Partitions(
        number, spill, memory_bytes=_EVENTS_BYTES_IN_MEMORY, contract=_contract(dataset)
    )
    sources = [file.path.name for file in files]
    counts = IngestCounts(
        dataset=str(path),
        max_rejected_share=max_rejected_share,
        config=dataset,
        files=dict.fromkeys(sources, 0),
        foreign=_foreign(files),
    )
    with TableWriter(folder / "rejected.parquet", REJECTED) as rejected:
        # If the data is refused, the threads end before the error leaves this function.
        with closing(ordered_thread_map(_pieces(files))) as pieces:
            for piece in track(
                pieces,
                raw_bytes // BLOCK_BYTES + len(files),
                "ingesting",
                unit="rows",
                size=lambda piece: piece.events.height + piece.rejected.height,
            ):
                counts.count_read(piece.source, piece.events, piece.rejected)
                rejected.write(piece.rejected)
                parts.add(piece.events.drop("currency", strict=False))
        finish = partial(_finish, dataset=dataset, sources=sources)
        with TableWriter(folder / "events.parquet", _contract(dataset)) as events:
            finished = ordered_thread_map(partial(finish, part) for part in parts.close())
            for part, duplicates in track(
                finished, parts.number, "sorting", unit="events", size=lambda one: one[0].height
            ):
                counts.count_rejected(duplicates)
                counts.count_written(part)
                rejected.write(duplicates)
                events.write(part)
    shutil.rmtree(spill, ignore_errors=True)
    return counts


def _foreign(files: list[InputFile]) -> dict[str, str]:
    """What the files are that should be text and are not, for a refusal."""
    found: dict[str, str] = {}
    for path in (file.path for file in files if file.path.suffix.lower() != ".parquet"):
        with suppress(OSError, DataError), open_stream(path) as stream:  # reported when it is read
            if what := foreign_content(stream.read(HEAD_BYTES)):
                found[path.name] = what
    return found


def _contract(dataset: DatasetConfig) -> Contract:
    has_prices = dataset.generic is not None and dataset.generic.price is not None
    return PRICED_EVENTS if has_prices else EVENTS


def _raw_bytes(files: list[InputFile]) -> int:
    try:
        return sum(
            file.stat().st_size
            * (
                _DECOMPRESSION_RATIO
                if is_compressed(file) or file.suffix.lower() == ".parquet"
                else 1
            )
            for file in (entry.path for entry in files)
        )
    except OSError as error:
        msg = f"cannot read {error.filename}: {error.strerror}; is dataset.path right?"
        raise DataError(msg) from error
    except ValueError as error:  # a NUL in a path
        msg = f"cannot read the raw data: {error}; is dataset.path right?"
        raise DataError(msg) from error


def _pieces(files: list[InputFile]) -> Iterator[Callable[[], _Piece]]:
    for number, file in enumerate(files):
        for task in file.tasks():
            yield partial(_read, task, file, number)


def _read(task: Task, file: InputFile, number: int) -> _Piece:
    events, rejected = validate_rows(task(), file.event_types, file.columns)
    events = events.with_columns(file=pl.lit(number, dtype=pl.UInt16))
    return _Piece(file.path.name, events, rejected)


def _finish(
    part: Callable[[], pl.DataFrame], *, dataset: DatasetConfig, sources: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort, deduplicate and sessionize one partition; returns its events and its duplicates."""
    events = sort_by_time(part())
    rejected = pl.DataFrame(schema=REJECTED.schema)
    if dataset.duplicates is Duplicates.REJECT:
        repeated = duplicate_mask(events)
        if repeated.any():
            rejected = _duplicates(events.filter(repeated), sources)
            events = events.filter(~repeated)
    if dataset.lacks_sessions:
        events = sessionize_by_inactivity(events, dataset.inactivity_minutes)
    return events.select(list(_contract(dataset).columns)), rejected


def _duplicates(rows: pl.DataFrame, sources: list[str]) -> pl.DataFrame:
    names = pl.Series(sources, dtype=pl.String)
    content = pl.concat_str(
        pl.col("session", "ts", "item", "event_type").cast(pl.String), separator=","
    )
    return rows.select(
        source=pl.lit(names).gather(pl.col("file")),
        position=pl.lit(None, dtype=pl.Int64),
        reason=pl.lit(Reason.DUPLICATE.value),
        field=pl.lit(None, dtype=pl.String),
        content=content.str.head(CONTENT_LIMIT),
    )

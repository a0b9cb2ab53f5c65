"""Dry run of an ingestion: what would become of a raw log's rows, without changing the study."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.errors import DataError
from pipeline.datasets.formats.registry import list_inputs
from pipeline.datasets.ingest_counts import IngestCounts
from pipeline.datasets.ingest_events import read_events
from pipeline.datasets.lost_zeros import find_lost_zeros
from pipeline.datasets.remedies import Kind
from pipeline.study import DatasetConfig

_ROWS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInspection:
    """Result of a dry run.

    Attributes:
        summary: The counts, as ``events/summary.json`` would have them.
        columns: The file's columns of each field that has another name there.
        words: The event type of each word in the files; None for words that are not used.
        items: Number of items.
        examples: The first events.
        rejected: The kinds of rejected rows, most frequent first.
        warnings: What is odd without being wrong.
        refusal: Why ingestion would refuse the data, and what to set; None if it would not.
    """

    summary: Mapping[str, Any]
    columns: Mapping[str, str]
    words: Mapping[str, str | None]
    items: int
    examples: pl.DataFrame
    rejected: tuple[Kind, ...]
    warnings: tuple[str, ...]
    refusal: str | None


def inspect_data(
    dataset: DatasetConfig, path: Path, *, max_rejected_share: float
) -> DataInspection:
    """Ingest raw data into a temporary folder, however many of its rows are rejected.

    Raises:
        DataError: if a file cannot be read, or lacks a column.
    """
    first = list_inputs(dataset, path)[0]
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as folder:
        counts = read_events(dataset, path, Path(folder), max_rejected_share=1.0)
        events = pl.scan_parquet(Path(folder) / "events.parquet", glob=False)
        warnings = tuple(find_lost_zeros(Path(folder) / "events.parquet"))
        items = events.select(pl.col("item").n_unique()).collect().item()
        examples = events.sort("file", "ts").head(_ROWS_SHOWN).collect()
    words = {word: kind.value if kind else None for word, kind in first.event_types.items()}
    return DataInspection(
        summary=counts.summary(),
        columns=first.columns,
        words=words,
        items=items,
        examples=examples,
        rejected=tuple(counts.by_size()),
        warnings=warnings,
        refusal=_refusal(counts, dataset, max_rejected_share),
    )


def _refusal(counts: IngestCounts, dataset: DatasetConfig, limit: float) -> str | None:
    counts.max_rejected_share = limit
    try:
        counts.check()
        if dataset.expected is not None:
            counts.check_expected(dataset.expected)
    except DataError as error:
        return str(error)
    return None

"""The parquet files between a Spark cluster and this machine: where they are, and how they are read."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pipeline.core.contracts import SESSIONS
from pipeline.sessions.select_sessions import Selection
from pipeline.sessions.temporal_split import SPLITS

_SESSIONS_PER_PIECE = 1 << 16


def uri_of(path: Path) -> str:
    """A path of the shared file system, as Spark reads and writes it."""
    return f"file://{path.resolve()}"


def read_selections(folder: Path) -> Iterator[Selection]:
    """The sessions that are kept, in their order, from parts with one row per session."""
    for file in sorted(folder.glob("part-*.parquet")):  # Spark numbers parts in the order of rows
        for batch in pq.ParquetFile(file).iter_batches(_SESSIONS_PER_PIECE):
            rows = pl.DataFrame(batch)
            by_split = [(split, rows.filter(pl.col("split") == split.value)) for split in SPLITS]
            yield Selection(
                sessions=rows.select(list(SESSIONS.columns)),
                splits=[
                    (
                        split,
                        part["tokens"].explode().struct.unnest(),
                        part["clicks"].cast(pl.Int64).to_numpy(),
                    )
                    for split, part in by_split
                    if part.height
                ],
                dropped={},
            )

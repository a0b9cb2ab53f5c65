"""A parquet file written in pieces, with the same bytes for any partition into pieces."""

from pathlib import Path
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.frame_contract import Contract

ROWS_PER_GROUP = 1 << 18


class TableWriter:
    """Appends frames to a parquet file, in row groups of :data:`ROWS_PER_GROUP`."""

    def __init__(self, path: Path, contract: Contract) -> None:
        """Nothing is written before the first full row group; on an error the file is removed."""
        self._path = path
        self._contract = contract
        self._waiting: list[pl.DataFrame] = []
        self._rows_waiting = 0
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _class: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._write_waiting()
        if self._writer:
            self._writer.close()
        if error is not None:
            self._path.unlink(missing_ok=True)

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; raises :class:`DataError` if they do not fit the contract."""
        self._waiting.append(self._contract.validate(frame))
        self._rows_waiting += frame.height
        self.rows += frame.height
        if self._rows_waiting >= ROWS_PER_GROUP:
            rows = pl.concat(self._waiting)
            full = self._rows_waiting // ROWS_PER_GROUP * ROWS_PER_GROUP
            for start in range(0, full, ROWS_PER_GROUP):
                self._group(rows[start : start + ROWS_PER_GROUP])
            self._waiting = [rows[full:]]
            self._rows_waiting -= full

    def _write_waiting(self) -> None:
        if self._rows_waiting or self._writer is None:
            self._group(
                pl.concat(self._waiting)
                if self._waiting
                else pl.DataFrame(schema=self._contract.schema)
            )

    def _group(self, rows: pl.DataFrame) -> None:
        # Arrow starts a batch at each chunk, and pages end with batches.
        table = rows.rechunk().to_arrow()
        if self._writer is None:
            integers = [field.name for field in table.schema if field.type == pa.int64()]
            self._writer = pq.ParquetWriter(
                self._path,
                table.schema,
                compression="lz4",
                # Neighbouring ids and times differ little: half the bytes, a fifth of the read time.
                column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
                use_dictionary=[name for name in table.schema.names if name not in integers],  # pyright: ignore[reportArgumentType]
            )
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)

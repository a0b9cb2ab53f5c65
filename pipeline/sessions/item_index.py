"""Integer codes of items, so that counts and look-ups are array indexing."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_MAX_RANGE = 1 << 25
"""Integer ids with a smaller range are codes after an offset; counts take at most 256 MiB."""


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """A code in 0 … ``number - 1`` for every item of a data set.

    Attributes:
        number: Number of codes; not all of them need be an item's.
        lowest: The item of code 0, if ids are integers with a small range; else None.
        names: All items, sorted, if they are not; else empty.
    """

    number: int
    lowest: int | None
    names: pl.Series

    @classmethod
    def of(cls, events: pq.ParquetFile) -> Self:
        """Codes for the column ``item`` of a parquet file."""
        place = events.schema_arrow.get_field_index("item")
        if events.schema_arrow.field(place).type == pa.int64():
            groups = [events.metadata.row_group(n) for n in range(events.num_row_groups)]
            ends = [group.column(place).statistics for group in groups if group.num_rows]
            lowest, highest = min(end.min for end in ends), max(end.max for end in ends)
            if highest - lowest < _MAX_RANGE:
                return cls(highest - lowest + 1, lowest, pl.Series("item", dtype=pl.Int64))
        unique: pl.Series | None = None
        for batch in events.iter_batches(columns=["item"]):
            piece = pl.Series("item", batch.column(0)).unique()
            unique = piece if unique is None else pl.concat([unique, piece]).unique()
        names = pl.Series("item", dtype=pl.Int64) if unique is None else unique.sort()
        return cls(len(names), None, names)

    def code(self, items: pl.Series) -> NDArray[np.int32]:
        """The code of every item."""
        if self.lowest is not None:
            return (items.to_numpy() - self.lowest).astype(np.int32)
        if items.dtype == pl.Int64:
            return np.searchsorted(self.names.to_numpy(), items.to_numpy()).astype(np.int32)
        return items.cast(pl.Enum(self.names)).to_physical().to_numpy().astype(np.int32)

    def item(self, codes: NDArray[np.int64]) -> pl.Series:
        """The item of every code."""
        if self.lowest is not None:
            return pl.Series("item", codes.astype(np.int64) + self.lowest)
        return self.names.gather(codes)

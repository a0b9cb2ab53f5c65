"""Table contracts: the columns of a frame with their polars types, in order, and what one row is."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.core.errors import DataError


class AnyId:
    """The type of the shop's ids: integers or strings, as in the raw data."""

    def __repr__(self) -> str:
        return "Int64 or String"


ID = AnyId()

_Type = pl.DataType | type[pl.DataType] | AnyId


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a frame, in order, and what one row is.

    :meth:`validate` only checks: it never converts a column or drops a row.
    """

    name: str
    row: str
    columns: Mapping[str, _Type]

    @property
    def schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """A polars schema that satisfies the contract; ids are integers."""
        return {name: _example(dtype) for name, dtype in self.columns.items()}

    def validate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return ``frame`` with its columns in the contract's order.

        Raises:
            DataError: listing every column that is missing, unexpected or of another type.
        """
        got = dict(frame.schema)
        problems = [f"missing {name}" for name in self.columns if name not in got]
        problems += [f"unexpected {name}" for name in got if name not in self.columns]
        problems += [
            f"{name} is {got[name]}, expected {dtype}"
            for name, dtype in self.columns.items()
            if name in got and not _matches(got[name], dtype)
        ]
        if problems:
            msg = f"{self.name}: {'; '.join(problems)}. Expected columns: {list(self.columns)}"
            raise DataError(msg)
        return frame.select(list(self.columns))


def _matches(got: pl.DataType, expected: _Type) -> bool:
    if isinstance(expected, AnyId):
        return got == pl.Int64 or isinstance(got, pl.String)
    return got == expected


def _example(expected: _Type) -> pl.DataType | type[pl.DataType]:
    return pl.Int64 if isinstance(expected, AnyId) else expected

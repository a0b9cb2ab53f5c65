"""Parquet files of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.datasets.formats.column_mapping import (
    UNIT_MS,
    columns_of,
    is_integer,
    kinds_of,
    to_rows,
)
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task
from pipeline.study import GenericLayout

_ROWS_AT_ONCE = 1 << 18


def parquet_log(file: Path, layout: GenericLayout) -> InputFile:
    """A file whose columns are typed; times are whole numbers, decimals or timestamps."""
    return InputFile(path=file, tasks=partial(_tasks, file, layout), event_types=kinds_of(layout))


def _tasks(file: Path, layout: GenericLayout) -> Iterator[Task]:
    with _damage_named(file), pq.ParquetFile(file) as parquet:
        _check(file, parquet.schema_arrow, layout)
        first = 1
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns_of(layout)):
            yield partial(_read_batch, batch, file, first, layout)
            first += batch.num_rows
        metadata = parquet.metadata
        groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        if not first - 1 == sum(groups) == metadata.num_rows:
            msg = (
                f"{file}: {first - 1} rows are read, but it says it holds {metadata.num_rows} in "
                f"groups of {sum(groups)}. Restore the file"
            )
            raise DataError(msg)


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    """Turns what Arrow says of a damaged file into DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {file} as parquet: {str(error).splitlines()[0]}. Restore the file"
        raise DataError(msg) from error


def _check(file: Path, schema: pa.Schema, layout: GenericLayout) -> None:
    lacking = [name for name in columns_of(layout) if schema.names.count(name) != 1]
    if lacking:
        msg = (
            f"{file}: the columns {lacking}, named in dataset.generic, must be there once each; "
            f"got {schema.names}"
        )
        raise DataError(msg)
    time = schema.field(layout.time).type
    number = pa.types.is_integer(time) or pa.types.is_floating(time)
    if not (pa.types.is_timestamp(time) or (number and layout.time_unit in UNIT_MS)):
        msg = (
            f"{file}: column {layout.time} is {time} and dataset.generic.time_unit is "
            f"{layout.time_unit}; expected a timestamp, or numbers with unit s, ms or us"
        )
        raise DataError(msg)
    others = {name: schema.field(name).type for name in columns_of(layout) if name != layout.time}
    wrong = [f"{name} is {dtype}" for name, dtype in others.items() if not _is_id(dtype)]
    if wrong:
        msg = (
            f"{file}: ids and event_types must be whole numbers or texts, but {', '.join(wrong)}; "
            "convert the column, or name another in dataset.generic"
        )
        raise DataError(msg)


def _is_id(dtype: pa.DataType) -> bool:
    if pa.types.is_dictionary(dtype):
        return _is_id(dtype.value_type)
    return pa.types.is_integer(dtype) or _is_text(dtype)


def _is_text(dtype: pa.DataType) -> bool:
    types = pa.types
    return types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype)


def _read_batch(batch: pa.RecordBatch, file: Path, first: int, layout: GenericLayout) -> RawRows:
    with _damage_named(file):
        columns, foul = _decoded(batch)
    raw = to_rows(pl.DataFrame(columns), layout)
    ids = pl.Int64 if is_integer(layout) else pl.String
    typed = raw.cast({"session": ids, "item": ids, "event_type": pl.String}, strict=False)
    lost = [raw[name].is_not_null() & typed[name].is_null() for name in typed.columns]
    wrong = np.any([foul, *(column.to_numpy() for column in lost)], axis=0)
    positions = np.arange(first, first + batch.num_rows)
    contents = pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=",")
    refusals = [
        ParseError(
            int(positions[row]), Reason.NOT_TEXT if foul[row] else Reason.WRONG_TYPE, content
        )
        for row, content in zip(
            np.flatnonzero(wrong), raw.filter(wrong).select(contents).to_series(), strict=True
        )
    ]
    return RawRows(
        source=file.name,
        positions=positions[~wrong],
        frame=typed.filter(~wrong),
        refusals=refusals,
    )


def _decoded(batch: pa.RecordBatch) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Columns without dictionaries, and the rows with texts that are no UTF-8, made readable."""
    foul = np.zeros(batch.num_rows, dtype=np.bool_)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, column in columns.items():
        if isinstance(column, pa.DictionaryArray):
            columns[name] = column.dictionary_decode()
        try:
            columns[name].validate(full=True)
        except pa.ArrowInvalid:
            values = [value or b"" for value in columns[name].cast(pa.large_binary()).to_pylist()]
            texts = [value.decode("utf-8", "backslashreplace") for value in values]
            foul |= [text.encode() != value for text, value in zip(texts, values, strict=True)]
            columns[name] = pa.array(texts, pa.large_string())
    return pa.table(columns), foul

"""Generic parquet files."""

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
from pipeline.core.file_content import did_you_mean
from pipeline.core.labels import counted
from pipeline.datasets.formats.column_mapping import (
    UNIT_MS,
    amounts_of,
    event_types_of,
    is_integer,
    names_of,
    session_type,
    to_rows,
)
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task
from pipeline.study import GenericLayout
from pipeline.study.generic_layout import ROW_ORDER

_ROWS_PER_BATCH = 1 << 18
_NAMES_SHOWN = 20


def parquet_log(file: Path, layout: GenericLayout) -> InputFile:
    """A parquet file; times are integers, decimals or timestamps."""
    return InputFile(
        path=file,
        tasks=partial(_tasks, file, layout),
        event_types=event_types_of(layout),
        columns=names_of(layout),
    )


def _tasks(file: Path, layout: GenericLayout) -> Iterator[Task]:
    with _as_data_error(file), pq.ParquetFile(file) as parquet:
        _check(file, parquet.schema_arrow, layout)
        first, rows = 1, 0
        for batch in parquet.iter_batches(_ROWS_PER_BATCH, columns=layout.columns):
            rows += batch.num_rows
            for part in _one_event_per_row(batch, layout):
                yield partial(_read_batch, part, file, first, layout)
                first += part.num_rows
        metadata = parquet.metadata
        groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        if not rows == sum(groups) == metadata.num_rows:
            msg = (
                f"{file} is damaged: {counted(rows, 'row')} read, but its metadata says "
                f"{metadata.num_rows}, in groups of {sum(groups)}. Restore the file"
            )
            raise DataError(msg)


def _one_event_per_row(batch: pa.RecordBatch, layout: GenericLayout) -> list[pa.RecordBatch]:
    """A batch whose lists of items, one per session, are rows."""
    if not _is_list(batch.schema.field(layout.item).type):
        return [batch]
    exploded = pl.DataFrame(pa.table(batch)).explode(layout.item)
    return exploded.to_arrow().combine_chunks().to_batches()


@contextmanager
def _as_data_error(file: Path) -> Iterator[None]:
    """Raise Arrow's errors as :class:`DataError`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {file} as parquet: {str(error).splitlines()[0].rstrip('.')}. Restore the file"
        raise DataError(msg) from error


def _check(file: Path, schema: pa.Schema, layout: GenericLayout) -> None:
    schema = pa.schema([one.with_type(_plain_type(one.type)) for one in schema])
    missing = [name for name in layout.columns if schema.names.count(name) != 1]
    if missing:
        wrong = ", ".join(f"{name!r}{did_you_mean(name, schema.names)}" for name in missing)
        msg = (
            f"{file}: expected the columns of dataset.generic exactly once each; missing or "
            f"repeated: {wrong}; got {_shown(schema.names)}"
        )
        raise DataError(msg)
    _check_types(file, schema, layout)
    if layout.row_order:
        return
    time = schema.field(layout.time).type
    number = pa.types.is_integer(time) or pa.types.is_floating(time)
    if not (pa.types.is_timestamp(time) or (number and layout.time_unit in UNIT_MS)):
        msg = (
            f"{file}: column {layout.time} is {time} and dataset.generic.time_unit is "
            f"{layout.time_unit}; expected a timestamp, or numbers with unit s, ms, us or ns"
        )
        raise DataError(msg)


def _check_types(file: Path, schema: pa.Schema, layout: GenericLayout) -> None:
    """Check the types of ids, event types and amounts."""
    item = schema.field(layout.item).type
    if _is_list(item):
        if not layout.row_order:
            msg = (
                f"{file}: column {layout.item} is {item}, several events per row, which can have no "
                f"times; expected one item per row, or dataset.generic.time: {ROW_ORDER}"
            )
            raise DataError(msg)
        schema = schema.set(
            schema.get_field_index(layout.item), pa.field(layout.item, item.value_type)
        )
    amounts = amounts_of(layout).values()
    others = {name: schema.field(name).type for name in layout.columns if name != layout.time}
    wrong = [
        f"{name} is {dtype}{' (1965.0 is another id than 1965)' if _is_decimal(dtype) else ''}"
        for name, dtype in others.items()
        if not (_is_id(dtype) or (name in amounts and _is_decimal(dtype)))
    ]
    if wrong:
        msg = (
            f"{file}: ids and event types must be integers or strings, but {', '.join(wrong)}; "
            "convert the column, or name another one in dataset.generic"
        )
        raise DataError(msg)


def _shown(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = len(names) - _NAMES_SHOWN
    return f"{names[:_NAMES_SHOWN]}{f' and {more:,} more' if more > 0 else ''}"


def _is_id(dtype: pa.DataType) -> bool:
    if pa.types.is_dictionary(dtype):
        return _is_id(dtype.value_type)
    types = pa.types
    accepted = (types.is_integer, types.is_string, types.is_large_string, types.is_string_view)
    return any(accepts(dtype) for accepts in accepted)


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    """The type of a column; warehouses export integers as decimals without decimal places."""
    return pa.int64() if pa.types.is_decimal(dtype) and dtype.scale == 0 else dtype


def _is_list(dtype: pa.DataType) -> bool:
    return pa.types.is_list(dtype) or pa.types.is_large_list(dtype)


def _is_decimal(dtype: pa.DataType) -> bool:
    return pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)


def _read_batch(batch: pa.RecordBatch, file: Path, first: int, layout: GenericLayout) -> RawRows:
    with _as_data_error(file):
        columns, not_utf8 = _decoded(batch)
    raw = to_rows(pl.DataFrame(columns), layout)
    ids = pl.Int64 if is_integer(layout) else pl.String
    types = {"session": session_type(layout), "item": ids, "event_type": pl.String}
    typed = raw.cast(types, strict=False)  # pyright: ignore[reportArgumentType]
    names = names_of(layout)
    lost = {name: (raw[name].is_not_null() & typed[name].is_null()).to_numpy() for name in types}
    wrong = np.any([not_utf8, *lost.values()], axis=0)
    positions = np.arange(first, first + batch.num_rows)
    contents = pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=",")
    errors = [
        ParseError(
            int(positions[row]),
            Reason.NOT_TEXT if not_utf8[row] else Reason.WRONG_TYPE,
            content,
            next((names.get(name, name) for name, where in lost.items() if where[row]), None),
            event_type,
        )
        for row, content, event_type in zip(
            np.flatnonzero(wrong),
            raw.filter(wrong).select(contents).to_series(),
            typed.filter(wrong)["event_type"],
            strict=True,
        )
    ]
    return RawRows(
        source=file.name,
        positions=positions[~wrong],
        frame=typed.filter(~wrong),
        errors=errors,
    )


def _decoded(batch: pa.RecordBatch) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Columns of plain types, and which rows have strings that are not UTF-8 (now escaped)."""
    not_utf8 = np.zeros(batch.num_rows, dtype=np.bool_)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, column in columns.items():
        if isinstance(column, pa.DictionaryArray):
            columns[name] = column.dictionary_decode()
        columns[name] = columns[name].cast(_plain_type(columns[name].type))
        try:
            columns[name].validate(full=True)
        except pa.ArrowInvalid:
            values = [value or b"" for value in columns[name].cast(pa.large_binary()).to_pylist()]
            texts = [value.decode("utf-8", "backslashreplace") for value in values]
            not_utf8 |= [text.encode() != value for text, value in zip(texts, values, strict=True)]
            columns[name] = pa.array(texts, pa.large_string())
    return pa.table(columns), not_utf8

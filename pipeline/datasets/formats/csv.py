"""Generic delimited text (CSV, TSV)."""

from functools import partial
from pathlib import Path

from pipeline.datasets.formats.column_mapping import (
    amounts_of,
    event_types_of,
    is_integer,
    names_of,
    to_rows,
)
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import (
    DECIMAL,
    INSTANT,
    INTEGER_ID,
    TEXT,
    UTC_CLOCK,
    WHOLE_NUMBER,
    FieldType,
    strptime_type,
)
from pipeline.datasets.raw_rows import InputFile
from pipeline.study import GenericLayout

_TIMES = {
    "s": DECIMAL,
    "ms": WHOLE_NUMBER,
    "us": WHOLE_NUMBER,
    "ns": WHOLE_NUMBER,
    "iso8601": INSTANT,
    "iso8601-utc": UTC_CLOCK,
    "iso8601-local": UTC_CLOCK,
}


def delimited_log(file: Path, layout: GenericLayout) -> InputFile:
    """A file whose header names the columns."""
    columns = Layout(
        columns=_types(layout), separator=layout.separator, event_type=layout.event_type
    )
    convert = partial(to_rows, layout=layout)
    return delimited_file(file, columns, convert, event_types_of(layout), names_of(layout))


def _types(layout: GenericLayout) -> dict[str, FieldType]:
    """The type of each column."""
    id_type = INTEGER_ID if is_integer(layout) else TEXT
    session_type = id_type if len(layout.session_columns) == 1 else TEXT
    unit = layout.time_unit
    time = _TIMES[unit] if unit in _TIMES else strptime_type(unit)
    return {
        **dict.fromkeys(layout.session_columns, session_type),
        layout.item: id_type,
        **({} if layout.row_order else {layout.time: time}),
        **({layout.event_type: TEXT} if layout.event_type else {}),
        **dict.fromkeys(amounts_of(layout).values(), TEXT),
    }

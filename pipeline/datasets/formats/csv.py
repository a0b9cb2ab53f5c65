"""Generic delimited text (CSV, TSV)."""

from functools import partial
from pathlib import Path

from pipeline.datasets.formats.column_mapping import columns_of, event_types_of, is_integer, to_rows
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import (
    DECIMAL,
    INSTANT,
    INTEGER,
    TEXT,
    UTC_CLOCK,
    strptime_type,
)
from pipeline.datasets.raw_rows import InputFile
from pipeline.study import GenericLayout

_TIMES = {
    "s": DECIMAL,
    "ms": INTEGER,
    "us": INTEGER,
    "iso8601": INSTANT,
    "iso8601-utc": UTC_CLOCK,
}


def delimited_log(file: Path, layout: GenericLayout) -> InputFile:
    """A file whose header names the columns."""
    types = dict.fromkeys(columns_of(layout), INTEGER if is_integer(layout) else TEXT)
    unit = layout.time_unit
    types[layout.time] = _TIMES[unit] if unit in _TIMES else strptime_type(unit)
    if layout.event_type:
        types[layout.event_type] = TEXT
    columns = Layout(columns=types, separator=layout.separator)
    return delimited_file(file, columns, partial(to_rows, layout=layout), event_types_of(layout))

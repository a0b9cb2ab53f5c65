"""Generic JSON lines: one flat object per event."""

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import LATEST_TS, EventType
from pipeline.datasets.formats.column_mapping import UNIT_MS, columns_of, event_types_of, is_integer
from pipeline.datasets.io.blocks import Block, read_blocks
from pipeline.datasets.io.field_parsers import is_int64, read_clock, read_iso
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task
from pipeline.study import GenericLayout


def json_lines_log(file: Path, layout: GenericLayout) -> InputFile:
    """A file of objects; keys that ``dataset.generic`` does not name are ignored."""
    return InputFile(
        path=file, tasks=partial(_tasks, file, layout), event_types=event_types_of(layout)
    )


def _tasks(file: Path, layout: GenericLayout) -> Iterator[Task]:
    for block in read_blocks(file):
        yield partial(_read_block, block, layout)


def _read_block(block: Block, layout: GenericLayout) -> RawRows:
    rows: list[tuple[Any, ...]] = []
    positions: list[int] = []
    errors: list[ParseError] = []
    for position, line in enumerate(block.data.split(b"\n"), start=block.first_line):
        if not line.strip():
            continue
        read = _read_line(line, layout)
        if isinstance(read, Reason):
            text = line.decode("utf-8", errors="backslashreplace")
            errors.append(ParseError(position, read, text))
        else:
            rows.append(read)
            positions.append(position)
    ids = pl.Int64 if is_integer(layout) else pl.String
    schema = {"session": ids, "ts": pl.Int64, "item": ids, "event_type": pl.String}
    return RawRows(
        source=block.source,
        positions=np.array(positions, dtype=np.int64),
        frame=pl.DataFrame(rows, schema=schema, orient="row"),
        errors=errors,
    )


def _read_line(line: bytes, layout: GenericLayout) -> tuple[Any, ...] | Reason:
    """Session, time, item and event type of a line, or why it is not a row."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Reason.NOT_TEXT
    except (ValueError, RecursionError):
        return Reason.UNREADABLE
    if not isinstance(value, dict):
        return Reason.UNREADABLE
    if any(value.get(name) is None for name in columns_of(layout)):
        return Reason.MISSING_FIELD
    session = _id(value[layout.session or layout.user], layout)
    item, ts = _id(value[layout.item], layout), _time(value[layout.time], layout)
    event_type = _text(value[layout.event_type]) if layout.event_type else EventType.CLICK.value
    if session is None or item is None or ts is None or event_type is None:
        return Reason.WRONG_TYPE
    return session, ts, item, event_type


def _id(value: Any, layout: GenericLayout) -> int | str | None:
    if not is_integer(layout):
        return _text(value)
    return value if is_int64(value) else None


def _text(value: Any) -> str | None:
    """A string, or an integer as one; None with a lone surrogate, which no file can store."""
    if isinstance(value, str):
        return None if any("\ud800" <= letter <= "\udfff" for letter in value) else value
    return str(value) if type(value) is int else None


def _time(value: Any, layout: GenericLayout) -> int | None:
    """Milliseconds UTC; an absurd time stays out of range."""
    unit = layout.time_unit
    if unit in UNIT_MS:
        return _number(value, unit)
    if not isinstance(value, str):
        return None
    try:
        if "%" in unit:
            return read_clock(value, unit)
        return read_iso(value, zoned=unit == "iso8601") // 1_000_000
    except ValueError:
        return None


def _number(value: Any, unit: str) -> int | None:
    if type(value) is int:
        exact = value * 1000 if unit == "s" else value // 1000 if unit == "us" else value
        return max(-LATEST_TS, min(exact, LATEST_TS))
    if type(value) is float and unit == "s" and math.isfinite(value):
        return round(max(-float(LATEST_TS), min(value * 1000, float(LATEST_TS))))
    return None

"""Generic JSON lines: one flat object per event."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import EventType
from pipeline.core.errors import DataError
from pipeline.datasets.formats.column_mapping import (
    UNIT_MS,
    amounts_of,
    event_types_of,
    is_integer,
    joined_id,
    names_of,
    session_type,
    to_utc,
)
from pipeline.datasets.io.blocks import Block, read_blocks
from pipeline.datasets.io.field_parsers import is_int64, read_clock, read_iso
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task
from pipeline.study import GenericLayout

_KEYS_SHOWN = 200

_LARGEST = 9_000_000_000_000_000_000
"""Milliseconds that still fit into 64 bits, far out of range."""


def json_lines_log(file: Path, layout: GenericLayout) -> InputFile:
    """A file of objects; keys that ``dataset.generic`` does not name are ignored."""
    return InputFile(
        path=file,
        tasks=partial(_tasks, file, layout),
        event_types=event_types_of(layout),
        columns=names_of(layout),
    )


def _tasks(file: Path, layout: GenericLayout) -> Iterator[Task]:
    for block in read_blocks(file):
        if block.first_line == 1:
            _check_case(block, layout)
        yield partial(_read_block, block, layout)


def _check_case(block: Block, layout: GenericLayout) -> None:
    """Raise if a key of the first object differs from a column in upper and lower case only.

    A null may be omitted, so that a missing key is not a fault by itself.
    """
    with suppress(ValueError, RecursionError):
        value = json.loads(block.data[: block.data.index(b"\n")])
        keys: list[str] = list(value) if isinstance(value, dict) else []  # pyright: ignore[reportUnknownArgumentType]
        near = {key.casefold(): key for key in keys}
        for name in layout.columns:
            if name not in keys and name.casefold() in near:
                msg = (
                    f"{block.source} line 1 has no {name!r} (did you mean {near[name.casefold()]!r}?); "
                    f"the keys are {', '.join(keys)[:_KEYS_SHOWN]}. Correct dataset.generic"
                )
                raise DataError(msg)


def _read_block(block: Block, layout: GenericLayout) -> RawRows:
    rows: list[tuple[Any, ...]] = []
    positions: list[int] = []
    errors: list[ParseError] = []
    for position, line in enumerate(block.data.split(b"\n"), start=block.first_line):
        if not line.strip():
            continue
        try:
            rows.append(_read_line(line, layout))
            positions.append(position)
        except _InvalidLine as error:
            text = line.decode("utf-8", errors="backslashreplace")
            errors.append(ParseError(position, error.reason, text, error.field, error.event_type))
    amounts = dict.fromkeys(amounts_of(layout), pl.String)
    schema = {
        "session": session_type(layout),
        "ts": pl.Int64,
        "item": pl.Int64 if is_integer(layout) else pl.String,
        "event_type": pl.String,
        **amounts,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if layout.has_local_times:
        frame = frame.with_columns(ts=to_utc(pl.col("ts"), layout.time_zone))
    if layout.price and not layout.quantity:
        frame = frame.with_columns(quantity=pl.lit(1))
    return RawRows(
        source=block.source,
        positions=np.array(positions, dtype=np.int64),
        frame=frame,
        errors=errors,
    )


class _InvalidLine(Exception):  # noqa: N818 - never leaves this module
    """A line that is not a row."""

    def __init__(
        self, reason: Reason, field: str | None = None, event_type: str | None = None
    ) -> None:
        super().__init__()
        self.reason, self.field, self.event_type = reason, field, event_type


def _read_line(line: bytes, layout: GenericLayout) -> tuple[Any, ...]:
    """Session, time, item, event type and amounts of a line; null where the line has none."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _InvalidLine(Reason.NOT_TEXT) from error
    except (ValueError, RecursionError) as error:
        raise _InvalidLine(Reason.UNREADABLE) from error
    if not isinstance(value, dict):
        raise _InvalidLine(Reason.UNREADABLE)
    event_type: str | None = EventType.CLICK.value
    if layout.event_type:
        event_type = _field(value, layout.event_type, _text, None)
    read = partial(_field, value, event_type=event_type)
    as_id = partial(_id, layout=layout)
    if len(layout.session_columns) == 1:
        session = read(layout.session_columns[0], as_id)
    else:
        parts = [read(name, _text) for name in layout.session_columns]
        session = joined_id(parts) if all(parts) else None
    return (
        session,
        0 if layout.row_order else read(layout.time, partial(_time, layout=layout)),
        read(layout.item, as_id),
        event_type,
        *(read(name, _amount) for name in amounts_of(layout).values()),
    )


def _field(
    values: dict[str, Any],
    name: str,
    convert: Callable[[Any], Any],
    event_type: str | None,
) -> Any:
    """A converted field; None if it is missing or null."""
    value = values.get(name)
    if value is None:
        return None
    converted = convert(value)
    if converted is None:
        raise _InvalidLine(Reason.WRONG_TYPE, name, event_type)
    return converted


def _amount(value: Any) -> str | None:
    """A price, quantity or currency as a string."""
    return repr(value) if type(value) is float else _text(value)


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
    """Milliseconds, UTC or as the clock of ``time_zone`` shows; an absurd time stays out of range."""
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
    if type(value) is float and unit == "s" and math.isfinite(value):
        return round(max(-float(_LARGEST), min(value * 1000, float(_LARGEST))))
    if type(value) is float and value.is_integer():  # an integer that was in a column of decimals
        value = int(value)
    if type(value) is not int:
        return None
    exact = value * 1000 if unit == "s" else value // round(1 / UNIT_MS[unit])
    return max(-_LARGEST, min(exact, _LARGEST))

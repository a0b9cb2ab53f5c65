"""OTTO's format: one JSON object per line, ``{"session": …, "events": [{"aid", "ts", "type"}]}``.

Source: the OTTO recommender systems dataset. ``session`` and ``aid`` are integers, ``ts`` is
milliseconds UTC, ``type`` is clicks, carts or orders. The synthetic shop writes the same format.

DuckDB parses the lines many times faster than Python, but leniently: ``"5"``, ``5.4`` and ``true``
become integers. Its result is used only if a line is *plain*: exactly as long as its values in
canonical form. Lenient input is longer than that, except for exponents and hexadecimal numbers,
which are searched for. Lines that are not plain are parsed by Python, one by one.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

# pyright: reportAttributeAccessIssue=false
# Arrow defines its functions at run time, where pyright does not see them.
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.contracts import EventType
from pipeline.datasets.io.blocks import Block, input_files, line_ends, read_blocks
from pipeline.datasets.io.field_parsers import INT64_LIMIT, is_int64
from pipeline.datasets.raw_rows import InputFile, ParseError, RawRows, Reason, Task
from pipeline.datasets.session_runs import run_sums

EVENT_TYPES = {"clicks": EventType.CLICK, "carts": EventType.CART, "orders": EventType.ORDER}
_EVENT_FIELDS = ("aid", "ts", "type")
_COLUMNS = {"item": "aid", "event_type": "type"}

_SHAPE = '{"session":"BIGINT","events":[{"aid":"BIGINT","ts":"BIGINT","type":"VARCHAR"}]}'
_PARSE = (
    "SELECT parsed.session, parsed.events "
    "FROM (SELECT try(from_json_strict(line, $shape)) AS parsed FROM lines)"
)
_PLAIN_SESSION = '{"session":,"events":[]}'
_PLAIN_EVENT = '{"aid":,"ts":,"type":""}'
_SHORTHAND = "xXE\\"
"""Letters of hexadecimal numbers and exponents, and the escape that may hide one; no plain line has
them. An exponent's ``e`` is one more than a plain line has."""

_POWERS_OF_TEN = 10 ** np.arange(1, 20, dtype=np.uint64)

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def otto(path: Path) -> list[InputFile]:
    """A file, or every ``.jsonl`` of a folder, sorted by name."""
    return [
        InputFile(path=file, tasks=partial(_tasks, file), event_types=EVENT_TYPES, columns=_COLUMNS)
        for file in input_files(path, ".jsonl")
    ]


def _tasks(file: Path) -> Iterator[Task]:
    for block in read_blocks(file):
        yield partial(read_block, block)


@dataclass(slots=True)
class _Lines:
    """Rows read one by one, by line of the block."""

    line: list[int] = field(default_factory=list)
    rows: list[tuple[int, int, int, str]] = field(default_factory=list)
    errors: list[ParseError] = field(default_factory=list)


def read_block(block: Block) -> RawRows:
    """All events of a block, in the order of the file."""
    ends = line_ends(block.data)
    fast, line, plain = _read_plain(block.data, ends)
    slow = _Lines()
    for number in np.flatnonzero(~plain).tolist():
        start = int(ends[number - 1]) if number else 0
        _read_line(number, block.first_line + number, block.data[start : ends[number]], slow)
    if slow.line:
        line = np.concatenate([line, np.array(slow.line, dtype=np.int64)])
        order = np.argsort(line, kind="stable")
        read = pl.DataFrame(slow.rows, schema=fast.schema, orient="row")
        fast, line = pl.concat([fast, read])[order], line[order]
    return RawRows(
        source=block.source,
        positions=block.first_line + line,
        frame=fast,
        errors=slow.errors,
    )


def _read_plain(data: bytes, ends: Ints) -> tuple[pl.DataFrame, Ints, Mask]:
    """The events of the plain lines, the line of each, and which lines are plain."""
    text, ends = _without_spaces(data, ends)
    sessions, events = _parse(text, ends)
    aid, ts, event_type = events.flatten().flatten()
    words = _words(event_type)
    n_events = pc.list_value_length(events).fill_null(0).to_numpy().astype(np.int64)
    line = np.repeat(np.arange(len(ends)), n_events)
    session, item, time = (_numbers(ids) for ids in (sessions, aid, ts))

    plain = _is_valid(sessions) & _is_valid(events)
    plain[line[~(_is_valid(aid) & _is_valid(ts) & words.is_not_null().to_numpy())]] = False
    width = len(_PLAIN_EVENT + ",") + _numbers(pc.binary_length(event_type))
    width = run_sums(width + _digits(item) + _digits(time), n_events) - (n_events > 0)
    plain &= np.diff(ends, prepend=0) == len(_PLAIN_SESSION + "\n") + _digits(session) + width
    orders = run_sums(words.eq_missing("orders").to_numpy(), n_events)
    letters = _PLAIN_SESSION.count("e") + n_events * _PLAIN_EVENT.count("e") + orders
    _exclude_shorthand(plain, text, ends, letters)

    frame = pl.DataFrame({"session": session[line], "ts": time, "item": item, "event_type": words})
    if plain.all():
        return frame, line, plain
    return frame.filter(plain[line]), line[plain[line]], plain


def _words(event_type: pa.StringArray) -> pl.Series:
    """The event_types as an enumeration; unknown words, whose lines are not plain, as null."""
    codes = pc.index_in(event_type, value_set=pa.array(EVENT_TYPES))
    return pl.Series(codes.cast(pa.uint8())).cat.to(pl.Enum(list(EVENT_TYPES)))


def _numbers(values: pa.Array) -> NDArray[np.signedinteger]:
    """The values; 0 for null."""
    return (values.fill_null(0) if values.null_count else values).to_numpy()


def _is_valid(values: pa.Array) -> Mask:
    return values.is_valid().to_numpy(zero_copy_only=False)


def _exclude_shorthand(plain: Mask, text: bytes, ends: Ints, letters: Ints) -> None:
    """Lines with an exponent or a hexadecimal number are not plain.

    Args:
        plain: The lines that are plain by their length; modified in place.
        text: The lines.
        ends: Where each ends.
        letters: How often e occurs in each line if it is plain.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    starts = np.concatenate([[0], ends[:-1]])
    for letter in _SHORTHAND:
        if letter.encode() in text:
            plain &= ~np.logical_or.reduceat(characters == ord(letter), starts)
    # No plain line has fewer e's than that: if the totals agree, every line does.
    is_e = characters == ord("e")
    if not plain.all() or np.count_nonzero(is_e) != letters.sum():
        plain &= np.add.reduceat(is_e, starts, dtype=np.int64) == letters


def _without_spaces(data: bytes, ends: Ints) -> tuple[bytes, Ints]:
    """The lines without the optional white space of common JSON writers.

    Python's ``json.dumps`` writes a space after ``:`` and ``,``; Windows ends lines with CRLF. No
    plain value contains either. The first line decides whether they are searched for.
    """
    first = data[: ends[0]]
    text = data
    if b'": ' in first:
        text = text.replace(b": ", b":").replace(b", ", b",")
    if first.endswith(b"\r\n"):
        text = text.replace(b"\r\n", b"\n")
    return (data, ends) if text is data else (text, line_ends(text))


def _parse(text: bytes, ends: Ints) -> tuple[pa.Int64Array, pa.ListArray]:
    """Session and events of every line as DuckDB parses them, null where it cannot."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        texts = [_decoded(text[a:b]) for a, b in zip(offsets, ends, strict=False)]
        lines = pa.array(texts, type=pa.string())
    with _database().cursor() as cursor:
        cursor.register("lines", pa.table({"line": lines}))
        table = cursor.sql(_PARSE, params={"shape": _SHAPE}).to_arrow_table()
    return table["session"].combine_chunks(), table["events"].combine_chunks()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """A connection with one thread per query; the blocks are spread over threads instead."""
    return duckdb.connect(config={"threads": 1})


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _digits(values: Ints) -> Ints:
    """Number of characters of each integer."""
    if len(values) and len(str(lowest := values.min())) == len(str(values.max())) and lowest >= 0:
        return np.full(len(values), len(str(lowest)))  # as times are
    size = np.abs(values).view(np.uint64)  # int64 has no room for -(-2**63)
    return np.searchsorted(_POWERS_OF_TEN, size, side="right") + 1 + (values < 0)


def _read_line(line: int, position: int, data: bytes, into: _Lines) -> None:
    """Parse one line strictly; what does not fit the format is an error."""
    text = _decoded(data.strip(b"\r\n"))
    if text is None:
        into.errors.append(ParseError(position, Reason.NOT_TEXT, repr(data)))
        return
    if not text.strip():
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        into.errors.append(ParseError(position, Reason.UNREADABLE, text))
        return
    fault = _fault_of(value)
    if fault:
        into.errors.append(ParseError(position, fault[0], text, fault[1]))
        return
    for event in value["events"]:
        fault = _fault_of_event(event)
        if fault:
            into.errors.append(ParseError(position, fault[0], repr(event), fault[1]))
        else:
            ts = max(-INT64_LIMIT, min(event["ts"], INT64_LIMIT - 1))
            into.line.append(line)
            into.rows.append((value["session"], ts, event["aid"], event["type"]))


def _fault_of(value: Any) -> tuple[Reason, str | None] | None:
    """Why a line is rejected, and the field that is the reason; None if it is a session."""
    if not isinstance(value, dict) or not {"session", "events"} <= value.keys():
        return Reason.MISSING_FIELD, "session, events"
    if not is_int64(value["session"]):
        return Reason.WRONG_TYPE, "session"
    return None if isinstance(value["events"], list) else (Reason.WRONG_TYPE, "events")


def _fault_of_event(event: Any) -> tuple[Reason, str | None] | None:
    """Why an event is rejected, and the field that is the reason; None if it is valid."""
    if not isinstance(event, dict):
        return Reason.MISSING_FIELD, None
    missing = next((name for name in _EVENT_FIELDS if event.get(name) is None), None)
    if missing:
        return Reason.MISSING_FIELD, missing
    if not is_int64(event["aid"]):
        return Reason.WRONG_TYPE, "aid"
    if type(event["ts"]) is not int:
        return Reason.WRONG_TYPE, "ts"
    if not isinstance(event["type"], str) or event["type"] not in EVENT_TYPES:
        return Reason.UNKNOWN_EVENT_TYPE, "type"
    return None

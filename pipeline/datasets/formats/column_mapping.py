"""The columns named in ``dataset.generic``, converted to those of an event."""

from collections.abc import Sequence

import polars as pl

from pipeline.core.contracts import LATEST_TS, EventType
from pipeline.study import GenericLayout, IdType

UNIT_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001, "ns": 0.000001}
"""Milliseconds per unit of time."""

_UNITS_PER_MS = {"ms": 1, "us": 1000, "ns": 1_000_000}
_LARGEST = 2**63 - 1


def event_types_of(layout: GenericLayout) -> dict[str, EventType | None]:
    """The event type of each word in the event-type column; clicks only without the column."""
    if layout.event_type:
        return dict(layout.event_types)
    return {EventType.CLICK.value: EventType.CLICK}


def names_of(layout: GenericLayout) -> dict[str, str]:
    """The file's columns of each field, for messages."""
    return {
        "session": ", ".join(layout.session_columns),
        "ts": layout.time,
        "item": layout.item,
        **amounts_of(layout),
        **({"event_type": layout.event_type} if layout.event_type else {}),
    }


def amounts_of(layout: GenericLayout) -> dict[str, str]:
    """The columns of price, quantity and currency, by field."""
    named = {"price": layout.price, "quantity": layout.quantity, "currency": layout.currency}
    return {field: column for field, column in named.items() if column}


def is_integer(layout: GenericLayout) -> bool:
    """Whether ids are integers."""
    return layout.ids is IdType.INTEGER


def session_type(layout: GenericLayout) -> type[pl.DataType]:
    """The type of session ids; those of several columns are strings."""
    return pl.Int64 if is_integer(layout) and len(layout.session_columns) == 1 else pl.String


def joined_id(parts: Sequence[str]) -> str:
    """One session id of several: ``a|b``, with a backslash before any ``|`` or backslash of a part."""
    return "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts)


def to_rows(table: pl.DataFrame, layout: GenericLayout) -> pl.DataFrame:
    """The fields of a table whose ids and times are typed, as :class:`RawRows` has them."""
    event_type = pl.col(layout.event_type) if layout.event_type else pl.lit(EventType.CLICK.value)
    return table.select(
        session=_session(layout),
        ts=pl.lit(0) if layout.row_order else _milliseconds(table.schema[layout.time], layout),
        item=layout.item,
        event_type=event_type,
        **{field: pl.col(column) for field, column in amounts_of(layout).items()},
        **({} if layout.quantity or not layout.price else {"quantity": pl.lit(1)}),
    )


def to_utc(ts: pl.Expr, zone: str) -> pl.Expr:
    """Milliseconds UTC of clock times in a zone, given as if the clocks showed UTC.

    A time that occurs twice, when clocks are set back, is the first of the two; one that is skipped
    is read with the offset before clocks are set forward.
    """
    if zone == "UTC":
        return ts
    clock = pl.from_epoch(pl.when(ts.is_between(0, 2 * LATEST_TS)).then(ts), time_unit="ms")
    hour = pl.duration(hours=1)
    first = clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    later = (clock + hour).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(pl.coalesce(first, later).dt.epoch("ms"), ts)


def _session(layout: GenericLayout) -> pl.Expr:
    """The session's id; null if one of its columns is null or empty."""
    if len(layout.session_columns) == 1:
        return pl.col(layout.session_columns[0])
    parts = [pl.col(name).cast(pl.String) for name in layout.session_columns]
    escaped = [
        part.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True)
        for part in parts
    ]
    given = pl.all_horizontal(part != "" for part in parts)
    return pl.when(given).then(pl.concat_str(escaped, separator="|"))


def _milliseconds(dtype: pl.DataType, layout: GenericLayout) -> pl.Expr:
    time, unit = pl.col(layout.time), layout.time_unit
    if isinstance(dtype, pl.Datetime):
        is_local = dtype.time_zone is None and (unit in UNIT_MS or layout.has_local_times)
        return to_utc(time.dt.epoch("ms"), layout.time_zone if is_local else "UTC")
    if dtype.is_integer():
        # An absurd time must stay out of range, and not wrap around.
        bound = _LARGEST // 1000 if unit == "s" else _LARGEST
        bounded = time.cast(pl.Int128).clip(-bound, bound).cast(pl.Int64)
        return bounded * 1000 if unit == "s" else bounded // _UNITS_PER_MS[unit]
    exact = time.fill_nan(float(_LARGEST)) * UNIT_MS[unit]
    return exact.clip(-9e18, 9e18).round().cast(pl.Int64)

"""The columns named in ``dataset.generic``, converted to those of an event."""

import polars as pl

from pipeline.core.contracts import LATEST_TS, EventType
from pipeline.study import GenericLayout, IdType

UNIT_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
"""Milliseconds per unit of time."""


def event_types_of(layout: GenericLayout) -> dict[str, EventType | None]:
    """The event type of each word in the event-type column; clicks only without the column."""
    if layout.event_type:
        return dict(layout.event_types)
    return {EventType.CLICK.value: EventType.CLICK}


def columns_of(layout: GenericLayout) -> list[str]:
    """The columns to read."""
    named = (layout.session or layout.user, layout.item, layout.time, layout.event_type)
    return [name for name in named if name]


def is_integer(layout: GenericLayout) -> bool:
    """Whether ids are integers."""
    return layout.ids is IdType.INTEGER


def to_rows(table: pl.DataFrame, layout: GenericLayout) -> pl.DataFrame:
    """Columns session, ts, item and event_type of a table whose ids and times are typed."""
    event_type = pl.col(layout.event_type) if layout.event_type else pl.lit(EventType.CLICK.value)
    return table.select(
        session=layout.session or layout.user,
        ts=_milliseconds(table.schema[layout.time], layout),
        item=layout.item,
        event_type=event_type,
    )


def _milliseconds(dtype: pl.DataType, layout: GenericLayout) -> pl.Expr:
    time = pl.col(layout.time)
    if dtype.is_temporal():
        return time.dt.epoch("ms")
    if dtype.is_integer():
        # An absurd time must stay out of range, and not wrap around.
        bound = int(LATEST_TS / UNIT_MS[layout.time_unit])
        bounded = time.cast(pl.Int128).clip(-bound, bound).cast(pl.Int64)
        match layout.time_unit:
            case "s":
                return bounded * 1000
            case "us":
                return bounded // 1000
            case _:
                return bounded
    exact = time.fill_nan(float(LATEST_TS)) * UNIT_MS[layout.time_unit]
    return exact.clip(-LATEST_TS, LATEST_TS).round().cast(pl.Int64)

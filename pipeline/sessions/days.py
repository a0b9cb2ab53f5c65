"""Days of a time zone, and the events on each."""

from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.contracts import EventType


def day_of(ts: pl.Expr, time_zone: str) -> pl.Expr:
    """The day of a time in milliseconds UTC, as calendars in the zone show it."""
    moment = pl.from_epoch(ts, time_unit="ms").dt.replace_time_zone("UTC")
    return moment.dt.convert_time_zone(time_zone).dt.date()


def events_by_day(path: Path, time_zone: str) -> list[dict[str, Any]]:
    """Events of each type on each day; days without events are absent."""
    counts = (
        pl.scan_parquet(path, glob=False)
        .group_by(day=day_of(pl.col("ts"), time_zone))
        .agg(
            (pl.col("event_type") == event_type.value).sum().alias(event_type.value)
            for event_type in EventType
        )
        .collect(engine="streaming")
    )
    return counts.sort("day").with_columns(pl.col("day").dt.to_string("iso")).to_dicts()

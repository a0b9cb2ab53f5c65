"""Diginetica (CIKM Cup 2016): ``train-item-views.csv`` and ``train-purchases.csv``.

Separated by semicolons; the two headers spell the same columns differently. The time is a date plus
``timeframe`` milliseconds, which may exceed 24 hours; the literature uses their sum.
"""

from functools import partial
from pathlib import Path

import polars as pl

from pipeline.core.contracts import DAY_MS, EventType
from pipeline.datasets.io.blocks import find_files
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import DATE, INTEGER
from pipeline.datasets.raw_rows import InputFile


def diginetica(path: Path) -> list[InputFile]:
    """The files of a folder (purchases are optional), or one of the two files."""
    return [
        _file(file, "sessionId", "itemId", EventType.ORDER)
        if "purchases" in file.name
        else _file(file, "session_id", "item_id", EventType.CLICK)
        for file in find_files(path, "train-item-views.csv", "train-purchases.csv")
    ]


def _file(file: Path, session: str, item: str, event_type: EventType) -> InputFile:
    columns = {session: INTEGER, "timeframe": INTEGER, "eventdate": DATE, item: INTEGER}
    layout = Layout(columns=columns, separator=";")
    convert = partial(_convert, session=session, item=item, event_type=event_type)
    return delimited_file(file, layout, convert, {event_type.value: event_type})


def _convert(table: pl.DataFrame, session: str, item: str, event_type: EventType) -> pl.DataFrame:
    midnight = pl.col("eventdate").cast(pl.Int64) * DAY_MS
    # An absurd time must stay out of range, and not wrap around in the sum.
    timeframe = pl.col("timeframe").clip(-(2**62), 2**62)
    return table.select(
        session=session, ts=midnight + timeframe, item=item, event_type=pl.lit(event_type.value)
    )

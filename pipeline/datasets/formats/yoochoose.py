"""Yoochoose (RecSys Challenge 2015): ``yoochoose-clicks.dat`` and ``yoochoose-buys.dat``.

CSV without a header. Columns of clicks: session, time, item, category (not used); of buys: session,
time, item, price, quantity. Times are ISO 8601 with a time zone.
"""

from functools import partial
from pathlib import Path

import polars as pl

from pipeline.core.contracts import EventType
from pipeline.datasets.io.blocks import find_files
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import INSTANT, INTEGER
from pipeline.datasets.raw_rows import InputFile

_COLUMNS = {"session": INTEGER, "time": INSTANT, "item": INTEGER}
_CLICKS = Layout(columns=_COLUMNS, names=("session", "time", "item", "category"))
_BUYS = Layout(columns=_COLUMNS, names=("session", "time", "item", "price", "quantity"))


def yoochoose(path: Path) -> list[InputFile]:
    """The files of a folder (buys are optional), or one file, of buys if its name contains ``buys``."""
    return [
        _file(
            file, *((_BUYS, EventType.ORDER) if "buys" in file.name else (_CLICKS, EventType.CLICK))
        )
        for file in find_files(path, "yoochoose-clicks.dat", "yoochoose-buys.dat")
    ]


def _file(file: Path, layout: Layout, event_type: EventType) -> InputFile:
    return delimited_file(
        file, layout, partial(_convert, event_type=event_type), {event_type.value: event_type}
    )


def _convert(table: pl.DataFrame, event_type: EventType) -> pl.DataFrame:
    ts = pl.col("time").dt.epoch("ms")
    return table.select("session", "item", ts=ts, event_type=pl.lit(event_type.value))

"""REES46 (eCommerce behaviour data from a multi-category store), files such as ``2019-Oct.csv``.

The header is ``event_time,event_type,product_id,…,user_id,user_session``; times end in `` UTC``;
sessions are UUIDs, missing in a few rows.
"""

from pathlib import Path

import polars as pl

from pipeline.core.contracts import EventType
from pipeline.datasets.io.blocks import input_files
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import INTEGER, TEXT, strptime_type
from pipeline.datasets.raw_rows import InputFile

EVENT_TYPES = {
    "view": EventType.CLICK,
    "cart": EventType.CART,
    "purchase": EventType.ORDER,
    "remove_from_cart": None,
}
_LAYOUT = Layout(
    columns={
        "event_time": strptime_type("%Y-%m-%d %H:%M:%S UTC"),
        "event_type": TEXT,
        "product_id": INTEGER,
        "user_session": TEXT,
    },
    event_type="event_type",
)
_NAMES = {"session": "user_session", "ts": "event_time", "item": "product_id"}


def rees46(path: Path) -> list[InputFile]:
    """A file, or every ``.csv`` of a folder, sorted by name."""
    return [
        delimited_file(file, _LAYOUT, _convert, EVENT_TYPES, _NAMES)
        for file in input_files(path, ".csv")
    ]


def _convert(table: pl.DataFrame) -> pl.DataFrame:
    ts = pl.col("event_time").dt.epoch("ms")
    return table.select(session="user_session", ts=ts, item="product_id", event_type="event_type")

"""JD.com's JDATA: CSV with ``action_time,user_id,sku_id,type,sessionId``.

``type``: 1 browse, 2 order, 3 follow, 4 comment, 5 cart. ``action_time`` has no time zone and is read
as UTC, as the file's ``index`` column does. Rows without a session are rejected.
"""

from pathlib import Path

import polars as pl

from pipeline.core.contracts import EventType
from pipeline.datasets.io.blocks import input_files
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import INTEGER, TEXT, UTC_CLOCK
from pipeline.datasets.raw_rows import InputFile

EVENT_TYPES = {
    "1": EventType.CLICK,
    "2": EventType.ORDER,
    "3": None,
    "4": None,
    "5": EventType.CART,
}
_LAYOUT = Layout(
    columns={"action_time": UTC_CLOCK, "sku_id": INTEGER, "type": TEXT, "sessionId": INTEGER},
    event_type="type",
)
_NAMES = {"session": "sessionId", "ts": "action_time", "item": "sku_id", "event_type": "type"}


def jdata(path: Path) -> list[InputFile]:
    """A file, or every ``.csv`` of a folder, sorted by name."""
    return [
        delimited_file(file, _LAYOUT, _convert, EVENT_TYPES, _NAMES)
        for file in input_files(path, ".csv")
    ]


def _convert(table: pl.DataFrame) -> pl.DataFrame:
    ts = pl.col("action_time").dt.epoch("ms")
    return table.select(session="sessionId", ts=ts, item="sku_id", event_type="type")

"""RetailRocket: ``events.csv`` with ``timestamp,visitorid,event,itemid,transactionid``.

Times are milliseconds UTC. The data has visitors but no sessions; these are made by inactivity.
"""

from pathlib import Path

import polars as pl

from pipeline.core.contracts import EventType
from pipeline.datasets.io.blocks import find_files
from pipeline.datasets.io.delimited import Layout, delimited_file
from pipeline.datasets.io.field_parsers import INTEGER, TEXT
from pipeline.datasets.raw_rows import InputFile

EVENT_TYPES = {
    "view": EventType.CLICK,
    "addtocart": EventType.CART,
    "transaction": EventType.ORDER,
}
_LAYOUT = Layout(
    columns={"timestamp": INTEGER, "visitorid": INTEGER, "event": TEXT, "itemid": INTEGER},
    event_type="event",
)
_NAMES = {"session": "visitorid", "ts": "timestamp", "item": "itemid", "event_type": "event"}


def retailrocket(path: Path) -> list[InputFile]:
    """``events.csv`` of a folder, or one file."""
    return [
        delimited_file(file, _LAYOUT, _convert, EVENT_TYPES, _NAMES)
        for file in find_files(path, "events.csv")
    ]


def _convert(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(session="visitorid", ts="timestamp", item="itemid", event_type="event")

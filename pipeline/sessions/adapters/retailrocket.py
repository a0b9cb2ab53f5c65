"""RetailRocket: ``events.csv`` with ``timestamp,visitorid,event,itemid,transactionid``.

Times are milliseconds UTC. There are visitors and no sessions: sessions are cut by inactivity.
"""

from pathlib import Path

import polars as pl

from pipeline.schemas import EventKind
from pipeline.sessions.adapters.delimited import Layout, delimited_file
from pipeline.sessions.adapters.fields import INTEGER, TEXT
from pipeline.sessions.raw import InputFile
from pipeline.sessions.reading import named_files

KINDS = {
    "view": EventKind.CLICK,
    "addtocart": EventKind.CART,
    "transaction": EventKind.ORDER,
}
_LAYOUT = Layout(
    columns={"timestamp": INTEGER, "visitorid": INTEGER, "event": TEXT, "itemid": INTEGER}
)


def retailrocket(path: Path) -> list[InputFile]:
    """``events.csv`` of a folder, or one file."""
    return [
        delimited_file(file, _LAYOUT, _convert, KINDS) for file in named_files(path, "events.csv")
    ]


def _convert(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(session="visitorid", ts="timestamp", item="itemid", kind="event")

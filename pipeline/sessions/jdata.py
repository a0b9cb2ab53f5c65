"""JD.com's JDATA format: CSV with ``action_time,user_id,sku_id,type,sessionId``.

``type``: 1 browse, 2 order, 3 follow, 4 comment, 5 cart. ``action_time`` has no zone and is read as
UTC, which the file's own ``index`` column does too. Rows without a session cannot be used.
"""

import csv
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import DataError
from pipeline.schemas import EventKind
from pipeline.sessions.raw import RawRows, Reason, text_lines

KINDS = {"1": EventKind.CLICK.value, "2": EventKind.ORDER.value, "5": EventKind.CART.value}
OTHER_KINDS = frozenset({"3", "4"})
COLUMNS = ("action_time", "sku_id", "type", "sessionId")
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def read_jdata(path: Path) -> RawRows:
    """Read a file, or every ``*.csv`` file of a folder in order of name.

    Raises:
        DataError: if a file's header lacks a needed column.
    """
    rows = RawRows()
    for file in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
        _read_file(file, rows)
    return rows


def _read_file(file: Path, rows: RawRows) -> None:
    places: dict[str, int] | None = None
    for number, text in text_lines(file, rows):
        try:
            fields = next(csv.reader([text], strict=True))
        except csv.Error:
            rows.reject(file.name, number, reason=Reason.UNREADABLE, content=text)
            continue
        if places is None:
            places = _header(file, fields)
        elif len(fields) <= max(places.values()):
            rows.reject(file.name, number, reason=Reason.MISSING_FIELD, content=text)
        else:
            row = {name: fields[place].strip() for name, place in places.items()}
            _read_row(file.name, number, row, rows)


def _header(file: Path, fields: list[str]) -> dict[str, int]:
    """Where each needed column stands."""
    missing = [name for name in COLUMNS if name not in fields]
    if missing:
        got = ",".join(fields)[:200]
        msg = f"{file.name}: header lacks {missing}; got {got!r}, expected {list(COLUMNS)}"
        raise DataError(msg)
    return {name: fields.index(name) for name in COLUMNS}


def _read_row(source: str, number: int, row: dict[str, str], rows: RawRows) -> None:
    content = ",".join(row.values())
    if not all(row.values()):
        rows.reject(source, number, reason=Reason.MISSING_FIELD, content=content)
        return
    try:
        moment = datetime.strptime(row["action_time"], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        rows.reject(source, number, reason=Reason.WRONG_TYPE, content=content)
        return
    if row["type"] in OTHER_KINDS:
        rows.reject(source, number, reason=Reason.OTHER_KIND, content=content)
    elif row["type"] not in KINDS:
        rows.reject(source, number, reason=Reason.UNKNOWN_KIND, content=content)
    else:
        rows.add(
            source,
            number,
            session=row["sessionId"],
            ts=int(moment.timestamp()) * 1000,
            item=row["sku_id"],
            kind=KINDS[row["type"]],
        )

"""OTTO's format: one JSON object a line, ``{"session": …, "events": [{"aid", "ts", "type"}]}``.

Source: the OTTO recommender systems dataset. ``ts`` is milliseconds UTC; ``type`` is clicks, carts
or orders. The synthetic shop writes the same format.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.schemas import EventKind
from pipeline.sessions.raw import RawRows, Reason, text_lines

KINDS = {
    "clicks": EventKind.CLICK.value,
    "carts": EventKind.CART.value,
    "orders": EventKind.ORDER.value,
}
_EVENT_FIELDS = ("aid", "ts", "type")


def read_otto(path: Path) -> RawRows:
    """Read a file, or every ``*.jsonl`` file of a folder in order of name."""
    rows = RawRows()
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        for number, text in text_lines(file, rows):
            _read_session(file.name, number, text, rows)
    return rows


def _read_session(source: str, number: int, text: str, rows: RawRows) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        rows.reject(source, number, reason=Reason.UNREADABLE, content=text)
        return
    if not isinstance(value, dict) or not {"session", "events"} <= value.keys():
        rows.reject(source, number, reason=Reason.MISSING_FIELD, content=text)
    elif not _is_id(value["session"]) or not isinstance(value["events"], list):
        rows.reject(source, number, reason=Reason.WRONG_TYPE, content=text)
    else:
        for event in value["events"]:
            _read_event(source, number, str(value["session"]), event, rows)


def _read_event(source: str, number: int, session: str, event: Any, rows: RawRows) -> None:
    if not isinstance(event, dict) or any(event.get(name) is None for name in _EVENT_FIELDS):
        rows.reject(source, number, reason=Reason.MISSING_FIELD, content=repr(event))
    elif not _is_id(event["aid"]) or type(event["ts"]) is not int:
        rows.reject(source, number, reason=Reason.WRONG_TYPE, content=repr(event))
    elif not isinstance(event["type"], str) or event["type"] not in KINDS:
        rows.reject(source, number, reason=Reason.UNKNOWN_KIND, content=repr(event))
    else:
        rows.add(
            source,
            number,
            session=session,
            ts=event["ts"],
            item=str(event["aid"]),
            kind=KINDS[event["type"]],
        )


def _is_id(value: Any) -> bool:
    """Whether a value can name a session or an item: an integer or a non-empty text."""
    if isinstance(value, str):  # JSON may escape half a surrogate pair, which no text file can hold
        return bool(value) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return type(value) is int

"""An export as Google Analytics 4 gives it, made up, and what plain Python counts in it."""

import csv
import json
import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import polars as pl

COLUMNS = [
    *("event_name", "event_timestamp", "user_pseudo_id", "ga_session_id", "item_id"),
    *("price", "quantity", "currency"),
]
EVENT_TYPES = {
    "view_item": "click",
    "add_to_cart": "cart",
    "purchase": "order",
    "session_start": None,
    "scroll": None,
}
DATASET = {
    "format": "generic",
    "generic": {
        "session": ["user_pseudo_id", "ga_session_id"],
        "item": "item_id",
        "time": "event_timestamp",
        "time_unit": "us",
        "event_type": "event_name",
        "event_types": EVENT_TYPES,
        "price": "price",
        "quantity": "quantity",
        "currency": "currency",
    },
}
ODD = [
    " ",
    '"',
    "ä",
    "日本",
    "=cmd|' /C calc'!A0",
    "a/b",
    "<b>",
    "';--",
    "%00",
    "{{x}}",
    "1e5",
    "007",
]
START = 1_756_684_800_000_000
"""2025-09-01 UTC in microseconds."""

_DAY = 86_400_000_000
_SECOND = 1_000_000


def export(*, sessions: int = 400, days: int = 12, items: int = 40, seed: int = 5) -> list[dict]:
    """Rows in no order. Few session ids, so that users share them; scrolls have no item."""
    rng = random.Random(seed)
    names = [f"SKU {n}{ODD[n % len(ODD)]}" for n in range(items)]
    rows, taken = [], set()
    while len(taken) < sessions:
        user, number = f"{rng.randrange(sessions // 3)}.{rng.choice(ODD)}", rng.randrange(20)
        if (user, number) in taken:
            continue
        taken.add((user, number))
        at = START + rng.randrange(days * _DAY)
        common = {"user_pseudo_id": user, "ga_session_id": number}
        rows.append({**common, "event_name": "session_start", "event_timestamp": at})
        for _ in range(rng.randrange(2, 9)):
            at += rng.randrange(1, 90 * _SECOND)
            item = names[min(int(rng.expovariate(4 / items)), items - 1)]
            event = {**common, "item_id": item}
            rows.append({**event, "event_name": "view_item", "event_timestamp": at, "price": "n/a"})
            rows.append({**common, "event_name": "scroll", "event_timestamp": at + 1})
            if rng.random() < 0.4:
                at += _SECOND
                rows.append({**event, "event_name": "add_to_cart", "event_timestamp": at})
            if rng.random() < 0.3:
                at += _SECOND
                paid = {"price": f"{rng.randrange(99, 99_999) / 100:.2f}", "currency": "EUR"}
                if rng.random() < 0.8:
                    paid["quantity"] = str(rng.randrange(1, 4))
                rows.append({**event, "event_name": "purchase", "event_timestamp": at, **paid})
    rng.shuffle(rows)
    return rows


def counts(rows: list[dict]) -> dict:
    """Sessions with an event of use, events by type, and revenue, row by row."""
    sessions, events, revenue = set(), defaultdict(int), Decimal(0)
    for row in rows:
        event_type = EVENT_TYPES[row["event_name"]]
        if event_type is None:
            continue
        sessions.add((row["user_pseudo_id"], row["ga_session_id"]))
        events[event_type] += 1
        if event_type == "order":
            revenue += Decimal(row["price"]) * int(row.get("quantity", "1"))
    return {"sessions": len(sessions), "event_types": dict(events), "revenue": float(revenue)}


def write(rows: list[dict], file: Path) -> Path:
    """As CSV, JSON lines or parquet, by the suffix."""
    if file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        schema = dict.fromkeys(COLUMNS, pl.String) | dict.fromkeys(COLUMNS[1:4:2], pl.Int64)
        full = [[row.get(name) for name in COLUMNS] for row in rows]
        pl.DataFrame(full, schema=schema, orient="row").write_parquet(file)
    return file

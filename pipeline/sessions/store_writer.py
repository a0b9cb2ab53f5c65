"""Writes selected sessions: the table, the token store, and the summary of what is kept and dropped."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import SESSIONS, Split
from pipeline.core.errors import DataError
from pipeline.datasets.io.parquet_writer import TableWriter
from pipeline.sessions.rules import Rules
from pipeline.sessions.select_sessions import DROPPED, Selection
from pipeline.sessions.token_store_writer import TokenWriter

_COUNTED = ("sessions", "clicks", "carted_clicks", "ordered_clicks")


def write_selections(selections: Iterable[Selection], folder: Path) -> Counter[str]:
    """Write ``sessions.parquet`` and ``tokens.safetensors``, with the sessions in the same order.

    Returns:
        What each step dropped, and what is left, by the names of the summary.
    """
    counts: Counter[str] = Counter()
    with (
        TableWriter(folder / "sessions.parquet", SESSIONS) as table,
        TokenWriter(folder / "tokens.safetensors") as tokens,
    ):
        for selected in selections:
            counts.update(selected.dropped)
            table.write(selected.sessions)
            for split, clicks, lengths in selected.splits:
                tokens.append(split, clicks, lengths)
                counts[f"{split}_sessions"] += len(lengths)
                counts[f"{split}_clicks"] += clicks.height
                for label in ("carted", "ordered"):
                    counts[f"{split}_{label}_clicks"] += int(clicks[label].sum())
    return counts


def write_summary(counts: Counter[str], items: int, rules: Rules, folder: Path) -> dict[str, int]:
    """Write ``summary.json``; returns it.

    Args:
        counts: What :func:`write_selections` returns.
        items: The number of items in the catalogue.
        rules: The rules, for the message.
        folder: Where it is written.

    Raises:
        DataError: if a split or the catalogue is empty; the message has all counts.
    """
    names = [f"{split}_{what}" for what in _COUNTED for split in Split]
    counts["items"] = items
    summary = {name: counts[name] for name in (*DROPPED, "items", *names)}
    empty = [
        name for name in ("items", *(f"{split}_sessions" for split in Split)) if not summary[name]
    ]
    if empty:
        size = "days" if rules.test_sessions is None else "sessions"
        msg = (
            f"nothing is left in {', '.join(empty)} after filtering; "
            f"{', '.join(f'{name}: {n}' for name, n in summary.items() if n)}. Lower "
            f"sessions.min_item_support, or change sessions.test_{size} and sessions.validation_{size}"
        )
        raise DataError(msg)
    write_json(folder / "summary.json", summary)
    return summary

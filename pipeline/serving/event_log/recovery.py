"""Crash recovery of the event log, and reading it when the server starts.

The folder may contain damaged files and those of other programs: they are left as they are, skipped
and named.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from pipeline.artifacts.durable import sync
from pipeline.core.labels import counted
from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.rotating_files import (
    CLOSED,
    OPEN,
    WRITTEN,
    folder_of,
    log_name,
    publish,
)

RECOVERED = ".jsonl.recovered"

SkippedLines = dict[str, int]
"""The number of lines that cannot be read, by file; 0 for a file that cannot be opened."""

_NAMED_FILES = 5


def recover_files(log: Path) -> SkippedLines:
    """Close the server's files that a crash has left open; returns the removed lines.

    Only complete JSON objects are kept. A crash damages at most the last line of a file, a power
    loss possibly more. Recovery can be interrupted and repeated.

    Raises:
        OSError: if a file cannot be recovered.
    """
    removed: SkippedLines = {}
    for table in WRITTEN:
        folder = folder_of(table, log)
        for unfinished in _files(folder, table, RECOVERED):
            unfinished.unlink()
        for path in _files(folder, table, OPEN):
            if lines := _recover(path):
                removed[path.name] = lines
            publish(path)
    return removed


def read_rows(
    log: Path,
    table: LogTable,
    columns: Mapping[str, type],
    *,
    since: float = 0.0,
    skipped: SkippedLines | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of a table's closed files that were modified at or after ``since`` (seconds).

    Lines that are not JSON objects with these columns and types are counted in ``skipped``.
    """
    skipped = {} if skipped is None else skipped
    for path in sorted(folder_of(table, log).glob(f"{table}-*{CLOSED}")):
        try:
            if path.stat().st_mtime < since:
                continue
            with path.open("rb") as stream:
                for line in stream:
                    if (row := _row(line, columns)) is not None:
                        yield row
                    else:
                        skipped[path.name] = skipped.get(path.name, 0) + 1
        except OSError:
            skipped.setdefault(path.name, 0)


def named(skipped: SkippedLines) -> str:
    """The first files, with their numbers of lines."""
    files = [
        f"{name!r} ({counted(lines, 'line') if lines else 'cannot be opened'})"
        for name, lines in skipped.items()
    ]
    more = [counted(len(files) - _NAMED_FILES, "more file")] * (len(files) > _NAMED_FILES)
    return ", ".join(files[:_NAMED_FILES] + more)


def _files(folder: Path, table: LogTable, suffix: str) -> list[Path]:
    """The server's own regular files with a suffix, in the order they were written."""
    return sorted(
        path
        for path in folder.glob(f"{table}-*{suffix}")
        if log_name(path, table) and path.is_file() and not path.is_symlink()
    )


def _recover(path: Path) -> int:
    """Remove incomplete lines; those at the end without further disk space."""
    with path.open("rb") as stream:
        lines = list(stream)
    complete = [line for line in lines if _row(line, {}) is not None]
    if complete == lines[: len(complete)]:
        os.truncate(path, sum(map(len, complete)))
    else:
        recovered = path.with_name(path.name.removesuffix(OPEN) + RECOVERED)
        recovered.write_bytes(b"".join(complete))
        sync(recovered)
        recovered.replace(path)
    return len(lines) - len(complete)


def _row(line: bytes, columns: Mapping[str, type]) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    is_valid = isinstance(row, dict) and all(
        type(row.get(name)) is kind for name, kind in columns.items()
    )
    return row if is_valid else None

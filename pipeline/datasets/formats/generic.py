"""A generic log with one event per row: parquet, CSV or JSON lines, with named columns."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from pipeline.core.contracts import EARLIEST_TS
from pipeline.core.errors import DataError
from pipeline.datasets.formats.csv import delimited_log
from pipeline.datasets.formats.jsonl import json_lines_log
from pipeline.datasets.formats.parquet import parquet_log
from pipeline.datasets.io.blocks import input_files
from pipeline.datasets.io.files import (
    COMPRESSIONS,
    check_all_read,
    decompressed_suffix,
    is_compressed,
)
from pipeline.datasets.raw_rows import InputFile, RawRows, Task
from pipeline.study import GenericLayout

_ROWS_PER_FILE = 1 << 33
"""Places that a file in row order has; a hundred years of milliseconds are 367 files."""
_MOST_FILES = 300

_READERS: dict[str, Callable[[Path, GenericLayout], InputFile]] = {
    ".csv": delimited_log,
    ".tsv": delimited_log,
    ".inter": delimited_log,
    ".jsonl": json_lines_log,
    ".ndjson": json_lines_log,
    ".parquet": parquet_log,
}


def generic(path: Path, layout: GenericLayout) -> list[InputFile]:
    """A file, or every file of a folder with a known suffix, sorted by name.

    Raises:
        DataError: if a suffix is unknown.
    """
    files = input_files(path, *_READERS)
    if layout.row_order and len(files) > _MOST_FILES:
        msg = (
            f"{path} has {len(files)} files; in row order at most {_MOST_FILES} are read. Join them "
            "to fewer files, in the order of their names"
        )
        raise DataError(msg)
    for file in files:
        # Parquet compresses its columns itself.
        suffixes = _READERS.keys() - {".parquet"} if is_compressed(file) else _READERS.keys()
        if decompressed_suffix(file) not in suffixes:
            msg = (
                f"{file}: unknown suffix; expected one of {', '.join(_READERS)}, for text files "
                f"optionally followed by {', '.join(COMPRESSIONS)}"
            )
            raise DataError(msg)
    if path.is_dir():
        rule = (
            f"The files of a folder are those that end in {', '.join(_READERS)}, text files also "
            f"compressed ({', '.join(COMPRESSIONS)}), without its subfolders; convert, move or remove "
            "the others"
        )
        check_all_read(path, files, rule)
    inputs = [_READERS[decompressed_suffix(file)](file, layout) for file in files]
    return [_in_row_order(one, n) for n, one in enumerate(inputs)] if layout.row_order else inputs


def _in_row_order(file: InputFile, number: int) -> InputFile:
    """A file without times: each event has a place after those of earlier rows and files."""

    def tasks() -> Iterator[Task]:
        for task in file.tasks():
            yield partial(_placed, task, number)

    return replace(file, tasks=tasks)


def _placed(task: Task, number: int) -> RawRows:
    """Rows whose ``ts`` is their place, a millisecond per row from 2000-01-01."""
    rows = task()
    ts = EARLIEST_TS + number * _ROWS_PER_FILE + rows.positions
    return replace(rows, frame=rows.frame.with_columns(ts=pl.Series(ts, dtype=pl.Int64)))

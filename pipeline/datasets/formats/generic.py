"""A generic log with one event per row: parquet, CSV or JSON lines, with named columns."""

from collections.abc import Callable
from pathlib import Path

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
from pipeline.datasets.raw_rows import InputFile
from pipeline.study import GenericLayout

_READERS: dict[str, Callable[[Path, GenericLayout], InputFile]] = {
    ".csv": delimited_log,
    ".tsv": delimited_log,
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
    return [_READERS[decompressed_suffix(file)](file, layout) for file in files]

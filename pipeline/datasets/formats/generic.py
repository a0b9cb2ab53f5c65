"""A log of one's own, one event a row: parquet, CSV or JSON lines, by naming its columns."""

from collections.abc import Callable
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.datasets.formats.csv import delimited_log
from pipeline.datasets.formats.jsonl import json_lines_log
from pipeline.datasets.formats.parquet import parquet_log
from pipeline.datasets.io.blocks import decompressed_suffix, input_files, is_compressed
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
    """A file, or every file of a folder whose suffix says how it is read, in order of name.

    Raises:
        DataError: if the suffix does not say so.
    """
    files = input_files(path, *_READERS)
    for file in files:
        # Parquet packs its columns itself.
        suffixes = _READERS.keys() - {".parquet"} if is_compressed(file) else _READERS.keys()
        if decompressed_suffix(file) not in suffixes:
            msg = (
                f"{file}: the suffix does not say how to read it; accepted are "
                f"{', '.join(_READERS)}, and the text files also with .gz or .zst behind"
            )
            raise DataError(msg)
    return [_READERS[decompressed_suffix(file)](file, layout) for file in files]

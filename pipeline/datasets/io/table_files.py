"""A table in one file, whole: CSV, parquet or JSON lines, by its name."""

from io import BytesIO
from pathlib import Path

import polars as pl

from pipeline.core.errors import DataError
from pipeline.core.file_content import HEAD_BYTES, foreign_content, likely_separator
from pipeline.datasets.io.files import decompressed_suffix, is_compressed, open_stream

_BLOCK = 1 << 20


def read_table_file(path: Path, expected: str) -> pl.DataFrame:
    """Read a table; cells of text files stay strings.

    Args:
        path: A file whose name does not say parquet or JSON lines is CSV, with a separator of its header.
        expected: What the file should be: the end of the message.

    Raises:
        DataError: if the file cannot be read, is not what its name says, or has a column twice.
    """
    try:
        path.stat()  # says what is wrong in fewer words than readers do
        table = _read(path, expected)
    except (OSError, pl.exceptions.PolarsError) as error:
        problem = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        msg = f"cannot read {path}: {problem}; {expected}"
        raise DataError(msg) from error
    if twice := [name for name in table.columns if "_duplicated_" in name]:
        name = twice[0].rpartition("_duplicated_")[0]
        msg = f"{path}: the column {name} occurs twice; {expected}"
        raise DataError(msg)
    return table


def _read(path: Path, expected: str) -> pl.DataFrame:
    source = _decompressed(path) if is_compressed(path) else path
    match decompressed_suffix(path):
        case ".parquet" | ".pq":
            return pl.read_parquet(source, glob=False)
        case ".jsonl" | ".ndjson":
            return pl.read_ndjson(source)
        case _:
            separator = separator_of(path, expected)
            return pl.read_csv(source, separator=separator, infer_schema=False, glob=False)


def _decompressed(path: Path) -> BytesIO:
    with open_stream(path) as stream:
        return BytesIO(b"".join(iter(lambda: stream.read(_BLOCK), b"")))


def separator_of(path: Path, expected: str) -> str:
    """The separator of a CSV file's header.

    Args:
        path: The file, which may be compressed.
        expected: What the file should be: the end of the message.

    Raises:
        DataError: if it is something else, such as UTF-16 text.
    """
    with open_stream(path) as stream:
        head = stream.read(HEAD_BYTES)
    if what := foreign_content(head):
        msg = f"{path} is not CSV: {what}; {expected}"
        raise DataError(msg)
    return likely_separator(head)

"""Files of a folder, by their literal names: which are data, how they are compressed, how to open them.

Suffixes count in any case: ``CLICKS.CSV.GZ`` is a compressed CSV.
"""

import bz2
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import DataError

COMPRESSIONS = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".zip": "zip",
}
"""Compression by suffix, in lower case."""

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".open", ".recovered", ".inprogress")
_NOTES = (
    *(
        ".md",
        ".rst",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".py",
        ".r",
        ".sql",
        ".sh",
        ".ipynb",
    ),
    *(".html", ".pdf", ".png", ".jpg", ".svg", ".dvc", ".lock", ".md5", ".sha256", ".crc", ".bak"),
)
"""Suffixes of files that are never data."""

_DATA = (
    *(
        ".csv",
        ".tsv",
        ".psv",
        ".dat",
        ".json",
        ".jsonl",
        ".ndjson",
        ".parquet",
        ".pq",
        ".avro",
        ".orc",
    ),
    *(
        ".arrow",
        ".feather",
        ".ipc",
        ".xlsx",
        ".xls",
        ".ods",
        ".xml",
        ".pkl",
        ".npz",
        ".h5",
    ),
    *(".db", ".sqlite", ".duckdb", ".tar", ".tgz", ".xz", ".7z", ".rar", ".lz4", ".snappy", ".br"),
)
"""Suffixes of files that are data, whether or not a reader knows them."""

_HIDDEN = (".", "~$")
_BOOKKEEPING = {"_delta_log", "_spark_metadata", "_temporary", "__macosx", "thumbs.db"}
"""What tables, spreadsheets and operating systems keep next to data, in lower case."""

_MAGIC = (
    b"PAR1",
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"Obj\x01",
    b"ORC",
    b"{",
)
_SEPARATORS = (b",", b"\t", b";", b"|")
_SNIFFED = 4096
_PATTERN = set("*?[")


class Stream(Protocol):
    """An open file, decompressed."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def is_compressed(file: Path) -> bool:
    """Whether the file is decompressed while it is read."""
    return file.suffix.lower() in COMPRESSIONS


def decompressed_suffix(file: Path) -> str:
    """The suffix after decompression, in lower case: ``.csv`` of ``events.CSV.gz``."""
    return (file.with_suffix("") if is_compressed(file) else file).suffix.lower()


@contextmanager
def open_stream(file: Path) -> Iterator[Stream]:
    """Open a file for reading, decompressed by its suffix.

    Raises:
        OSError: if it cannot be opened or decompressed; also while it is read.
    """
    compression = COMPRESSIONS.get(file.suffix.lower())
    try:
        if compression == "zip":
            with zipfile.ZipFile(file) as archive, archive.open(_member(file, archive)) as stream:
                yield stream
        elif compression == "bz2":  # Arrow accepts a truncated file
            with bz2.open(file) as stream:
                yield stream
        else:
            import pyarrow as pa  # noqa: PLC0415 - not for a server, whose files are not compressed

            with pa.input_stream(str(file), compression=compression) as stream:
                yield stream
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise OSError(str(error)) from error


def _member(file: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file in a zip archive."""
    found = [
        one
        for one in archive.infolist()
        if not one.is_dir() and not one.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        names = ", ".join(one.filename for one in found[:3]) or "none"
        msg = f"{file.name} contains {len(found)} files ({names}), expected one; unzip it"
        raise DataError(msg)
    if found[0].flag_bits & 1:
        raise DataError(f"{file.name} is encrypted; unzip it with its password")
    return found[0]


def duckdb_path(file: Path, folder: Path) -> str:
    """The path by which DuckDB reads exactly this file.

    DuckDB takes ``clicks[1].csv`` for a pattern that matches ``clicks1.csv``. Such a file is read by a
    link in ``folder``, a temporary one.
    """
    if not _PATTERN & set(str(file)):
        return str(file)
    digest = hashlib.sha256(bytes(file.resolve())).hexdigest()
    link = folder / f"{digest}{file.suffix.lower()}"
    if not link.is_symlink():
        link.symlink_to(file.resolve())
    return str(link)


def list_folder(folder: Path, *, subfolders: bool = True) -> list[Path]:
    """The files of a folder, sorted by path; without hidden ones and those that other programs keep.

    Raises:
        DataError: if the folder or one of its files cannot be read, or is neither file nor folder.
    """
    found: list[Path] = []
    try:
        for path in folder.iterdir():
            if path.name.startswith(_HIDDEN) or path.name.lower() in _BOOKKEEPING:
                continue
            if path.is_dir():
                found += list_folder(path) if subfolders else []
            else:
                _check_readable(path)
                found.append(path)
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror}"
        raise DataError(msg) from error
    return sorted(found)


def _check_readable(path: Path) -> None:
    if not path.exists():
        msg = f"{path} is a link to {path.readlink()}, which does not exist; restore or remove it"
        raise DataError(msg)
    if not path.is_file():
        msg = f"{path} is not a regular file; remove it from the folder"
        raise DataError(msg)
    if not os.access(path, os.R_OK):
        msg = f"{path} cannot be read: permission denied; change its permissions, or remove it"
        raise DataError(msg)


def name_of_compressed(file: Path) -> str:
    """What to rename a compressed file to whose name does not say what it contains; else nothing."""
    if not is_compressed(file) or decompressed_suffix(file):
        return ""
    name = f"{file.stem}.csv{file.suffix}"
    return f": {file.name} does not say what it contains; if that is CSV, rename it to {name}"


def looks_like_data(file: Path) -> bool:
    """Whether a file seems to be data: by its suffix, or else by its first bytes."""
    name, suffix = file.name, file.suffix.lower()
    if name.startswith(("_", ".")) or name.endswith("~") or suffix in (*_UNFINISHED, *_NOTES):
        return False
    if suffix in COMPRESSIONS or suffix in _DATA:
        return True
    with file.open("rb") as stream:
        head = stream.read(_SNIFFED)
    line = head.split(b"\n", 1)[0]
    return head.startswith(_MAGIC) or any(line.count(mark) >= 2 for mark in _SEPARATORS)


def check_all_read(folder: Path, read: Iterable[Path], rule: str) -> list[Path]:
    """Check that no data in a folder is left out; returns the other files that are not read.

    Args:
        folder: The folder; its subfolders belong to it.
        read: The files that are read.
        rule: Which files are read, and what to do with others: the end of the message.

    Raises:
        DataError: if a file that looks like data is not read.
    """
    known = set(read)
    others = [file for file in list_folder(folder) if file not in known]
    data = [file.relative_to(folder).as_posix() for file in others if looks_like_data(file)]
    if data:
        more = f" and {len(data) - 3} more" if len(data) > 3 else ""
        hint = name_of_compressed(Path(data[0]))
        msg = f"{folder}: {', '.join(data[:3])}{more} would not be read{hint}. {rule}"
        raise DataError(msg)
    return others

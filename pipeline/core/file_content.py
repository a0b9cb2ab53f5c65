"""What a file is, where its name says something else, and which name was meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

HEAD_BYTES = 4096
"""Enough of a file to see what it is."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some programs write before UTF-8 text."""

_SEPARATORS = (b",", b";", b"\t", b"|")

_MAGIC = (
    (b"\x1f\x8b", "gzip", "give it a name that ends in .gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "give it a name that ends in .zst"),
    (b"BZh", "bzip2", "give it a name that ends in .bz2"),
    (b"\xfd7zXZ", "an xz archive", "decompress it"),
    (b"PAR1", "parquet", "give it a name that ends in .parquet"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unzip it, or save the sheet as CSV (UTF-8)"),
    (b"PK\x05\x06", "an empty zip archive", "export it again"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet", "save the sheet as CSV (UTF-8)"),
    (b"%PDF", "a PDF document", "export the table as CSV"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
)
_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_UNPRINTABLE = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_MOST_UNPRINTABLE = 0.02
"""Share of control characters from which a file is not text."""


def foreign_content(head: bytes) -> str | None:
    """What a file that should be UTF-8 text is instead, and what to do; None if it may be text.

    Args:
        head: Its first :data:`HEAD_BYTES` bytes.
    """
    for magic, kind, remedy in _MAGIC:
        if head.startswith(magic):
            return f"it is {kind}; {remedy}"
    if _WEB_PAGE.match(head):
        return "it is a web page, perhaps of a download that failed; download the file again"
    zeros = head.count(0)
    if zeros > len(head) / 3 and max(head[::2].count(0), head[1::2].count(0)) == zeros:
        return "it is UTF-16 text; save it as UTF-8"
    if len(_UNPRINTABLE.findall(head)) > _MOST_UNPRINTABLE * len(head):
        return "it is binary data, not text; export it as CSV (UTF-8)"
    return None


def likely_separator(head: bytes) -> str:
    """The separator that is most frequent in the first line of a CSV; a comma if it has none."""
    return max(_SEPARATORS, key=head.partition(b"\n")[0].count).decode()


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'Session'?)`` if one of the names is much like ``name``; else nothing."""
    if name in (names := list(names)):
        return ""
    plain = {_plain(one): one for one in names}
    near = get_close_matches(_plain(name), plain, n=1, cutoff=0.8)
    return f" (did you mean {plain[near[0]]!r}?)" if near else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()

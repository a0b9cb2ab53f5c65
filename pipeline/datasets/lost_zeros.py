"""Ids that differ in leading zeros only, such as ``000012`` and ``12``.

They are two ids. Both in one log suggest that a spreadsheet has stripped the zeros of some files.
"""

from pathlib import Path

import polars as pl

_PADDED = r"^0[0-9]+(-[0-9]+)?$"
"""Digits, with the number of a derived session."""


def find_lost_zeros(events: Path) -> list[str]:
    """A sentence for each id column of ``events.parquet`` that has such ids."""
    table = pl.scan_parquet(events, glob=False)
    schema = table.collect_schema()
    found: list[str] = []
    for column in ("session", "item"):
        if not isinstance(schema[column], pl.String):
            continue
        ids, plain = pl.col(column), pl.col(column).str.strip_chars_start("0")
        padded = table.filter(ids.str.contains(_PADDED)).select(plain.unique()).collect()
        if padded.height:
            alike = table.filter(plain.is_in(padded[column].implode())).select(ids.unique())
            groups = alike.group_by(plain.alias("plain")).agg(ids.min(), last=ids.max(), n=pl.len())
            several = groups.filter(pl.col("n") > 1).sort("plain").collect()
            if several.height:
                first = several.row(0, named=True)
                found.append(lost_zeros(column, first[column], first["last"], several.height))
    return found


def lost_zeros(column: str, one: str, other: str, pairs: int) -> str:
    """The sentence about ids of a column that differ in leading zeros only."""
    first, second = sorted((one, other), key=len, reverse=True)
    return (
        f"{column}: {first!r} and {second!r} are two ids ({pairs:,} such in all); if a spreadsheet has "
        "stripped leading zeros, export the ids as text"
    )

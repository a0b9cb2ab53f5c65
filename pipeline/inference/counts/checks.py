"""Checks of a table of group counts: names of groups, counts and planned shares."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.core.cell_numbers import Number
from pipeline.core.errors import DataError
from pipeline.core.table_file import Cell, CellTable
from pipeline.experiment.kpis.contracts import COUNTS
from pipeline.inference.counts.columns import AMOUNTS, GROUP, INTEGERS
from pipeline.results.family import Floats

_TOTALS = {
    "total", "totals", "grand total", "subtotal", "sum", "overall", "all groups", "all variants",
    "gesamt", "summe", "insgesamt", "totale", "totaal", "suma", "somme",
}  # fmt: skip
"""Names of a last row with the sums of the others."""

_PARTS = (("clicks", "impressions"), ("orders", "clicks"))

_SIGNED = {"sum_my"}
"""Sums that may be negative where the amount may."""


def group_names(table: CellTable) -> list[str]:
    """The names of the groups, as strings: ``01`` and ``1`` differ, as do ``1e5`` and ``100000``.

    Raises:
        DataError: if a name is missing, a number with decimals, or occurs twice, or there is only
            one.
    """
    names = [
        _group_name(cell, row, table.name) for row, cell in enumerate(table.columns[GROUP], start=1)
    ]
    for row, name in enumerate(names, start=1):
        if (first := names.index(name) + 1) != row:
            msg = (
                f"{table.name}: group {name} is in the rows {first} and {row}; expected two or more "
                "different names, one row per group (sum the rows of one group)"
            )
            raise DataError(msg)
        if name.casefold().strip(" :") in _TOTALS:
            msg = (
                f"{table.name}: row {row} (group {name}) is a total of the other rows by its name; "
                "remove it, or rename the group"
            )
            raise DataError(msg)
    if len(names) < 2:
        msg = f"{table.name}: groups {names}; expected two or more different names"
        raise DataError(msg)
    return names


def _group_name(cell: Cell, row: int, source: str) -> str:
    name = "" if cell is None else str(cell).strip()
    if not name:
        msg = f"{source}: row {row} has no group; expected a name in every row"
        raise DataError(msg)
    if isinstance(cell, float):
        msg = (
            f"{source}: row {row}: group is the number {cell}, whose name is not clear; expected "
            "strings or integers (an empty cell in the column makes decimals of integers)"
        )
        raise DataError(msg)
    return name


def check_counts(
    numbers: Mapping[str, Sequence[Number | None]], groups: Sequence[str], source: str
) -> dict[str, Sequence[Number]]:
    """The counts and sums, all known.

    Raises:
        DataError: if one is missing, has decimals or is negative, a part is larger than the whole,
            or a row has the sums of the others.
    """
    counts: dict[str, Sequence[Number]] = {
        column: [
            _count(value, column, f"{source}: row {row} (group {group})")
            for row, (value, group) in enumerate(zip(values, groups, strict=True), start=1)
        ]
        for column, values in numbers.items()
    }
    for part, whole in _PARTS:
        for row, y in enumerate(counts.get(part, ())):
            if y > (n := counts[whole][row]):
                msg = (
                    f"{source}: row {row + 1}: group {groups[row]} has {n} {whole} and {y} {part}; "
                    "expected at most one click per impression and one order per click"
                )
                raise DataError(msg)
    for row, users in enumerate(counts.get("users", ())):
        if not users and (n := counts["impressions"][row]):
            msg = (
                f"{source}: row {row + 1} (group {groups[row]}) has 0 users and {n} impressions; "
                "users are those assigned to the group"
            )
            raise DataError(msg)
    _check_total(counts, groups, source)
    return counts


_SMALLEST, _LARGEST = 1e-60, 1e60
"""Beyond, products of sums overflow, or are 0."""


def is_computable(value: Number) -> bool:
    """Whether a number is finite, and neither so large nor so small that its products are lost."""
    return value == 0 or _SMALLEST < abs(value) < _LARGEST


def _count(value: Number | None, column: str, place: str) -> Number:
    whole = column in INTEGERS
    signed = column in AMOUNTS or (
        column.endswith(tuple(_SIGNED)) and any(f"{name}_per" in column for name in AMOUNTS)
    )
    expected = f"{'an integer' if whole else 'a number'}{'' if signed else ' of 0 or more'}"
    if value is None or not math.isfinite(value):
        problem = "is missing" if value is None else f"is {value}"
    elif (whole and value != int(value)) or (value < 0 and not signed):
        problem = f"is {value}"
    elif not is_computable(value):
        problem = f"is {value}"
        expected = f"{expected}, {_SMALLEST:g} to {_LARGEST:g} in size"
    else:
        return int(value) if value == int(value) else value
    msg = f"{place}: {column} {problem}; expected {expected}"
    raise DataError(msg)


def _check_total(
    counts: Mapping[str, Sequence[Number]], groups: Sequence[str], source: str
) -> None:
    """Check that no row of four or more is the sum of all others in every count."""
    totals = {name: sum(counts[name]) for name in COUNTS if name in counts}
    for row, group in enumerate(groups):
        sums = [2 * counts[name][row] == total for name, total in totals.items()]
        if len(groups) > 3 and all(sums) and counts["clicks"][row]:
            msg = (
                f"{source}: row {row + 1} (group {group}) has the sums of all other rows in "
                f"{', '.join(totals)}; remove it if it is their total"
            )
            raise DataError(msg)


def check_shares(values: Sequence[Number | None], groups: Sequence[str], source: str) -> Floats:
    """The planned shares; raises :class:`DataError` if one is not a positive number."""
    for row, (value, group) in enumerate(zip(values, groups, strict=True), start=1):
        if value is None or not 0 < value < math.inf:
            msg = (
                f"{source}: row {row} (group {group}): share is "
                f"{'missing' if value is None else value}; expected positive numbers, such as 1 each"
            )
            raise DataError(msg)
    return np.array(values, dtype=np.float64)

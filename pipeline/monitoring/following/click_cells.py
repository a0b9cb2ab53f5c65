"""Lists and clicks by model, day, group and bin of the best score: what clicks are predicted from.

Like the histograms of features, they have every user's first list of a day, so that the lists are independent of
each other. A click counts for the cell of its list, whenever it is read.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Period
from pipeline.monitoring.following.rows import Impression, Slice


class Cell(NamedTuple):
    """Lists of one group in one bin on one day, and how many of them were clicked."""

    lists: int
    clicks: int


DayCells = dict[tuple[str, int], Cell]
"""The cells of one day, by group and bin."""


class ClickCells:
    """The cells in the database."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connection

    def add(self, found: Iterable[tuple[Impression, int, int]]) -> None:
        """Add lists, each with the number of its slice and its bin; within a transaction."""
        for one, part, number in found:
            row = self._connection.execute(
                "INSERT INTO cells (model, day, slice, bin, lists, clicks) VALUES (?, ?, ?, ?, 1, 0) "
                "ON CONFLICT (model, day, slice, bin) DO UPDATE SET lists = lists + 1 RETURNING id",
                (one.model, Period.DAY.number(one.ts), part, number),
            ).fetchone()
            self._connection.execute(
                "UPDATE impressions SET cell = ? WHERE id = ?", (row[0], one.id)
            )

    def click(self, cell: int) -> None:
        """Count the first click of a list in its cell; within a transaction."""
        self._connection.execute("UPDATE cells SET clicks = clicks + 1 WHERE id = ?", (cell,))

    def read(self, experiment: str) -> dict[str, dict[int, DayCells]]:
        """The cells of an experiment's groups by model and day, in order of time."""
        groups = {
            number: part.group
            for number, key in self._connection.execute("SELECT id, key FROM slices")
            if (part := Slice.from_key(key)).group and part.experiment == experiment
        }
        found = defaultdict[str, dict[int, DayCells]](dict)
        rows = self._connection.execute(
            "SELECT model, day, slice, bin, lists, clicks FROM cells ORDER BY model, day"
        )
        for model, day, part, number, *counts in rows:
            if (group := groups.get(part)) is not None:
                found[model].setdefault(day, {})[group, number] = Cell(*counts)
        return dict(found)

"""Per-user sufficient statistics by slice and period, kept up to date impression by impression.

A user has totals in each period: the hour, the day (UTC) and all time. If a user's trials and successes
change from (m, y) to (m', y'), the sums over users change by m'² - m², and so on; they are integers.
"""

import json
from collections import defaultdict
from enum import IntEnum
from typing import NamedTuple

from pipeline.core.contracts import DAY_MS
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.outcomes import MONITORED, TOTAL_NAMES, Totals
from pipeline.monitoring.following.rows import Slice

HOUR_MS = 3_600_000


class Period(IntEnum):
    """The length of a period; its number counts from 1970 UTC."""

    ALL = 0
    DAY = 1
    HOUR = 2

    def number(self, ts: int) -> int:
        """The period of a time in milliseconds since 1970 UTC."""
        return {Period.ALL: 0, Period.DAY: ts // DAY_MS, Period.HOUR: ts // HOUR_MS}[self]


class UserSums(NamedTuple):
    """Σ over the users of one slice in one period: m trials and y successes of each."""

    users: int = 0
    trials: int = 0
    successes: int = 0
    sum_mm: int = 0
    sum_my: int = 0
    sum_yy: int = 0

    def changed(self, old: tuple[int, int], new: tuple[int, int]) -> "UserSums":
        """The sums after one user's trials and successes have changed."""
        (m, y), (later_m, later_y) = old, new
        return UserSums(
            self.users + (later_m > 0) - (m > 0),
            self.trials + later_m - m,
            self.successes + later_y - y,
            self.sum_mm + later_m * later_m - m * m,
            self.sum_my + later_m * later_y - m * y,
            self.sum_yy + later_y * later_y - y * y,
        )


class Key(NamedTuple):
    """A slice (by its number in the database) in a period."""

    kind: int
    number: int
    slice: int


_COLUMNS = ", ".join(TOTAL_NAMES)
_FIND = (
    f"SELECT {_COLUMNS} FROM user_totals WHERE kind = ? AND number = ? AND slice = ? AND user = ?"  # noqa: S608 - names of this module
)
_PLACES = ", ".join("?" * (4 + len(TOTAL_NAMES)))
_STORE = f"INSERT OR REPLACE INTO user_totals VALUES ({_PLACES})"  # noqa: S608 - as above
_NOTHING = (0,) * len(TOTAL_NAMES)


class Ledger:
    """Changes of users' totals, and the sums after them; one per transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes: dict[Key, dict[bytes, list[int]]] = defaultdict(dict)
        self._slices = {
            key: number for number, key in database.connection.execute("SELECT id, key FROM slices")
        }

    def slice_number(self, part: Slice) -> int:
        """The number of a slice in the database."""
        key = part.key()
        if key not in self._slices:
            done = self._database.connection.execute("INSERT INTO slices (key) VALUES (?)", (key,))
            self._slices[key] = int(done.lastrowid or 0)
        return self._slices[key]

    def add(self, part: int, user: bytes, ts: int, change: Totals) -> None:
        """Add the change of an impression at ``ts`` to its user's totals."""
        values = change.values()
        for period in Period:
            users = self._changes[Key(period, period.number(ts), part)]
            if (found := users.get(user)) is None:
                users[user] = list(values)
            else:
                for n, value in enumerate(values):
                    found[n] += value

    def write(self) -> set[tuple[int, int, bytes]]:
        """Write totals and sums; returns day, slice and user where a user is new on the day."""
        new: set[tuple[int, int, bytes]] = set()
        for key, users in self._changes.items():
            sums = self._sums(key)
            rows: list[tuple[int | bytes, ...]] = []
            for user, change in users.items():
                found = self._database.connection.execute(_FIND, (*key, user)).fetchone()
                if found is None and key.kind == Period.DAY:
                    new.add((key.number, key.slice, user))
                old = found or _NOTHING
                later = tuple(a + b for a, b in zip(old, change, strict=True))
                _update(sums, Totals(*old), Totals(*later))
                rows.append((*key, user, *later))
            self._database.connection.executemany(_STORE, rows)
            self._database.connection.execute(
                "INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?)", (*key, json.dumps(sums))
            )
        self._changes.clear()
        return new

    def _sums(self, key: Key) -> dict[str, UserSums]:
        row = self._database.connection.execute(
            "SELECT content FROM sums WHERE kind = ? AND number = ? AND slice = ?", key
        ).fetchone()
        return parse_sums(row[0]) if row else dict.fromkeys(MONITORED, UserSums())


def parse_sums(content: str) -> dict[str, UserSums]:
    """The sums of all KPIs, as the database has them."""
    return {name: UserSums(*values) for name, values in json.loads(content).items()}


def _update(sums: dict[str, UserSums], old: Totals, new: Totals) -> None:
    for name, (trials, successes) in MONITORED.items():
        before = old.of(trials), old.of(successes)
        after = new.of(trials), new.of(successes)
        if before != after:
            sums[name] = sums[name].changed(before, after)

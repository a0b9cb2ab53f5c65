"""Per-user sufficient statistics by slice and period, kept up to date impression by impression.

A user has totals in each period: the hour, the day (UTC) and all time. If a user's trials and successes
change from (m, y) to (m', y'), the sums over users change by m'² - m², and so on; they are integers.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import IntEnum
from operator import add
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.contracts import DAY_MS, HOUR_MS
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.outcomes import MONITORED, TOTAL_NAMES, Totals
from pipeline.monitoring.following.rows import Slice


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

    def plus(self, other: "UserSums") -> "UserSums":
        """The sums with those of other users, or with a change."""
        return UserSums(*(a + b for a, b in zip(self, other, strict=True)))


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
_LARGEST = 1 << 24
"""A total up to which the squares of 32,000 users have a sum of 64 bits."""


class Ledger:
    """Changes of users' totals, and the sums after them; one per transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes: dict[Key, dict[bytes, list[int]]] = defaultdict(dict)
        self._slices = {
            Slice.from_key(key): number
            for number, key in database.connection.execute("SELECT id, key FROM slices")
        }

    def slice_number(self, part: Slice) -> int:
        """The number of a slice in the database."""
        if part not in self._slices:
            done = self._database.connection.execute(
                "INSERT INTO slices (key) VALUES (?)", (part.key(),)
            )
            self._slices[part] = int(done.lastrowid or 0)
        return self._slices[part]

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
            old: list[tuple[int, ...]] = []
            for user in users:
                found = self._database.connection.execute(_FIND, (*key, user)).fetchone()
                if found is None and key.kind == Period.DAY:
                    new.add((key.number, key.slice, user))
                old.append(found or _NOTHING)
            later = [
                tuple(map(add, before, change))
                for before, change in zip(old, users.values(), strict=True)
            ]
            rows = [(*key, user, *values) for user, values in zip(users, later, strict=True)]
            self._database.connection.executemany(_STORE, rows)
            sums = _updated(self._sums(key), _by_name(old), _by_name(later))
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


def _by_name(rows: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The totals of users by name, as arrays; as Python's integers where squares exceed 64 bits."""
    columns = {name: np.array(values) for name, *values in zip(TOTAL_NAMES, *rows, strict=True)}
    exact = {
        name: values.astype(object) if np.abs(values).max() > _LARGEST else values
        for name, values in columns.items()
    }
    without_click = columns["orders_without_click"]
    users = {
        "users": columns["impressions"] > 0,
        "buyers": columns["orders"] + without_click > 0,
        "buyers_without_click": without_click > 0,
    }
    return exact | {name: values.astype(np.int64) for name, values in users.items()}


def _updated(
    sums: Mapping[str, UserSums], old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, UserSums]:
    """The sums after the totals of some users have changed."""
    return {
        name: sums[name].plus(
            _difference((old[trials], old[successes]), (new[trials], new[successes]))
        )
        for name, (trials, successes) in MONITORED.items()
    }


def _difference(old: tuple[Any, Any], new: tuple[Any, Any]) -> UserSums:
    (m, y), (later_m, later_y) = old, new
    changes = (
        (later_m > 0).astype(np.int64) - (m > 0).astype(np.int64),
        later_m - m,
        later_y - y,
        later_m * later_m - m * m,
        later_m * later_y - m * y,
        later_y * later_y - y * y,
    )
    return UserSums(*(int(change.sum()) for change in changes))

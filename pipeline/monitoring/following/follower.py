"""Follows the endpoint's log: every row is counted exactly once, also after ``kill -9``.

An event that was sent to several servers is in the log several times, with one id, and counts once.

Orders are looked at first, then clicks, then impressions, and read in the opposite order, each up to the
size it had: the endpoint writes an impression before its click, so an event without an impression has
none in the log.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.contracts import DAY_MS, HOUR_MS
from pipeline.experiment.log.log_files import LogTable
from pipeline.monitoring.following.click_cells import ClickCells
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.features import FeatureStore
from pipeline.monitoring.following.ledger import Ledger, Period
from pipeline.monitoring.following.outcomes import Event, Windows, shown_totals, totals_of
from pipeline.monitoring.following.rows import Impression, Outcome, impression_of, outcome_of
from pipeline.monitoring.following.tail import Batch, Cursor, Unread, new_batches, unread_files

_LOOKED_AT = (LogTable.ORDERS, LogTable.CLICKS, LogTable.IMPRESSIONS)
_KEPT_WINDOWS = 2
"""Impressions, and users' totals of an hour or a day, are kept for that many attribution windows."""

NEWEST, _WRITTEN = "newest_ts", "written"

DAMAGED_FILE = "damaged file"
"""A problem that is counted once per file, not per row: how many rows are lost is unknown."""

_DAMAGED = "%s.jsonl.gz is damaged after %d rows (%s): later ones do not count; put an undamaged copy in its place"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """How rows of the log count.

    Attributes:
        windows: When events count.
        forced: Users of forced assignment.
    """

    windows: Windows
    forced: dict[str, str]


class Follower:
    """Reads what is new in a log into the database: one folder, or one of each server in it."""

    def __init__(self, database: Database, folder: Path, rules: LogRules) -> None:
        self._database = database
        self._folder = folder
        self._rules = rules
        self._features = FeatureStore(database)
        self._cells = ClickCells(database)

    def look(self, now: float) -> int:
        """Read everything that is new; returns the number of rows.

        Args:
            now: Seconds since 1970; the hour that problems are counted in.
        """
        rows = 0
        for table, batch, name in self._batches():
            if batch.damage:
                _LOG.warning(_DAMAGED, self._folder / name, batch.cursor.rows, batch.damage)
            with self._database.transaction():
                self._record(table, batch, int(now * 1000))
                self._database.set_cursor(name, batch.cursor)
            rows += len(batch.rows)
        self._prune()
        return rows

    @property
    def written(self) -> float:
        """When the log's impressions were last written, in seconds since 1970; 0 if never."""
        return float(self._database.get(_WRITTEN, 0.0))

    def _batches(self) -> Iterator[tuple[LogTable, Batch, str]]:
        cursors = self._database.cursors()
        found: list[tuple[LogTable, list[Unread]]] = []
        for table in _LOOKED_AT:
            files, written = unread_files(self._folder, table, cursors)
            found.append((table, files))
            if table is LogTable.IMPRESSIONS and written > self.written:
                with self._database.transaction():
                    self._database.put(_WRITTEN, written)
        for table, files in reversed(found):
            for file in files:
                cursor = cursors.get(file.name, Cursor())
                for batch in new_batches(self._folder, file, cursor):
                    yield table, batch, file.name

    def _record(self, table: LogTable, batch: Batch, now: int) -> None:
        problems = Counter({"unreadable line": batch.broken, DAMAGED_FILE: int(bool(batch.damage))})
        ledger = Ledger(self._database)
        if table is LogTable.IMPRESSIONS:
            shown = self._record_impressions(batch.rows, ledger, problems)
        else:
            shown = []
            self._record_events(batch.rows, ledger, problems, is_order=table is LogTable.ORDERS)
        new = ledger.write()
        scored = self._features.add(one for one in shown if _pop(new, one, ledger))
        self._cells.add((one, _part(one, ledger), number) for one, number in scored)
        self._database.count(table.value, now // HOUR_MS, problems)
        if shown:
            newest = max(min(one.ts, now) for one in shown)
            self._database.put(NEWEST, max(newest, self._database.get(NEWEST, 0)))

    def _record_impressions(
        self, rows: list[dict[str, Any]], ledger: Ledger, problems: Counter[str]
    ) -> list[Impression]:
        """Store impressions; returns those that count."""
        counted: list[Impression] = []
        for row in rows:
            one = impression_of(row, self._rules.forced)
            if one is None:
                problems["invalid row"] += 1
                continue
            part = None if one.slice is None else ledger.slice_number(one.slice)
            stored = self._database.connection.execute(
                "INSERT OR IGNORE INTO impressions VALUES (?, ?, ?, ?, NULL, NULL)",
                (one.id, one.user, one.ts, part),
            )
            if not stored.rowcount:
                problems["duplicate"] += 1
                continue
            problems[one.outside] += 1
            if part is not None:
                ledger.add(part, one.user, one.ts, shown_totals(one.fallback))
                counted.append(one)
        return counted

    def _record_events(
        self,
        rows: list[dict[str, Any]],
        ledger: Ledger,
        problems: Counter[str],
        *,
        is_order: bool,
    ) -> None:
        for row in rows:
            one = outcome_of(row, is_order=is_order)
            problems["invalid row" if one is None else self._add_event(one, ledger)] += 1

    def _add_event(self, one: Outcome, ledger: Ledger) -> str:
        """Add an event to its impression; returns what is wrong with it, or nothing."""
        if not one.known:
            return "unknown impression"
        connection = self._database.connection
        row = connection.execute(
            "SELECT user, ts, slice, events, cell FROM impressions WHERE id = ?", (one.impression,)
        ).fetchone()
        if row is None:
            return "no impression"
        user, ts, part, stored, cell = row
        if part is None:
            return "impression that does not count"
        events = [Event(*event) for event in json.loads(stored or "[]")]
        later = [*events, one.event]
        windows = self._rules.windows
        before, after = totals_of(ts, events, windows), totals_of(ts, later, windows)
        connection.execute(
            "UPDATE impressions SET events = ? WHERE id = ?", (json.dumps(later), one.impression)
        )
        if before == after:
            return _without_effect(one.event, events)
        change = after - before
        ledger.add(part, user, ts, change)
        if cell is not None and change.clicks:
            self._cells.click(cell)
        # an order without a click is counted, but it is none of the orders of a KPI
        has_effect = change.clicks or not change.orders_without_click
        return "" if has_effect else _without_effect(one.event, events)

    def _prune(self) -> None:
        """Once per hour of the log, forget what no event can change any more."""
        newest = int(self._database.get(NEWEST, 0))
        if newest // HOUR_MS == self._database.get("pruned", 0):
            return
        end = newest - _KEPT_WINDOWS * self._rules.windows.attribution - DAY_MS
        with self._database.transaction():
            connection = self._database.connection
            connection.execute("DELETE FROM impressions WHERE ts < ?", (end,))
            for period in (Period.DAY, Period.HOUR):
                connection.execute(
                    "DELETE FROM user_totals WHERE kind = ? AND number < ?",
                    (period, period.number(end)),
                )
            self._database.put("pruned", newest // HOUR_MS)


def _pop(new: set[tuple[int, int, bytes]], one: Impression, ledger: Ledger) -> bool:
    """Whether an impression is the first of its user on the day; true once."""
    key = (Period.DAY.number(one.ts), _part(one, ledger), one.user)
    is_first = key in new
    new.discard(key)
    return is_first


def _part(one: Impression, ledger: Ledger) -> int:
    """The number of the slice of an impression that counts."""
    assert one.slice is not None
    return ledger.slice_number(one.slice)


def _without_effect(event: Event, events: list[Event]) -> str:
    """Why an event changes nothing."""
    if any(event.repeats(one) for one in events):
        return "sent again"
    if not event.is_order and any(not one.is_order for one in events):
        return "repeated click"
    if event in events:
        return "duplicate"
    if event.is_order and all(one.is_order for one in events):
        return "order without a click"
    return "outside the attribution window"

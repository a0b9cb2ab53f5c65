"""The monitor's database: cursors, sums and everything else that one transaction changes together.

SQLite, so that a killed monitor loses the unfinished transaction and nothing else: offsets and sums are
always of the same rows. It holds no user ids, only 64-bit digests of them.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pipeline.artifacts.storage import storage_errors
from pipeline.core.errors import DataError
from pipeline.monitoring.following.outcomes import TOTAL_NAMES
from pipeline.monitoring.following.tail import Cursor

FORMAT = 2
_CACHE_KIB = 32_768
_WAIT_SECONDS = 10.0

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (
    name TEXT PRIMARY KEY, inode INTEGER, "offset" INTEGER, "rows" INTEGER, compressed INTEGER
);
CREATE TABLE slices (id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL);
CREATE TABLE impressions (
    id BLOB PRIMARY KEY, user BLOB, ts INTEGER, slice INTEGER, events TEXT, cell INTEGER
) WITHOUT ROWID;
CREATE INDEX impression_times ON impressions (ts);
CREATE TABLE user_totals (
    kind INTEGER, number INTEGER, slice INTEGER, user BLOB,
    {", ".join(f"{name} INTEGER" for name in TOTAL_NAMES)},
    PRIMARY KEY (kind, number, slice, user)
) WITHOUT ROWID;
CREATE TABLE sums (
    kind INTEGER, number INTEGER, slice INTEGER, content TEXT, PRIMARY KEY (kind, number, slice)
) WITHOUT ROWID;
CREATE TABLE problems (
    hour INTEGER, log TEXT, problem TEXT, n INTEGER, PRIMARY KEY (hour, log, problem)
) WITHOUT ROWID;
CREATE TABLE feature_values (model TEXT, feature TEXT, value REAL);
CREATE TABLE histograms (
    model TEXT, feature TEXT, day INTEGER, bin INTEGER, n INTEGER,
    PRIMARY KEY (model, feature, day, bin)
) WITHOUT ROWID;
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, model TEXT, day INTEGER, slice INTEGER, bin INTEGER, lists INTEGER, clicks INTEGER,
    UNIQUE (model, day, slice, bin)
);
CREATE TABLE alerts (id INTEGER PRIMARY KEY, content TEXT NOT NULL, sent INTEGER NOT NULL);
"""


class Database:
    """An open database; use it in one thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the database.

        Raises:
            DataError: if it is damaged, or of another format.
            StorageError: if its folder cannot be made.
        """
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _errors(path):
            connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        database = cls(connection, path)
        try:
            with database.errors():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                database._create()
        except BaseException:
            connection.close()
            raise
        return database

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes of the block, or none."""
        with self.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read in one state of the database, while the monitor goes on."""
        with self.errors():
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.execute("ROLLBACK")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors of SQLite to :class:`DataError`."""
        with _errors(self._path):
            yield

    def cursors(self) -> dict[str, Cursor]:
        """How far every file has been read."""
        rows = self.connection.execute(
            'SELECT name, inode, "offset", "rows", compressed FROM files'
        )
        return {name: Cursor(*cursor) for name, *cursor in rows}

    def set_cursor(self, name: str, cursor: Cursor) -> None:
        """Store how far a file has been read."""
        values = (name, cursor.inode, cursor.offset, cursor.rows, cursor.compressed)
        self.connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values)

    def get(self, key: str, default: Any = None) -> Any:
        """A value that :meth:`put` stored."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def put(self, key: str, value: Any) -> None:
        """Store a value of JSON."""
        self.connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value))
        )

    def count(self, log: str, hour: int, problems: Mapping[str, int]) -> None:
        """Add to the numbers of rows of a table, by problem; the empty one is none."""
        self.connection.executemany(
            "INSERT INTO problems VALUES (?, ?, ?, ?) "
            "ON CONFLICT (hour, log, problem) DO UPDATE SET n = n + excluded.n",
            [(hour, log, problem, n) for problem, n in problems.items() if n],
        )

    def _create(self) -> None:
        """Create the tables, all or none; refuse a database of another format."""
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"
            self.connection.executescript(script)
        elif found != FORMAT:
            msg = (
                f"{self._path} has format {found}, expected {FORMAT}; delete it: the monitor reads the "
                "whole log again"
            )
            raise DataError(msg)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        remedy = "Wait if another process is using it; otherwise delete it: the monitor reads the whole log again"
        if error.sqlite_errorcode in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            remedy = "Change the permissions of its folder, and move away what is in its place"
        msg = f"{path} cannot be used: {error}. {remedy}"
        raise DataError(msg) from error

"""From log files to the experiment's database: every row is in it, or counted under a reason.

The database is what the files say under the traffic plan and the study's rules, however it came
about: files of a table that sort after all known ones of it are added; if any other file is new,
changed or gone, or the plan or a rule changed, the database is made anew. It happens on a copy
beside the database, which then takes its place (ADR 2).

Readers use the view ``impressions``, one row an impression of a user that belongs to the experiment.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from models.progress import track
from pipeline.artifacts.storage import atomic_file, md5
from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.exclusions import attribute_outcomes, drop_duplicates, exclude_users
from pipeline.experiment.log.file_reader import as_log_errors, stage_file
from pipeline.experiment.log.log_coverage import SILENT, detect_log_coverage
from pipeline.experiment.log.log_files import LogTable, table_of
from pipeline.experiment.log.row_validation import LogRules, rejection_sql
from pipeline.experiment.log.user_covariates import deduplicate_users

_LAYOUT = 4
"""Of the database; an older one is made anew."""

_TABLES = """
CREATE TABLE IF NOT EXISTS ingested_files (source VARCHAR PRIMARY KEY, "table" VARCHAR, md5 VARCHAR,
    judged_by VARCHAR, rows BIGINT, columns VARCHAR);
CREATE TABLE IF NOT EXISTS shown (impression VARCHAR, user VARCHAR, "group" VARCHAR, item VARCHAR,
    ts BIGINT, clicked BOOLEAN, ordered BOOLEAN, units INTEGER, revenue BIGINT, source VARCHAR);
CREATE TABLE IF NOT EXISTS clicks (impression VARCHAR, user VARCHAR, item VARCHAR, ts BIGINT,
    source VARCHAR);
CREATE TABLE IF NOT EXISTS orders (impression VARCHAR, user VARCHAR, item VARCHAR, ts BIGINT,
    units INTEGER, revenue BIGINT, source VARCHAR);
CREATE TABLE IF NOT EXISTS known_users (user VARCHAR, segment VARCHAR, impressions BIGINT,
    clicks BIGINT, orders BIGINT, units BIGINT, revenue BIGINT, source VARCHAR);
CREATE TABLE IF NOT EXISTS unusable (source VARCHAR, reason VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS set_aside (source VARCHAR, reason VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS excluded_users (user VARCHAR, reason VARCHAR);
CREATE TABLE IF NOT EXISTS outcomes (impression VARCHAR, clicked BOOLEAN, ordered BOOLEAN,
    units INTEGER, revenue BIGINT);
CREATE OR REPLACE VIEW rejected AS SELECT source, reason, sum(rows)::BIGINT AS rows
    FROM (FROM unusable UNION ALL FROM set_aside) GROUP BY source, reason;
"""

_INSERT = {
    LogTable.IMPRESSIONS: 'INSERT INTO shown SELECT impression, user, "group", item, ts, '
    "clicked, ordered, units, revenue, $source",
    LogTable.CLICKS: "INSERT INTO clicks SELECT impression, user, item, ts, $source",
    LogTable.ORDERS: "INSERT INTO orders SELECT impression, user, item, ts, units, revenue, $source",
    LogTable.USERS: "INSERT INTO known_users SELECT user, segment, impressions, clicks, orders, units, "
    "revenue, $source",
}


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What the database holds after an ingestion, and how many files it had to read."""

    impressions: int
    rejected: dict[str, int]
    files: int
    files_read: int


def ingest(
    files: list[Path],
    plan: Plan,
    database: Path,
    *,
    rules: LogRules | None = None,
    check: Callable[[Path], None] = lambda _: None,
) -> Ingestion:
    """Bring ``database`` to what ``files`` say.

    ``check`` sees the finished copy before it takes the database's place, and raises to refuse it.

    Raises:
        LogError: if a file is unreadable or breaks the contract, files do not fit each other, or no
            row is usable. The database stays as it was.
    """
    rules = rules or LogRules()
    wanted = {file.name: md5(file) for file in files}
    judged_by = _fingerprint(plan, rules)
    known = _known(database, files, wanted, judged_by)
    if len(known) == len(files):
        check(database)
        return _read_only(database)
    with atomic_file(database) as fresh:
        for left_by_a_killed_run in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            left_by_a_killed_run.unlink(missing_ok=True)
        if known:
            shutil.copyfile(database, fresh)
        new = [file for file in sorted(files, key=_place) if file.name not in known]
        with duckdb.connect(str(fresh), config={"preserve_insertion_order": False}) as connection:
            connection.execute(_TABLES)
            for file in track(new, len(new), "taking in the log"):
                _take_in(connection, file, plan, rules, entry=(wanted[file.name], judged_by))
            told = detect_log_coverage(connection, plan)
            connection.execute("DELETE FROM set_aside")
            drop_duplicates(connection)
            deduplicate_users(connection)
            exclude_users(connection, plan, rules)
            if told.by_events:
                attribute_outcomes(connection, rules, told.columns)
            connection.execute(told.view)
            result = _summary(connection, len(new))
        if not result.impressions:
            msg = f"no usable impression in {len(files)} files; rejected: {result.rejected}"
            raise LogError(msg)
        check(fresh)
    return result


def _place(file: Path) -> tuple[str, str]:
    """Files in the order they are taken in."""
    return table_of(file).contract.name, file.name


def _known(database: Path, files: list[Path], wanted: dict[str, str], judged_by: str) -> set[str]:
    """Files whose rows in ``database`` can stay; none if the database must be made anew.

    They can stay if all of them are still there with the same bytes, plan and rules, and every new
    file sorts after those of its table: which of two duplicates is kept depends on their order.
    """
    if not database.exists():
        return set()
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            rows = connection.execute(
                "SELECT source, md5, judged_by FROM ingested_files"
            ).fetchall()
    except duckdb.Error:
        return set()
    known = {
        source for source, digest, by in rows if wanted.get(source) == digest and by == judged_by
    }
    places = sorted(map(_place, files))
    last = {table: name for table, name in places if name in known}
    in_order = all(name in known or name > last.get(table, "") for table, name in places)
    return known if in_order and len(known) == len(rows) else set()


def _take_in(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    plan: Plan,
    rules: LogRules,
    *,
    entry: tuple[str, str],
) -> None:
    """Add the usable rows of one file to its table, and count the others."""
    table = table_of(file)
    incoming = stage_file(connection, file, rules.columns)
    fault, values = rejection_sql(table, plan, rules, told=incoming.told)
    columns = [*incoming.told, *(f"{name}{SILENT}" for name in incoming.silent)]
    examined = f"FROM (SELECT *, {fault} AS fault FROM incoming)"  # noqa: S608 - the rules' own SQL
    with as_log_errors(file):
        connection.execute("BEGIN")
        (taken,) = connection.execute(
            f"{_INSERT[table]} {examined} WHERE fault IS NULL", values | {"source": file.name}
        ).fetchone() or (0,)
        if taken < incoming.rows:
            connection.execute(
                f"INSERT INTO unusable SELECT $source, fault, count(*) {examined} "
                "WHERE fault IS NOT NULL GROUP BY fault",
                values | {"source": file.name},
            )
        connection.execute(
            "INSERT INTO ingested_files VALUES (?, ?, ?, ?, ?, ?)",
            [file.name, table.contract.name, *entry, incoming.rows, ", ".join(columns)],
        )
        connection.execute("COMMIT")


def summarise(database: Path) -> dict[str, Any]:
    """What a database holds: impressions, and rejected rows by reason."""
    result = _read_only(database)
    return {"impressions": result.impressions, "rejected": result.rejected, "files": result.files}


def ingested_md5s(database: Path) -> dict[str, str]:
    """The files a database was made of, and the md5 of each."""
    with _opened(database) as connection:
        rows = connection.execute(
            "SELECT source, md5 FROM ingested_files ORDER BY source"
        ).fetchall()
    return dict(rows)


def _read_only(database: Path) -> Ingestion:
    with _opened(database) as connection:
        return _summary(connection, 0)


@contextmanager
def _opened(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            yield connection
    except duckdb.Error as error:
        msg = (
            f"{database} cannot be read: {str(error).splitlines()[0]}. Wait if another process is "
            "writing it; else make it anew with: paretoscope ingest"
        )
        raise LogError(msg) from error


def _summary(connection: duckdb.DuckDBPyConnection, read: int) -> Ingestion:
    (impressions,) = connection.execute(
        "SELECT coalesce(sum(f.rows - coalesce(r.rows, 0)), 0)::BIGINT FROM ingested_files AS f "
        "LEFT JOIN (SELECT source, sum(rows) AS rows FROM rejected GROUP BY source) AS r "
        "USING (source) WHERE f.\"table\" = 'impressions'"
    ).fetchone() or (0,)
    rejected = connection.execute(
        "SELECT reason, sum(rows)::BIGINT FROM rejected GROUP BY reason ORDER BY 2 DESC, 1"
    ).fetchall()
    (files,) = connection.execute("SELECT count(*) FROM ingested_files").fetchone() or (0,)
    return Ingestion(impressions=impressions, rejected=dict(rejected), files=files, files_read=read)


def _fingerprint(plan: Plan, rules: LogRules) -> str:
    text = json.dumps([_LAYOUT, plan.as_dict(), asdict(rules)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

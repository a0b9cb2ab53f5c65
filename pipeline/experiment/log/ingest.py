"""Ingest log files into the experiment's database; every row is stored, or counted as rejected.

The content of the database depends only on the files, the plan and the rules, not on the history of
ingestions. New files are added, in whatever order they arrive; if a known file is changed or missing, or
the plan or a rule changed, the database is rebuilt. Either happens on a copy, which then replaces the
database (ADR 2).

Readers use the view ``impressions``: one row per impression of a user in the experiment.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from models.progress import track
from pipeline.artifacts.storage import atomic_file
from pipeline.core.errors import LogError
from pipeline.core.labels import counted
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.attribution.attribute_outcomes import attribute_outcomes
from pipeline.experiment.log.database import open_database
from pipeline.experiment.log.exclusions import draw_batches, drop_duplicates, exclude_users
from pipeline.experiment.log.insert_rows import Staging, insert_file
from pipeline.experiment.log.log_coverage import detect_log_coverage
from pipeline.experiment.log.log_files import LogFile
from pipeline.experiment.log.oddities import find_oddities
from pipeline.experiment.log.reading.explored_lists import create_explored_view
from pipeline.experiment.log.reading.log_folder import file_md5
from pipeline.experiment.log.row_fates import check_unknown_groups, write_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.log.validation.user_covariates import deduplicate_users

_log = logging.getLogger(__name__)

_SCHEMA_VERSION = 11
"""Version of the database schema; databases of an older version are rebuilt."""

TABLES = """
CREATE TABLE IF NOT EXISTS ingested_files (source VARCHAR PRIMARY KEY, "table" VARCHAR, md5 VARCHAR,
    fingerprint VARCHAR, rows BIGINT, columns VARCHAR);
CREATE TABLE IF NOT EXISTS logged_impressions (impression VARCHAR, user VARCHAR, "group" VARCHAR,
    item VARCHAR, ts BIGINT, clicked BOOLEAN, ordered BOOLEAN, units INTEGER, revenue BIGINT,
    source VARCHAR);
CREATE TABLE IF NOT EXISTS logged_clicks (impression VARCHAR, user VARCHAR, item VARCHAR, ts BIGINT,
    event_id VARCHAR, source VARCHAR);
CREATE TABLE IF NOT EXISTS logged_orders (impression VARCHAR, user VARCHAR, item VARCHAR, ts BIGINT,
    units INTEGER, revenue BIGINT, event_id VARCHAR, source VARCHAR);
CREATE TABLE IF NOT EXISTS user_covariates (user VARCHAR, segment VARCHAR, impressions BIGINT,
    clicks BIGINT, orders BIGINT, units BIGINT, revenue BIGINT, source VARCHAR);
CREATE TABLE IF NOT EXISTS duplicate_impressions AS FROM logged_impressions;
CREATE TABLE IF NOT EXISTS duplicate_users AS FROM user_covariates;
CREATE TABLE IF NOT EXISTS rejected_rows (source VARCHAR, kind VARCHAR, reason VARCHAR,
    "group" VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS excluded_rows AS FROM rejected_rows;
CREATE TABLE IF NOT EXISTS faulty_rows ("table" VARCHAR, reason VARCHAR, impression VARCHAR,
    user VARCHAR, "group" VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS faulty_examples (source VARCHAR, reason VARCHAR, example VARCHAR);
CREATE TABLE IF NOT EXISTS explored_impressions (impression VARCHAR, user VARCHAR, "group" VARCHAR,
    ts BIGINT, clicked BOOLEAN, propensity DOUBLE, source VARCHAR);
CREATE TABLE IF NOT EXISTS outside_impressions ("hash" UBIGINT);
CREATE TABLE IF NOT EXISTS excluded_users (user VARCHAR, reason VARCHAR, kind VARCHAR);
CREATE TABLE IF NOT EXISTS user_batches (user VARCHAR, batch BIGINT);
CREATE TABLE IF NOT EXISTS outcomes (impression VARCHAR, clicked BOOLEAN, ordered BOOLEAN,
    units BIGINT, revenue BIGINT);
CREATE OR REPLACE VIEW rejected AS SELECT source, kind, reason, sum(rows)::BIGINT AS rows
    FROM (FROM rejected_rows UNION ALL FROM excluded_rows) GROUP BY source, kind, reason;
"""
"""``rejected_rows`` counts rows that are invalid or out of scope by themselves; ``excluded_rows``, which
every ingestion computes again, those rejected because of the rest of the log. ``duplicate_impressions``
and ``duplicate_users`` have the rows that repeat another one: a file that arrives later may make one of them
the first.
``faulty_rows`` has the invalid ones with what they say of their user and group,
``faulty_examples`` a sentence on one of each file and reason, and
``outside_impressions`` the hashed ids of impressions out of scope, whose events are out of scope, too.
``user_batches`` has every user of an impression, with a batch of 0 to 99."""


@dataclass(frozen=True, slots=True)
class Ingestion:
    """Content of the database after an ingestion, and the number of files read for it.

    ``examples`` has a row for each reason of faulty rows: its place, and what was found.
    """

    impressions: int
    rejected: dict[str, int]
    files: int
    files_read: int
    examples: dict[str, str] = field(default_factory=dict[str, str], compare=False)

    def example_of(self, reason: str) -> str:
        """`` (first: clicks.csv line 3: ts is 'soon')`` for a reason that has one, else nothing."""
        return f" (first: {self.examples[reason]})" if reason in self.examples else ""


def ingest(
    files: Sequence[LogFile],
    plan: Plan,
    database: Path,
    *,
    rules: LogRules | None = None,
    check: Callable[[Path], None] = lambda _: None,
) -> Ingestion:
    """Update ``database`` to the content of ``files``.

    Args:
        files: All files of the log.
        plan: Plan of the experiment.
        database: The DuckDB file; created if it does not exist.
        rules: Rules of the experiment.
        check: Called with the finished copy before it replaces the database; raises to refuse it.

    Raises:
        LogError: if a file is unreadable or breaks the contract, files contradict each other, or no
            row is usable. The database is then unchanged.
    """
    rules = rules or LogRules()
    md5s = {file.source: file_md5(file) for file in files}
    current = fingerprint(plan, rules)
    ingested = _ingested(database)
    known = _known_files(ingested, md5s, current)
    if len(known) == len(files):
        check(database)
        return _read_only(database)
    if gone := sorted({source for source, *_ in ingested} - md5s.keys()):
        _log.warning("no longer in the log, and their rows removed: %s", ", ".join(gone))
    new = [file for file in sorted(files, key=lambda one: one.source) if file.source not in known]
    with atomic_file(database) as fresh:
        if known:
            shutil.copyfile(database, fresh)
        entries = {file: (md5s[file.source], current) for file in new}
        result = _update(fresh, entries, plan, rules)
        check(fresh)
    write_ahead_log(database).unlink(missing_ok=True)  # of the database that was replaced
    return result


def _ingested(database: Path) -> list[tuple[str, str, str]]:
    """Source, md5 and fingerprint of the files of a database; none if it must be rebuilt."""
    if not database.exists() or write_ahead_log(database).exists():
        return []  # another program has written to it, and may have been killed
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            return connection.execute(
                "SELECT source, md5, fingerprint FROM ingested_files"
            ).fetchall()
    except duckdb.Error:
        return []


def write_ahead_log(database: Path) -> Path:
    """The file that DuckDB keeps for a database with unfinished writes; we leave none."""
    return database.with_name(f"{database.name}.wal")


def _update(
    database: Path, new: dict[LogFile, tuple[str, str]], plan: Plan, rules: LogRules
) -> Ingestion:
    """Add new files, given with md5 and fingerprint, and derive the rest."""
    with (
        duckdb.connect(str(database), config={"preserve_insertion_order": False}) as connection,
        TemporaryDirectory(prefix="paretoscope-", dir=database.parent) as scratch,
    ):
        connection.execute(TABLES)
        staging = Staging(connection, rules, Path(scratch))
        inserted = (insert_file(staging, file, plan, entry=entry) for file, entry in new.items())
        sum(track(inserted, len(new), "ingesting the log", unit="rows", size=int))
        connection.execute(
            "CREATE OR REPLACE TABLE log_settings AS SELECT ? AS time_zone", [rules.time_zone]
        )
        _derive(connection, plan, rules)
        result = summary(connection, len(new))
        oddities = find_oddities(connection)
    for oddity in oddities:
        _log.warning("%s", oddity)
    place = counted(result.files, "file")
    check_usable(result, place, "experiment.log_path, experiment.name and experiment.columns")
    return result


def check_usable(result: Ingestion, place: str, keys: str) -> None:
    """Raise LogError if no row is usable; ``keys`` of the study are those to check."""
    if not result.impressions:
        msg = f"no usable impression in {place}; {_reasons(result, keys)}"
        raise LogError(msg)


def _reasons(result: Ingestion, keys: str) -> str:
    """Why no row is usable."""
    if not result.rejected:
        return f"there are no rows at all: check the export and {keys.partition(',')[0]}"
    listed = (
        f"{counted(rows, 'row')} rejected: {reason}{result.example_of(reason)}"
        for reason, rows in result.rejected.items()
    )
    return f"{'; '.join(listed)}. Check {keys}"


def _derive(connection: duckdb.DuckDBPyConnection, plan: Plan, rules: LogRules) -> None:
    """Compute what depends on the whole log: duplicates, exclusions, outcomes and the view."""
    coverage = detect_log_coverage(connection, plan)
    connection.execute("DELETE FROM excluded_rows")
    drop_duplicates(connection)
    deduplicate_users(connection)
    exclude_users(connection, plan, rules)
    draw_batches(connection)
    check_unknown_groups(connection, plan)
    if coverage.by_events:
        attribute_outcomes(connection, rules, coverage.columns)
    connection.execute(coverage.view)
    create_explored_view(connection, coverage, rules)
    write_row_fates(connection, plan, by_events=coverage.by_events)


def _known_files(
    ingested: Sequence[tuple[str, str, str]],
    md5s: dict[str, str],
    fingerprint: str,
) -> set[str]:
    """Ingested files whose rows are still valid; empty if the database must be rebuilt.

    The rows are valid if all ingested files still exist with the same bytes, plan and rules.
    """
    known = {
        source
        for source, digest, found in ingested
        if md5s.get(source) == digest and found == fingerprint
    }
    return known if len(known) == len(ingested) else set()


def summarise(database: Path) -> dict[str, Any]:
    """Numbers of impressions and files in a database, and rejected rows by reason."""
    result = _read_only(database)
    return {"impressions": result.impressions, "rejected": result.rejected, "files": result.files}


def ingested_md5s(database: Path) -> dict[str, str]:
    """The md5 of each ingested file."""
    with open_database(database) as connection:
        rows = connection.execute(
            "SELECT source, md5 FROM ingested_files ORDER BY source"
        ).fetchall()
    return dict(rows)


def _read_only(database: Path) -> Ingestion:
    with open_database(database) as connection:
        return summary(connection, 0)


def summary(connection: duckdb.DuckDBPyConnection, files_read: int) -> Ingestion:
    """The content of a database, after ``files_read`` files were read."""
    (impressions,) = connection.execute(
        "SELECT coalesce(sum(f.rows - coalesce(r.rows, 0)), 0)::BIGINT FROM ingested_files AS f "
        "LEFT JOIN (SELECT source, sum(rows) AS rows FROM rejected GROUP BY source) AS r "
        "USING (source) WHERE f.\"table\" = 'impressions'"
    ).fetchone() or (0,)
    rejected = connection.execute(
        "SELECT reason, sum(rows)::BIGINT FROM rejected GROUP BY reason ORDER BY 2 DESC, 1"
    ).fetchall()
    examples = connection.execute(
        "SELECT reason, min(example) FROM faulty_examples GROUP BY reason"
    ).fetchall()
    (files,) = connection.execute("SELECT count(*) FROM ingested_files").fetchone() or (0,)
    return Ingestion(
        impressions=impressions,
        rejected=dict(rejected),
        files=files,
        files_read=files_read,
        examples=dict(examples),
    )


def fingerprint(plan: Plan, rules: LogRules) -> str:
    """A hash of all that a database depends on besides the log."""
    text = json.dumps([_SCHEMA_VERSION, plan.as_dict(), asdict(rules)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

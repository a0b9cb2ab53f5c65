"""From log files to the experiment's database: every row in ``exposures`` or ``rejected``.

The database is what the files say under the traffic plan, however it came about: new files that
sort after all known ones are added; if any other file is new, changed or gone, or the plan changed,
the database is made anew. It happens on a copy beside the database, which then takes its place.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline.errors import LogError
from pipeline.experiment.plan import TrafficPlan
from pipeline.schemas import EARLIEST_TS, EXPOSURES, LATEST_TS
from pipeline.storage import md5, publish_file

_TABLES = """
CREATE TABLE IF NOT EXISTS ingested_files (source VARCHAR PRIMARY KEY, md5 VARCHAR, plan VARCHAR);
CREATE TABLE IF NOT EXISTS exposures (
    experiment VARCHAR, exposure VARCHAR PRIMARY KEY, unit VARCHAR, "group" VARCHAR, ts BIGINT,
    clicked BOOLEAN, ordered BOOLEAN, units INTEGER, source VARCHAR);
CREATE TABLE IF NOT EXISTS rejected (source VARCHAR, reason VARCHAR, rows BIGINT);
"""

_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
}

_JUDGE = """
CREATE OR REPLACE TEMP TABLE judged AS
WITH examined AS (
    SELECT experiment, exposure, unit, incoming."group", ts, clicked, ordered, units, CASE
        WHEN experiment IS NULL OR exposure IS NULL OR unit IS NULL OR incoming."group" IS NULL
            OR ts IS NULL OR clicked IS NULL OR ordered IS NULL OR units IS NULL
            THEN 'a field is empty'
        WHEN experiment <> $experiment THEN 'another experiment'
        WHEN NOT list_contains($groups, incoming."group") THEN 'unknown group'
        WHEN incoming."group" <> assigned."group" THEN 'another group than the unit is assigned to'
        WHEN ts < $earliest OR ts >= $latest THEN 'time outside 2000-01-01 to 2100-01-01'
        WHEN units < 0 THEN 'units below 0'
        WHEN ordered AND NOT clicked THEN 'ordered without a click'
        WHEN ordered <> (units > 0) THEN 'order and units disagree'
        END AS fault
    FROM incoming LEFT JOIN assigned USING (unit)
)
SELECT * EXCLUDE (fault), CASE
    WHEN fault IS NOT NULL THEN fault
    WHEN row_number() OVER (PARTITION BY exposure, fault IS NULL
        ORDER BY ts, unit, clicked, ordered, units) > 1
        OR exposure IN (SELECT exposure FROM exposures) THEN 'duplicate exposure'
    END AS reason
FROM examined
"""


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What the database holds after an ingestion, and how many files it had to read."""

    exposures: int
    rejected: dict[str, int]
    files: int
    files_read: int


def ingest(
    files: list[Path],
    plan: TrafficPlan,
    database: Path,
    *,
    check: Callable[[Path], None] = lambda _: None,
) -> Ingestion:
    """Bring ``database`` to what ``files`` say.

    ``check`` sees the finished copy before it takes the database's place, and raises to refuse it.

    Raises:
        LogError: if a file is unreadable or breaks the contract, or no row is usable. The
            database stays as it was.
    """
    wanted = {file.name: md5(file) for file in files}
    fingerprint = _fingerprint(plan)
    with publish_file(database) as fresh:
        for left_by_a_killed_run in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            left_by_a_killed_run.unlink(missing_ok=True)
        known = _known(database, wanted, fingerprint)
        if known:
            shutil.copyfile(database, fresh)
        new = [file for file in sorted(files, key=lambda file: file.name) if file.name not in known]
        with duckdb.connect(str(fresh)) as connection:
            connection.execute(_TABLES)
            for file in new:
                connection.execute("BEGIN")
                _take_in(connection, file, plan)
                entry = [file.name, wanted[file.name], fingerprint]
                connection.execute("INSERT INTO ingested_files VALUES (?, ?, ?)", entry)
                connection.execute("COMMIT")
            result = _summary(connection, len(files), len(new))
        if not result.exposures:
            msg = f"no usable exposure in {len(files)} files; rejected: {result.rejected}"
            raise LogError(msg)
        check(fresh)
    return result


def _known(database: Path, wanted: dict[str, str], fingerprint: str) -> set[str]:
    """Files whose rows in ``database`` can stay; none if the database must be made anew.

    They can stay if all of them are still there with the same bytes and plan, and every new file
    sorts after them: which of two duplicates is kept depends on the files' order.
    """
    if not database.exists():
        return set()
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            rows = connection.execute("SELECT source, md5, plan FROM ingested_files").fetchall()
    except duckdb.Error:
        return set()
    same = all(wanted.get(source) == digest for source, digest, _ in rows)
    known = {source for source, _, plan in rows if plan == fingerprint}
    in_order = all(name in known or name > max(known, default="") for name in wanted)
    return known if same and in_order and len(known) == len(rows) else set()


def _take_in(connection: duckdb.DuckDBPyConnection, file: Path, plan: TrafficPlan) -> None:
    _read(connection, file)
    rows = connection.execute("SELECT DISTINCT unit FROM incoming WHERE unit IS NOT NULL")
    units = [unit for (unit,) in rows.fetchall()]
    assigned = pl.DataFrame(
        {"unit": units, "group": [plan.group_of(unit).name for unit in units]},
        schema={"unit": pl.String, "group": pl.String},
    )
    connection.register("assigned", assigned.to_arrow())
    connection.execute(
        _JUDGE,
        {
            "experiment": plan.experiment,
            "groups": [group.name for group in plan.groups],
            "earliest": EARLIEST_TS,
            "latest": LATEST_TS,
        },
    )
    connection.unregister("assigned")
    columns = ", ".join(f'"{name}"' for name in EXPOSURES.columns)
    connection.execute(
        f"INSERT INTO exposures SELECT {columns}, ? FROM judged WHERE reason IS NULL",  # noqa: S608
        [file.name],
    )
    connection.execute(
        "INSERT INTO rejected SELECT ?, reason, count(*) FROM judged "
        "WHERE reason IS NOT NULL GROUP BY reason",
        [file.name],
    )


def _read(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Load one file as the table ``incoming``, if it fits the contract."""
    try:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE incoming AS "
            "SELECT * FROM read_parquet(?, hive_partitioning = false)",
            [str(file)],
        )
    except duckdb.Error as error:
        msg = f"{file.name} is not a readable parquet file: {str(error).splitlines()[0]}"
        raise LogError(msg) from error
    described = connection.execute("DESCRIBE incoming").fetchall()
    got = {row[0]: row[1] for row in described}
    expected = {name: _TYPES[dtype] for name, dtype in EXPOSURES.columns.items()}
    problems = [f"{name} is missing" for name in expected if name not in got]
    problems += [
        f"{name} is {got[name]}, expected {dtype}"
        for name, dtype in expected.items()
        if name in got and got[name] != dtype
    ]
    if problems:
        msg = f"{file.name}: {'; '.join(problems)}; the contract is in docs/experiment-log.md"
        raise LogError(msg)


def summarise(database: Path) -> dict[str, Any]:
    """What a database holds: exposures, and rejected rows by reason."""
    with duckdb.connect(str(database), read_only=True) as connection:
        (files,) = connection.execute("SELECT count(*) FROM ingested_files").fetchone() or (0,)
        result = _summary(connection, files, 0)
    return {"exposures": result.exposures, "rejected": result.rejected, "files": result.files}


def _summary(connection: duckdb.DuckDBPyConnection, files: int, read: int) -> Ingestion:
    (exposures,) = connection.execute("SELECT count(*) FROM exposures").fetchone() or (0,)
    rejected = connection.execute(
        "SELECT reason, sum(rows)::BIGINT FROM rejected GROUP BY reason ORDER BY 2 DESC, 1"
    ).fetchall()
    return Ingestion(exposures=exposures, rejected=dict(rejected), files=files, files_read=read)


def _fingerprint(plan: TrafficPlan) -> str:
    text = json.dumps(plan.as_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

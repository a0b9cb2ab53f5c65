"""Check the rules of an artifact with Great Expectations over DuckDB.

Artifacts that break a blocking rule are not written; other broken rules are only reported.
"""

import atexit
import os
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from pipeline.core.errors import QualityError
from pipeline.datasets.io.files import duckdb_path
from pipeline.experiment.log.database import has_rows
from pipeline.experiment.log.reasons import OUTSIDE_GROUPS
from pipeline.quality.expectation import CheckResult, Rule
from pipeline.quality.suites import RULES

_MAX_FAULTY_SHARE = 0.05
_MEMORY = "3GB"
"""Memory limit of DuckDB, beyond which it spills to disk."""


class BrokenRulesError(QualityError):
    """Blocking rules were broken; nothing was written."""

    def __init__(self, message: str, outcomes: list[CheckResult]) -> None:
        super().__init__(message)
        self.outcomes = outcomes


def check_tables(
    artifact: str, tables: Mapping[str, Path], limits: Mapping[str, float] | None = None
) -> list[CheckResult]:
    """Check an artifact's rules on parquet files.

    Args:
        artifact: Name of the artifact.
        tables: Parquet files by table name.
        limits: Limits of the study; rules read them from the table ``limits`` with one row.
    """
    with _database() as (connection, folder):
        if limits:
            row = pl.DataFrame([dict(limits)]).to_arrow()
            connection.from_arrow(row).create("limits")
        for name, path in tables.items():
            relation = connection.read_parquet(duckdb_path(path, folder))
            relation.create_view(name)
        return _validated(RULES[artifact], connection)


def check_experiment_log(
    database: Path, limits: Mapping[str, float] | None = None
) -> list[CheckResult]:
    """Check the rules of ``experiment_log`` on the experiment's database.

    ``limits`` has the study's ``max_faulty_share``, 0.05 by default. The database of a log in a warehouse has no
    rows; what the rules on single impressions would find, ingestion has rejected there.
    """
    share = (limits or {}).get("max_faulty_share", _MAX_FAULTY_SHARE)
    with _database() as (connection, _):
        connection.execute("ATTACH $path AS log (READ_ONLY)", {"path": str(database)})
        is_in_files = has_rows(connection, "log")
        if is_in_files:
            connection.execute("CREATE VIEW impressions AS SELECT * FROM log.impressions")
        connection.execute(
            "CREATE TABLE faulty_rows AS SELECT reason, sum(rows)::BIGINT AS rows, "
            "sum(sum(rows)) OVER ()::BIGINT AS faulty, "
            "((SELECT sum(rows) FROM log.ingested_files) - coalesce((SELECT sum(rows) FROM log.rejected "
            "WHERE reason = $outside), 0))::BIGINT AS read, "
            "$share::DOUBLE AS max_faulty_share, "
            "(SELECT min(example) FROM log.faulty_examples AS e WHERE e.reason = r.reason) AS first "
            "FROM log.rejected AS r WHERE kind IN ('invalid', 'duplicate') GROUP BY reason "
            "ORDER BY 2 DESC, 1",
            {"share": share, "outside": OUTSIDE_GROUPS},
        )
        rules = [
            one for one in RULES["experiment_log"] if is_in_files or one.table != "impressions"
        ]
        return _validated(rules, connection)


@contextmanager
def _database() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty in-memory database, and the temporary folder that it spills to."""
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as folder:
        connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder})
        try:
            yield connection, Path(folder)
        finally:
            connection.close()


def enforce(outcomes: list[CheckResult], *, waived: Container[str] = ()) -> list[CheckResult]:
    """Return the outcomes if no blocking rule is broken, except for waived ones.

    Raises:
        BrokenRulesError: with every broken blocking rule, and rows that break it.
    """
    broken = [
        str(outcome)
        for outcome in outcomes
        if outcome.rule.blocking and not outcome.passed and outcome.rule.name not in waived
    ]
    if broken:
        msg = "artifact refused, and nothing was written: " + "; ".join(broken)
        raise BrokenRulesError(msg, outcomes)
    return outcomes


def _validated(rules: Sequence[Rule], connection: duckdb.DuckDBPyConnection) -> list[CheckResult]:
    from pipeline.quality.expectations import validate  # noqa: PLC0415 - takes 2.5 s to import

    return validate(tuple(rules), connection)


def _close_stderr() -> None:
    """Redirect stderr to null at the exit of the process.

    Great Expectations keeps its connections until the interpreter has shut down, which DuckDB's
    bindings report as a hundred lines of leaked objects.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_close_stderr)  # at import: functions registered later run, and print, before it

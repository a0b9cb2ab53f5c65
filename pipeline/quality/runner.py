"""Check the rules of an artifact with Great Expectations over DuckDB.

Artifacts that break a blocking rule are not written; other broken rules are only reported.
"""

import atexit
import os
import tempfile
import warnings
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from duckdb_engine import ConnectionWrapper
from sqlalchemy.exc import SAWarning

from pipeline.core.errors import QualityError
from pipeline.datasets.io.files import duckdb_path
from pipeline.experiment.log.reasons import OUTSIDE_GROUPS
from pipeline.quality.expectation import CheckResult, Rule
from pipeline.quality.suites import RULES

_MAX_FAULTY_SHARE = 0.05
_MEMORY = "3GB"
"""Memory limit of DuckDB, beyond which it spills to disk."""

_SAMPLE = 5
_FORMAT = "COMPLETE"
"""Result format of Great Expectations; shorter ones omit the rows that broke a rule."""


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
            connection.register("limits", pl.DataFrame([dict(limits)]).to_arrow())
        for name, path in tables.items():
            relation = connection.read_parquet(duckdb_path(path, folder))
            relation.create_view(name)
        return _validate(RULES[artifact], connection)


def check_experiment_log(
    database: Path, limits: Mapping[str, float] | None = None
) -> list[CheckResult]:
    """Check the rules of ``experiment_log`` on the experiment's database.

    ``limits`` has the study's ``max_faulty_share``, 0.05 by default.
    """
    share = (limits or {}).get("max_faulty_share", _MAX_FAULTY_SHARE)
    with _database() as (connection, _):
        connection.execute("ATTACH $path AS log (READ_ONLY)", {"path": str(database)})
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
        return _validate(RULES["experiment_log"], connection)


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


def _validate(rules: tuple[Rule, ...], connection: duckdb.DuckDBPyConnection) -> list[CheckResult]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx  # noqa: PLC0415 - takes 2.5 s to import
    import great_expectations.expectations as gxe  # noqa: PLC0415

    outcomes: list[CheckResult] = []
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # pyright: ignore[reportAttributeAccessIssue]
    source = _data_source(context, connection)
    with warnings.catch_warnings():
        # SQLAlchemy does not support DuckDB's list type; no rule needs it
        warnings.filterwarnings("ignore", "Did not recognize type", category=SAWarning)
        for table in dict.fromkeys(rule.table for rule in rules):
            batch = (
                source.add_table_asset(table, table_name=table)
                .add_batch_definition_whole_table("whole")
                .get_batch()
            )
            for rule in rules:
                if rule.table == table:
                    expectation = getattr(gxe, rule.expectation)(**rule.arguments)
                    result = batch.validate(expectation, result_format=_FORMAT)
                    outcomes.append(_outcome(rule, result))
    return sorted(outcomes, key=lambda outcome: rules.index(outcome.rule))


def _close_stderr() -> None:
    """Redirect stderr to null at the exit of the process.

    Great Expectations keeps its connections until the interpreter has shut down, which DuckDB's
    bindings report as a hundred lines of leaked objects.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_close_stderr)  # at import: functions registered later run, and print, before it


class _NoTransactions(ConnectionWrapper):
    """An open DuckDB connection without transactions, which is not closed."""

    def begin(self) -> None:
        """Do nothing."""

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing; the owner closes the connection."""


def _data_source(context: Any, connection: duckdb.DuckDBPyConnection) -> Any:
    """A Great Expectations source over an open DuckDB connection.

    Great Expectations fetches results after SQLAlchemy has ended the transaction, when DuckDB has
    dropped them; so the connection has no transactions.
    """
    return context.data_sources.add_sql(
        "artifact",
        connection_string="duckdb:///:memory:",
        kwargs={"creator": lambda: _NoTransactions(connection)},
    )


def _outcome(rule: Rule, result: Any) -> CheckResult:
    if raised := _exception(result.exception_info):
        msg = f"check {rule.name} could not run: {raised}"
        raise QualityError(msg)
    found = result.result
    rows = found.get("details", {}).get("unexpected_rows") or found.get("partial_unexpected_list")
    rows = (rows or [])[:_SAMPLE]
    count = found.get("unexpected_count", found.get("observed_value", 0))
    return CheckResult(
        rule=rule,
        passed=bool(result.success),
        unexpected=0 if result.success else int(count or 0),
        sample=tuple(_in_words(row) for row in rows),
        rows=tuple(row if isinstance(row, Mapping) else {"value": row} for row in rows),
    )


def _in_words(row: Any) -> str:
    """A row that broke a rule; null values are left out."""
    if not isinstance(row, Mapping):
        return str(row)
    return ", ".join(f"{name} = {value}" for name, value in row.items() if value is not None)  # pyright: ignore[reportUnknownVariableType]


def _exception(info: Mapping[str, Any]) -> str | None:
    """The exception of a check that could not run; Great Expectations nests it by metric."""
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    nested = (_exception(value) for value in info.values())
    return next((message for message in nested if message is not None), None)

"""Rules by Great Expectations over DuckDB; takes 2.5 s to import."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper
from sqlalchemy.exc import SAWarning

from pipeline.core.errors import QualityError
from pipeline.datasets.io.thread_map import ordered_thread_map
from pipeline.quality.expectation import CheckResult, Rule

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # is read when it is imported


@contextmanager
def _without_pyspark() -> Iterator[None]:
    """Hide PySpark, which Great Expectations imports wherever it is installed.

    PySpark warns of pandas 3, and its ``pyspark.sql.connect`` ends the process, with status 0, if the main module has no
    file, as in a step of Dagster.
    """
    names = ("pyspark", "pyspark.sql.connect")
    known = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # pyright: ignore[reportArgumentType, reportCallIssue] - None: not found
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(known)


with _without_pyspark():
    import great_expectations as gx
    import great_expectations.expectations as gxe

_SAMPLE = 5
_QUERY = "unexpected_rows_query"
_FORMAT = "COMPLETE"
"""Result format of Great Expectations; shorter ones omit the rows that broke a rule."""


def validate(rules: tuple[Rule, ...], connection: duckdb.DuckDBPyConnection) -> list[CheckResult]:
    """The outcome of every rule on the tables of a connection, in the order of the rules.

    Raises:
        QualityError: if a rule could not be checked.
    """
    outcomes: list[CheckResult] = []
    queries = [
        partial(_broken_rows, rule, connection.cursor())
        for rule in rules
        if _QUERY in rule.arguments
    ]
    broken = ordered_thread_map(queries)  # some queries keep one core busy only
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # pyright: ignore[reportAttributeAccessIssue]
    source = _data_source(context, connection)
    with warnings.catch_warnings():
        # SQLAlchemy does not support DuckDB's list type; no rule needs it
        warnings.filterwarnings("ignore", "Did not recognize type", category=SAWarning)
        for rule in rules:
            table, arguments = rule.table, dict(rule.arguments)
            if _QUERY in arguments:
                table = next(broken)
                arguments[_QUERY] = "SELECT * FROM {batch}"
            batch = (
                source.add_table_asset(rule.name, table_name=table)
                .add_batch_definition_whole_table("whole")
                .get_batch()
            )
            expectation = getattr(gxe, rule.expectation)(**arguments)
            outcomes.append(_outcome(rule, batch.validate(expectation, result_format=_FORMAT)))
    return outcomes


def _broken_rows(rule: Rule, connection: duckdb.DuckDBPyConnection) -> str:
    """The table of the rows that break a rule, which Great Expectations would query twice."""
    query, table = rule.arguments[_QUERY].replace("{batch}", rule.table), f"broken_{rule.name}"
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")
    except duckdb.Error as error:
        msg = f"check {rule.name} could not run: {error}"
        raise QualityError(msg) from error
    return table


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

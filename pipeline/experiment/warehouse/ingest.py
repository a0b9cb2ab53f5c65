"""Ingest a log that is in a warehouse: the database of the experiment gets its sums, and no row.

Everything that later steps read of an ingested log is a sum: the tables of the KPIs, and what became of the
rows by reason and group. They are computed in the warehouse under the rules of log files.

Not computed there, and refused: clicks and orders in tables of their own, times that are not integers, and
other names of columns (a view has both).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from ibis.backends import BaseBackend

from pipeline.artifacts.content_version import hash_content
from pipeline.artifacts.storage import atomic_file
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.kpis.aggregate import ExperimentAggregates, stored_name, sum_up
from pipeline.experiment.kpis.user_totals import per_user_totals
from pipeline.experiment.log.ingest import (
    TABLES,
    Ingestion,
    check_usable,
    fingerprint,
    summary,
    write_ahead_log,
)
from pipeline.experiment.log.log_coverage import detect_log_coverage
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.row_fates import FATES, check_unknown_groups
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.connection import open_warehouse
from pipeline.experiment.warehouse.engine_checks import check_engine
from pipeline.experiment.warehouse.exclude_users import find_users
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.experiment.warehouse.stage_rows import stage_log
from pipeline.experiment.warehouse.sum_fates import (
    Fates,
    faulty_reasons,
    sum_fates,
    with_exclusion,
)
from pipeline.study.compute import WarehouseConfig

_REJECTED = ("source", "kind", "reason", "group", "rows")


@dataclass(frozen=True, slots=True)
class _Sums:
    """All that leaves the warehouse; ``aggregates`` is None without a usable impression."""

    columns: tuple[str, ...]
    fates: Fates
    aggregates: ExperimentAggregates | None


def ingest_warehouse(
    config: WarehouseConfig,
    plan: Plan,
    database: Path,
    *,
    rules: LogRules,
    check: Callable[[Path], None] = lambda _: None,
) -> Ingestion:
    """Replace ``database`` by the sums of the log in a warehouse, as it is now.

    Args:
        config: The warehouse and its tables.
        plan: Plan of the experiment.
        database: The DuckDB file; created if it does not exist.
        rules: Rules of the experiment.
        check: Called with the finished database before it replaces the old one; raises to refuse it.

    Raises:
        LogError: if the warehouse or a table cannot be read, the log breaks the contract, the engine does not
            compute as the sums need it, or no row is usable. The database is then unchanged.
    """
    with open_warehouse(config) as connection:
        check_engine(connection, config.backend)
        sums = _sum_log(connection, config, plan, rules)
    with atomic_file(database) as fresh:
        result = _write(fresh, sums, config, plan, rules)
        check(fresh)
    write_ahead_log(database).unlink(missing_ok=True)  # of the database that was replaced
    return result


def _sum_log(
    connection: BaseBackend, config: WarehouseConfig, plan: Plan, rules: LogRules
) -> _Sums:
    log = stage_log(connection, config, plan, rules)
    faulty = faulty_reasons(log)
    users = find_users(log, faulty, plan, rules)
    rows, known = log.impressions, log.users
    valid = materialise(with_exclusion(rows.filter(rows.reason.isnull()), users))
    impressions = valid.filter(valid.exclusion.isnull())
    fates = sum_fates(log, faulty, users, valid, plan)
    if fates.outcomes.is_empty():
        return _Sums(log.columns, fates, None)
    totals = materialise(per_user_totals(impressions))
    covariates = known.filter(known.reason.isnull())
    sums = sum_up(impressions, totals, covariates, plan, rules.time_zone)
    return _Sums(log.columns, fates, sums)


def _write(
    database: Path, sums: _Sums, config: WarehouseConfig, plan: Plan, rules: LogRules
) -> Ingestion:
    """Write the sums as the tables that later steps read."""
    fates, tables = sums.fates, sums.aggregates.as_dict() if sums.aggregates else {}
    names = {LogTable.IMPRESSIONS.value: config.impressions, LogTable.USERS.value: config.users}
    read = fates.fates.group_by("table").agg(pl.col("rows").sum()).sort("table")
    content = {name: table.write_json() for name, table in tables.items()}
    version = hash_content([content, fates.fates.write_json(), fates.rejected.write_json()])
    with duckdb.connect(str(database)) as connection:
        connection.execute(TABLES + FATES)
        connection.execute("CREATE TABLE log_settings AS SELECT ? AS time_zone", [rules.time_zone])
        for table, rows in read.iter_rows():
            columns = ", ".join(sums.columns) if table == LogTable.IMPRESSIONS else ""
            entry = [names[table], table, version, fingerprint(plan, rules), rows, columns]
            connection.execute("INSERT INTO ingested_files VALUES (?, ?, ?, ?, ?, ?)", entry)
        source = pl.col("table").replace_strict(names, return_dtype=pl.String)
        rejected = fates.rejected.with_columns(source=source)
        _insert(connection, "rejected_rows", rejected.select(*_REJECTED))
        _insert(connection, "row_fates", fates.fates)
        if fates.loss_sums.width:
            impressions = pl.lit(LogTable.IMPRESSIONS.value).alias("table")
            _insert(connection, "loss_sums", fates.loss_sums.select(impressions, pl.all()))
        _create(connection, "group_outcomes", fates.outcomes)
        for name, table in tables.items():
            _create(connection, stored_name(name), table)
        detect_log_coverage(connection, plan)
        check_unknown_groups(connection, plan)
        result = summary(connection, len(read))
    check_usable(result, config.impressions, "compute.warehouse.impressions and experiment.name")
    return result


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.register("new_rows", rows.to_arrow())
    connection.execute(f"INSERT INTO {table} FROM new_rows")
    connection.unregister("new_rows")


def _create(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.register("new_rows", rows.to_arrow())
    connection.execute(f"CREATE TABLE {table} AS FROM new_rows")
    connection.unregister("new_rows")

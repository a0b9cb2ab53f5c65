"""Aggregate an experiment's database to the tables that inference needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import ibis
import polars as pl
from ibis.backends.duckdb import Backend
from ibis.common.exceptions import IbisError

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.kpis.daily_kpis import daily_totals, returning_user_totals
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.experiment.kpis.pre_experiment import pre_period_sums, segment_kpis
from pipeline.experiment.kpis.user_totals import group_counts, per_user_totals
from pipeline.experiment.log.database import database_errors, has_rows


@dataclass(frozen=True, slots=True)
class ExperimentAggregates:
    """The tables of the asset ``group_kpis``; None where the log has no covariates for a table."""

    group_kpis: pl.DataFrame
    daily_totals: pl.DataFrame
    returning_user_totals: pl.DataFrame
    pre_period_sums: pl.DataFrame | None
    segment_kpis: pl.DataFrame | None

    def as_dict(self) -> dict[str, pl.DataFrame]:
        """The available tables by name."""
        tables = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: table for name, table in tables.items() if table is not None}


def aggregate(database: Path, plan: Plan) -> ExperimentAggregates:
    """Aggregate an experiment's database; raises LogError if it cannot be read.

    That of a log in a warehouse has no rows, but these tables.
    """
    with open_tables(database) as connection:
        if not has_rows(connection.con):
            return _stored(connection)
        impressions = connection.table("impressions")
        impressions = impressions.join(connection.table("user_batches"), "user")
        users = connection.create_table("users", per_user_totals(impressions), temp=True)
        zone = connection.table("log_settings").to_polars()["time_zone"][0]
        return sum_up(impressions, users, connection.table("user_covariates"), plan, zone)


def sum_up(
    impressions: ibis.Table, users: ibis.Table, covariates: ibis.Table, plan: Plan, time_zone: str
) -> ExperimentAggregates:
    """Compute the tables where the log is stored; only sums leave it.

    Args:
        impressions: As for :func:`pipeline.experiment.kpis.user_totals.per_user_totals`.
        users: The result of that function, best materialised.
        covariates: As for :func:`pipeline.experiment.kpis.pre_experiment.pre_period_sums`, with the
            column segment.
        plan: Plan of the experiment.
        time_zone: Time zone of the days.
    """
    preferences = {group.name: group.preference_id for group in plan.groups}
    return ExperimentAggregates(
        group_kpis(group_counts(users).to_polars(), preferences),
        daily_totals(impressions, users, time_zone),
        returning_user_totals(impressions, users, time_zone),
        pre_period_sums(users, covariates),
        segment_kpis(users, covariates, preferences),
    )


def stored_name(table: str) -> str:
    """Name of one of these tables in the database of a log whose rows are in a warehouse."""
    return f"summed_{table}"


def _stored(connection: Backend) -> ExperimentAggregates:
    names = {name for (name,) in connection.raw_sql("SHOW TABLES").fetchall()}
    tables: dict[str, Any] = {
        field.name: connection.table(stored_name(field.name)).to_polars()
        if stored_name(field.name) in names
        else None
        for field in fields(ExperimentAggregates)
    }
    return ExperimentAggregates(**tables)


@contextmanager
def open_tables(database: Path) -> Iterator[Backend]:
    """An experiment's database as Ibis tables; raises LogError if it cannot be read."""
    with database_errors(database, IbisError):
        connection = ibis.duckdb.connect(database, read_only=True)
        try:
            yield connection
        finally:
            connection.disconnect()

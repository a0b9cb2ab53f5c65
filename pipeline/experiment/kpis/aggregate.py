"""Aggregate an experiment's database to the tables that inference needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import ibis
import polars as pl
from ibis.backends.duckdb import Backend
from ibis.common.exceptions import IbisError

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.kpis.daily_kpis import daily_totals, returning_user_totals
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.experiment.kpis.pre_experiment import pre_period_sums, segment_kpis
from pipeline.experiment.kpis.user_totals import group_counts, per_user_totals
from pipeline.experiment.log.database import database_errors


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
    """Aggregate an experiment's database; raises LogError if it cannot be read."""
    with open_tables(database) as connection:
        impressions = connection.table("impressions")
        users = connection.create_table("users", per_user_totals(impressions), temp=True)
        counts = group_counts(users).to_polars()
        preferences = {group.name: group.preference_id for group in plan.groups}
        zone = connection.table("log_settings").to_polars()["time_zone"][0]
        covariates = connection.table("user_covariates")
        return ExperimentAggregates(
            group_kpis(counts, preferences),
            daily_totals(impressions, users, zone),
            returning_user_totals(impressions, users, zone),
            pre_period_sums(users, covariates),
            segment_kpis(users, covariates, preferences),
        )


@contextmanager
def open_tables(database: Path) -> Iterator[Backend]:
    """An experiment's database as Ibis tables; raises LogError if it cannot be read."""
    with database_errors(database, IbisError):
        connection = ibis.duckdb.connect(database, read_only=True)
        try:
            yield connection
        finally:
            connection.disconnect()

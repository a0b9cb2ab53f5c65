"""All that inference knows of an experiment, summed up from its database."""

from dataclasses import dataclass, fields
from pathlib import Path

import ibis
import polars as pl

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.kpis.daily_kpis import daily_totals, returning_user_totals
from pipeline.experiment.kpis.group_kpis import group_counts, group_kpis, per_user_totals
from pipeline.experiment.kpis.pre_experiment import pre_period_sums, segment_kpis


@dataclass(frozen=True, slots=True)
class ExperimentAggregates:
    """The tables of ``group_kpis``: all that inference knows of an experiment."""

    group_kpis: pl.DataFrame
    daily_totals: pl.DataFrame
    returning_user_totals: pl.DataFrame
    pre_period_sums: pl.DataFrame | None
    segment_kpis: pl.DataFrame | None

    def as_dict(self) -> dict[str, pl.DataFrame]:
        """The tables by name, those left out of which nothing is known."""
        tables = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: table for name, table in tables.items() if table is not None}


def aggregate(database: Path, plan: Plan) -> ExperimentAggregates:
    """Sum up an experiment's database."""
    connection = ibis.duckdb.connect(database, read_only=True)
    try:
        impressions = connection.table("impressions")
        users = connection.create_table("users", per_user_totals(impressions), temp=True)
        counts = group_counts(users).to_polars()
        preferences = {group.name: group.preference_id for group in plan.groups}
        known = connection.table("known_users")
        return ExperimentAggregates(
            group_kpis(counts, preferences),
            daily_totals(impressions, users),
            returning_user_totals(impressions, users),
            pre_period_sums(users, known),
            segment_kpis(users, known, preferences),
        )
    finally:
        connection.disconnect()

"""Group KPIs from the experiment's database, as sufficient statistics; no row leaves DuckDB.

A KPI is Σ y / Σ m over users, where a user contributes y successes in m trials. Users are the unit
of randomisation and their exposures are correlated, so beside the two sums the table carries
Σ m², Σ m·y and Σ y² over users: all that a user-clustered covariance needs.
"""

from pathlib import Path

import duckdb
import polars as pl

from pipeline.experiment.plan import TrafficPlan
from pipeline.schemas import GROUP_KPIS, Kpi

_SUMS = """
WITH per_user AS (
    SELECT "group", unit, count(*) AS exposures, sum(clicked::BIGINT) AS clicks,
           sum(ordered::BIGINT) AS orders, sum(units::BIGINT) AS units
    FROM exposures GROUP BY "group", unit
), contributions AS (
    SELECT "group", 'ctr' AS kpi, exposures AS m, clicks AS y FROM per_user
    UNION ALL SELECT "group", 'cvr', clicks, orders FROM per_user
    UNION ALL SELECT "group", 'sale_rate', exposures, orders FROM per_user
    UNION ALL SELECT "group", 'units_per_exposure', exposures, units FROM per_user
)
SELECT "group", kpi, sum(m)::BIGINT AS trials, sum(y)::BIGINT AS successes,
       count(*) FILTER (m > 0) AS users, sum(m * m)::BIGINT AS sum_mm,
       sum(m * y)::BIGINT AS sum_my, sum(y * y)::BIGINT AS sum_yy
FROM contributions GROUP BY "group", kpi
"""


def group_kpis(database: Path, plan: TrafficPlan) -> pl.DataFrame:
    """One row a group and KPI.

    - ``ctr``: exposures clicked / exposures, in [0, 1].
    - ``cvr``: clicks ordered / clicks, in [0, 1].
    - ``sale_rate``: exposures that led to a sale / exposures, in [0, 1].
    - ``units_per_exposure``: units sold / exposures, at least 0.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        cursor = connection.execute(_SUMS)
        columns = [column[0] for column in cursor.description or []]
        sums = pl.DataFrame(cursor.fetchall(), schema=columns, orient="row")
    groups = pl.DataFrame(
        [{"group": group.name, "preference_id": group.preference_id} for group in plan.groups]
    )
    cells = groups.join(pl.DataFrame({"kpi": [kpi.value for kpi in Kpi]}), how="cross")
    # a group nobody was exposed to keeps its rows, with 0 trials
    table = cells.join(sums, on=["group", "kpi"], how="left").with_columns(
        pl.col(sums.columns[2:]).fill_null(0)
    )
    rates = table.with_columns(
        rate=pl.when(pl.col("trials") > 0).then(pl.col("successes") / pl.col("trials"))
    )
    kpis = rates.with_columns(standard_error=clustered_error())
    return GROUP_KPIS.check(kpis.select(list(GROUP_KPIS.columns)).sort("kpi", "group"))


def clustered_error() -> pl.Expr:
    """Standard error of a ratio over users, from the sums (delta method).

    ``sqrt(U/(U-1) · Σ_u (y_u - p m_u)²) / Σ m``, null with fewer than two users.
    """
    rate = pl.col("rate")
    squares = pl.col("sum_yy") - 2 * rate * pl.col("sum_my") + rate**2 * pl.col("sum_mm")
    users = pl.col("users")
    error = (squares.clip(lower_bound=0) * users / (users - 1)).sqrt() / pl.col("trials")
    return pl.when(users > 1).then(error)

"""KPIs per group with per-user sufficient statistics.

A KPI is Σ y / Σ m over users, where a user has y successes in m trials. Users are the randomisation
unit and their impressions are correlated, so the counts also have Σ m², Σ m·y and Σ y² over users, which
suffice for a covariance clustered by user.
"""

from collections.abc import Mapping

import polars as pl

from pipeline.experiment.kpis.contracts import GROUP_KPIS, TERMS, USER_SUMS


def group_kpis(counts: pl.DataFrame, preferences: Mapping[str, str]) -> pl.DataFrame:
    """One row per group and KPI.

    - ``ctr``: clicked impressions / impressions, in [0, 1].
    - ``cvr``: ordered clicks / clicks, in [0, 1].
    - ``orders_per_impression``: ordered impressions / impressions, in [0, 1].
    - ``units_per_impression``, ``revenue_per_impression``: units and revenue / impressions, at least
      0.
    - ``clicks_per_user``, ``orders_per_user``, ``units_per_user``, ``revenue_per_user``: per user with
      an impression, at least 0. Only these have a denominator that does not depend on the lists.

    A KPI with a column that is missing, or null in all groups, is left out. A group without
    impressions has rows with 0 trials.

    Args:
        counts: The table of :func:`pipeline.experiment.kpis.user_totals.group_counts`.
        preferences: Preference id by group.
    """
    known = {name for name in counts.columns if counts[name].is_not_null().any()}
    pairs = list(preferences.items())
    groups = pl.DataFrame(pairs, schema=["group", "preference_id"], orient="row")
    rows = groups.join(counts, on="group", how="left")
    rows = rows.with_columns(pl.exclude("group", "preference_id").fill_null(0))
    rows = rows.with_columns(pl.col("^.*_sum_(mm|my|yy)$").cast(pl.Float64))
    tables = [
        rows.select(
            "group",
            "preference_id",
            kpi=pl.lit(kpi.value),
            trials=pl.col(trials),
            successes=pl.col(successes),
            **{name: pl.col(f"{kpi}_{name}") for name in USER_SUMS},
        )
        for kpi, (trials, successes) in TERMS.items()
        if {trials, successes, *(f"{kpi}_{name}" for name in USER_SUMS)} <= known
    ]
    table = pl.concat(tables).with_columns(
        rate=pl.when(pl.col("trials") > 0).then(pl.col("successes") / pl.col("trials"))
    )
    table = table.with_columns(standard_error=ratio_standard_error())
    return GROUP_KPIS.validate(table.select(list(GROUP_KPIS.columns)).sort("kpi", "group"))


def ratio_standard_error() -> pl.Expr:
    """Standard error of a ratio clustered by user, from the per-user sums (delta method).

    ``sqrt(U/(U-1) · Σ_u (y_u - p m_u)²) / Σ m``, null with fewer than two users.
    """
    rate = pl.col("rate")
    squares = pl.col("sum_yy") - 2 * rate * pl.col("sum_my") + rate**2 * pl.col("sum_mm")
    users = pl.col("users")
    error = (squares.clip(lower_bound=0) * users / (users - 1)).sqrt() / pl.col("trials")
    return pl.when(users > 1).then(error)

"""A table of group counts, converted to the tables that hypotheses are tested on.

One row per group: ``group``, ``impressions``, ``clicks``, optionally ``orders``, ``units``,
``revenue``, ``users`` and the planned ``share`` of the users; and one column per offline metric, such
as ``recall@20`` or ``od@20``. The per-user sufficient statistics of a KPI are optional: ``ctr_users``,
``ctr_sum_mm``, ``ctr_sum_my`` and ``ctr_sum_yy`` (see
:func:`pipeline.experiment.kpis.group_kpis.group_counts`); KPIs per user require them.
"""

from pathlib import Path

import polars as pl

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi, Metric
from pipeline.core.errors import DataError
from pipeline.experiment.kpis.contracts import COUNTS, TERMS, USER_SUMS
from pipeline.experiment.kpis.group_kpis import group_kpis as kpis_of_groups

SHARE = "share"
"""The planned share of the users; any positive numbers, such as all 1."""

_REQUIRED = ("group", "impressions", "clicks")
_SYNONYMS = {"exposures": "impressions", "views": "impressions", "variant": "group"}
"""Column names of other platforms, read where the table lacks ours."""
_SHORT = {"od": Metric.ORDER_DENSITY.value}


def read_counts(source: Path | pl.DataFrame) -> pl.DataFrame:
    """Read and validate a table of counts, a frame or CSV or parquet; raises :class:`DataError`."""
    table, name = (source, "the frame") if isinstance(source, pl.DataFrame) else _read(source)
    table = _with_our_names(table)
    if missing := [column for column in _REQUIRED if column not in table.columns]:
        msg = (
            f"{name} has no column {', '.join(missing)}; expected the columns group, impressions and "
            f"clicks, and one per offline metric; found {table.columns}"
        )
        raise DataError(msg)
    if table.is_empty():
        msg = f"{name}: the table has no rows; expected one per test group"
        raise DataError(msg)
    table = table.with_columns(pl.col("group").cast(pl.String))
    if table["group"].null_count() or table["group"].is_duplicated().any() or table.height < 2:
        msg = f"{name}: groups {table['group'].to_list()}; expected two or more different names"
        raise DataError(msg)
    _check_counts(table, name)
    _check_shares(table, name)
    return table.with_columns(pl.col(list(filter(_is_a_count, table.columns))).cast(pl.Int64))


def _with_our_names(table: pl.DataFrame) -> pl.DataFrame:
    for name, ours in _SYNONYMS.items():
        if name in table.columns and ours not in table.columns:
            table = table.rename({name: ours})
    return table


def _read(path: Path) -> tuple[pl.DataFrame, str]:
    expected = "expected a CSV or parquet file with one row per group"
    if path.is_dir():
        msg = f"{path} is a folder; {expected}"
        raise DataError(msg)
    try:
        with path.open("rb") as file:
            table = pl.read_parquet(file) if path.suffix == ".parquet" else pl.read_csv(file)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}; {expected}"
        raise DataError(msg) from error
    except pl.exceptions.PolarsError as error:  # its other lines are hints on polars' arguments
        kind = "parquet" if path.suffix == ".parquet" else "CSV"
        problem = str(error).strip().partition("\n")[0]
        if "more fields than" in problem:
            problem = "a row has more fields than the header"
        msg = f"{path} is not valid {kind}: {problem}; {expected}"
        raise DataError(msg) from error
    return table, str(path)


def _check_counts(table: pl.DataFrame, source: str) -> None:
    for name in filter(_is_a_count, table.columns):
        counts = table[name]
        if not counts.dtype.is_integer() or counts.null_count() or (counts < 0).any():
            msg = f"{source}: {name} is {counts.to_list()}; expected non-negative integers"
            raise DataError(msg)
    for part, whole in (("clicks", "impressions"), ("orders", "clicks")):
        wrong = table.filter(pl.col(part) > pl.col(whole)) if part in table.columns else table[:0]
        if wrong.height:
            row = wrong.row(0, named=True)
            msg = (
                f"{source}: group {row['group']} has {row[whole]} {whole} and {row[part]} {part}; "
                "expected at most one click per impression and one order per click"
            )
            raise DataError(msg)


def _check_shares(table: pl.DataFrame, source: str) -> None:
    if SHARE not in table.columns:
        return
    shares = table[SHARE]
    known = shares.dtype.is_numeric() and not shares.null_count()
    if not known or not shares.is_finite().all() or (shares <= 0).any():
        msg = f"{source}: {SHARE} is {shares.to_list()}; expected positive numbers"
        raise DataError(msg)


def metric_name(column: str) -> str:
    """The metric of a column: ``od@20`` is ``order_density@20``."""
    name, at, cutoff = column.partition("@")
    return _SHORT.get(name, name) + at + cutoff


def metric_column(column: str, cutoff: int | None) -> str:
    """The name of a column's metric in the table of metrics; without the common cutoff."""
    name = metric_name(column)
    return name.removesuffix(f"@{cutoff}") if _base(name) in set(Metric) else name


def common_cutoff(counts: pl.DataFrame) -> int | None:
    """The k of all metrics at k; None where they differ, or one of them has none."""
    names = [metric_name(column).partition("@") for column in _metric_columns(counts)]
    cutoffs = {cutoff for name, _, cutoff in names if name in set(Metric)}
    (only,) = cutoffs if len(cutoffs) == 1 else ("",)
    return int(only) if only.isdecimal() else None


def offline_metrics(counts: pl.DataFrame) -> pl.DataFrame:
    """The table ``offline_metrics`` of the groups; Recall · OD is computed from its factors.

    Names have no cutoff if all metrics have the same, as in a study.

    Raises:
        DataError: if no column is a metric, or two are the same.
    """
    columns = _metric_columns(counts)
    names = [metric_name(column) for column in columns]
    if not names or len(set(names)) < len(names):
        msg = (
            f"two of the columns {columns} are the same offline metric; drop one"
            if names
            else "no offline-metric column found; add at least one numeric column"
        )
        raise DataError(msg)
    numbers = (
        pl.col(column).cast(pl.Float64).alias(name)
        for column, name in zip(columns, names, strict=True)
    )
    wide = counts.select("group", *(pl.when(one.is_finite()).then(one) for one in numbers))
    products = {f"{Metric.RECALL_ORDER_DENSITY}{at}": at for at in _cutoffs_of_both(names)}
    wide = wide.with_columns(
        (pl.col(f"{Metric.RECALL}{at}") * pl.col(f"{Metric.ORDER_DENSITY}{at}")).alias(name)
        for name, at in products.items()
        if name not in names
    )
    cutoff = common_cutoff(counts)
    rows = [
        {
            "preference_id": row["group"],
            "preference": [],
            "metric": metric_column(metric, cutoff),
            "segment": ALL_TARGETS,
            "value": value,
            "higher_is_better": True,
        }
        for row in wide.iter_rows(named=True)
        for metric, value in row.items()
        if metric != "group"
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)


def _metric_columns(counts: pl.DataFrame) -> list[str]:
    return [
        name
        for name in counts.columns
        if name not in {"group", SHARE}
        and not _is_a_count(name)
        and counts[name].dtype.is_numeric()
    ]


def _is_a_count(column: str) -> bool:
    return column in COUNTS or column.endswith(tuple(f"_{name}" for name in USER_SUMS))


def _cutoffs_of_both(names: list[str]) -> list[str]:
    """``@k`` (or nothing) for every k at which both recall and order density are known."""
    recalls = [name.removeprefix(Metric.RECALL) for name in names if _base(name) == Metric.RECALL]
    return [at for at in recalls if f"{Metric.ORDER_DENSITY}{at}" in names]


def _base(metric: str) -> str:
    return metric.partition("@")[0]


def users_of_groups(counts: pl.DataFrame) -> pl.Series | None:
    """The users of each group: ``users``, or those with an impression; None if unknown."""
    column = next((name for name in ("users", "ctr_users") if name in counts.columns), None)
    return counts[column] if column else None


def kpis_without_users(counts: pl.DataFrame) -> list[Kpi]:
    """The KPIs whose counts are known, but not their per-user statistics."""
    return [kpi for kpi in _of_impressions(counts) if not _has_users(counts, kpi)]


def _of_impressions(counts: pl.DataFrame) -> list[Kpi]:
    """The KPIs whose trials are not users, and whose counts are known."""
    return [
        kpi
        for kpi, (trials, successes) in TERMS.items()
        if trials != "users" and {trials, successes} <= set(counts.columns)
    ]


def _has_users(counts: pl.DataFrame, kpi: Kpi) -> bool:
    return {f"{kpi}_{name}" for name in USER_SUMS} <= set(counts.columns)


def group_kpis(counts: pl.DataFrame) -> pl.DataFrame:
    """The table ``group_kpis``; without per-user statistics, every trial counts as a user."""
    alone = {
        f"{kpi}_{name}": TERMS[kpi][0 if name in {"users", "sum_mm"} else 1]
        for kpi in kpis_without_users(counts)
        for name in USER_SUMS
    }
    known = counts.with_columns(pl.col(count).alias(name) for name, count in alone.items())
    return kpis_of_groups(known, {group: group for group in counts["group"]})

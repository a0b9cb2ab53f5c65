"""Hypotheses from a table of group counts alone, for those who have no more than that.

One row a group: ``group``, ``exposures``, ``clicks``, ``orders``, optionally ``units``, and a column an
offline metric, such as ``recall@20`` or ``od@20``. For each KPI the sums over users may stand there,
too: ``ctr_users``, ``ctr_sum_mm``, ``ctr_sum_my`` and ``ctr_sum_yy`` (see
:data:`pipeline.experiment.schemas.GROUP_KPIS`), and so for ``cvr``, ``sale_rate`` and ``units_per_exposure``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.errors import DataError, StudyError
from pipeline.experiment.kpis import COUNTS, TERMS, USER_SUMS, group_kpis
from pipeline.inference.hypotheses import Evidence, estimate_hypotheses
from pipeline.schemas import ALL_TARGETS, OFFLINE_METRICS, Kpi, Metric
from pipeline.study import PAPER_HYPOTHESES, Hypothesis, RegressionSection

_NEEDED = ("group", "exposures", "clicks", "orders")
_SHORT = {"od": Metric.ORDER_DENSITY.value}

USERS_UNKNOWN = (
    "Without sums over users the exposures are taken for independent: intervals are too short if "
    "users see several lists, and user_clustered is null."
)
ERRORS_UNKNOWN = (
    "Without the offline metrics' covariance, what measuring them adds is not known: error_in_x is "
    "null."
)
DIVISION_UNKNOWN = "Whether the users are divided as planned cannot be tested from counts."


def fit_counts(
    path: Path, hypotheses: Sequence[Hypothesis], *, level: float, seed: int
) -> dict[str, Any]:
    """Fit hypotheses to a file of counts; without any, those of the paper whose metrics are there.

    Returns:
        ``hypotheses``, as in ``report.json``, and ``not_known``, what counts cannot say.

    Raises:
        DataError: if the file cannot be read or is not such a table.
        StudyError: if a hypothesis names a metric or KPI that is not there.
    """
    counts = read_counts(path)
    metrics = offline_metrics(counts)
    there = set(metrics["metric"])
    asked = tuple(hypotheses) or tuple(h for h in PAPER_HYPOTHESES if h.metric in there)
    known = users_known(counts)
    if not asked:
        msg = (
            f"{path} has the metrics {sorted(there)}; the paper's hypotheses need recall@k or od@k. "
            "Name others with --hypothesis METRIC:KPI:SIGN"
        )
        raise StudyError(msg)
    if absent := sorted({h.metric for h in asked} - there):
        msg = f"no column of {path} is the metric {', '.join(absent)}; there are {sorted(there)}"
        raise StudyError(msg)
    kpis = kpis_of(counts)
    estimates = estimate_hypotheses(
        Evidence(metrics, None, kpis), RegressionSection(level=level, hypotheses=asked), seed=seed
    )
    rows = [estimate.as_dict() for estimate in estimates]
    if not known:
        for row in rows:
            row["user_clustered"] = None
    unknown = [ERRORS_UNKNOWN, DIVISION_UNKNOWN]
    return {"hypotheses": rows, "not_known": unknown if known else [USERS_UNKNOWN, *unknown]}


def parse_hypothesis(text: str, number: int) -> Hypothesis:
    """A hypothesis written as ``METRIC:KPI:SIGN``, such as ``recall@20:ctr:+``.

    Raises:
        StudyError: if it is written otherwise.
    """
    parts = text.split(":")
    directions = {"+": "positive", "-": "negative"}
    kpis = [kpi.value for kpi in Kpi]
    if len(parts) != 3 or parts[1] not in kpis or parts[2] not in directions:
        msg = (
            f"--hypothesis {text!r}: write METRIC:KPI:SIGN, such as recall@20:ctr:+; KPI is one of "
            f"{', '.join(kpis)}, SIGN + or -"
        )
        raise StudyError(msg)
    return Hypothesis(
        id=f"H{number}",
        metric=metric_name(parts[0]),
        kpi=Kpi(parts[1]),
        direction="positive" if parts[2] == "+" else "negative",
    )


def metric_name(column: str) -> str:
    """The metric a column holds: ``recall@20`` is ``recall``, ``od@20`` is ``order_density``."""
    name, _, cutoff = column.partition("@")
    name = _SHORT.get(name, name)
    return name if not cutoff or name in set(Metric) else column


def read_counts(path: Path) -> pl.DataFrame:
    """The file's table, its counts whole numbers that fit each other; raises :class:`DataError`."""
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"cannot read {path}: {error}; expected CSV or parquet with one row a group"
        raise DataError(msg) from error
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        msg = (
            f"{path} lacks {', '.join(missing)}; expected the columns group, exposures, clicks and "
            f"orders, and one an offline metric; it has {table.columns}"
        )
        raise DataError(msg)
    table = table.with_columns(pl.col("group").cast(pl.String))
    if table["group"].null_count() or table["group"].is_duplicated().any() or table.height < 2:
        msg = f"{path}: groups {table['group'].to_list()}; expected two or more, each named once"
        raise DataError(msg)
    for name in (name for name in table.columns if _is_a_count(name)):
        counts = table[name]
        if not counts.dtype.is_integer() or counts.null_count() or (counts < 0).any():
            msg = f"{path}: {name} is {counts.to_list()}; expected a whole number from 0 up each"
            raise DataError(msg)
    wrong = table.filter(
        (pl.col("clicks") > pl.col("exposures")) | (pl.col("orders") > pl.col("clicks"))
    )
    if wrong.height:
        row = wrong.row(0, named=True)
        msg = (
            f"{path}: group {row['group']} has {row['exposures']} exposures, {row['clicks']} clicks "
            f"and {row['orders']} orders; an exposure is clicked or not, a click ordered or not"
        )
        raise DataError(msg)
    return table


def offline_metrics(counts: pl.DataFrame) -> pl.DataFrame:
    """The metrics of every group as the table of that name; Recall · OD is made from its factors."""
    columns = [
        name
        for name in counts.columns
        if name != "group" and not _is_a_count(name) and counts[name].dtype.is_numeric()
    ]
    wide = counts.select("group", *(pl.col(name).alias(metric_name(name)) for name in columns))
    recall, density, product = (
        Metric.RECALL.value,
        Metric.ORDER_DENSITY.value,
        Metric.RECALL_ORDER_DENSITY.value,
    )
    if {recall, density} <= set(wide.columns) and product not in wide.columns:
        wide = wide.with_columns((pl.col(recall) * pl.col(density)).alias(product))
    rows = [
        {
            "preference_id": row["group"],
            "preference": [],
            "metric": metric,
            "segment": ALL_TARGETS,
            "value": value,
            "higher_is_better": True,
        }
        for row in wide.iter_rows(named=True)
        for metric, value in row.items()
        if metric != "group"
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)


def users_known(counts: pl.DataFrame) -> bool:
    """Whether the sums over users of the yes-or-no KPIs are all there."""
    wanted = {f"{kpi}_{name}" for kpi in Kpi if kpi.is_yes_or_no for name in USER_SUMS}
    return wanted <= set(counts.columns)


def kpis_of(counts: pl.DataFrame) -> pl.DataFrame:
    """``group_kpis`` of the counts; where users are not known, each trial is a user of its own."""
    alone = {
        f"{kpi}_{name}": pl.col(trials if name in {"users", "sum_mm"} else successes)
        for kpi, (trials, successes) in TERMS.items()
        if trials != "users" and {trials, successes} <= set(counts.columns)
        for name in USER_SUMS
    }
    known = counts if users_known(counts) else counts.with_columns(**alone)
    return group_kpis(known, {group: group for group in counts["group"]})


def _is_a_count(column: str) -> bool:
    return column in COUNTS or column.endswith(USER_SUMS)

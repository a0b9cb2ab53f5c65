"""What a table of group counts alone says of hypotheses, for those who have no more than that."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.core.errors import StudyError
from pipeline.inference.diagnostics.sample_ratio import SampleRatio, sample_ratio
from pipeline.inference.hypotheses.counts_table import (
    SHARE,
    common_cutoff,
    group_kpis,
    kpis_without_users,
    metric_name,
    offline_metrics,
    read_counts,
    users_of_groups,
)
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RESPONSE, RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import explore, measured_metrics, unfitted_pairs
from pipeline.study import PAPER_HYPOTHESES, Hypothesis, RegressionConfig

NOTHING_DECLARED = (
    "No hypothesis was declared, and the metrics are not those of the paper's (recall@k and od@k), so "
    "nothing is confirmed or contradicted. Declare them before the experiment: "
    "--hypothesis METRIC:KPI:SIGN."
)
USERS_UNKNOWN = (
    "Without sums over users, the trials of {kpis} are taken for independent: intervals are too short "
    "if users see several lists, and user_clustered is null."
)
ERRORS_UNKNOWN = (
    "Without the offline metrics' covariance, what measuring them adds is not known: error_in_x is "
    "null."
)
DIVISION_UNKNOWN = (
    "Whether the users are divided as planned is not known without the columns share and users."
)
ORDERS_UNKNOWN = "Without orders, nothing is known of conversion and sales."


def fit_counts(
    path: Path, hypotheses: Sequence[Hypothesis], *, level: float, seed: int
) -> dict[str, Any]:
    """Everything a file of counts says: of hypotheses, and of every metric against every KPI.

    Without ``hypotheses``, those of the paper whose metrics and KPIs are there; maybe none.

    Returns:
        ``level``, ``cutoff``, ``hypotheses``, ``exploration``, ``not_fitted`` (why a metric and KPI have no
        line), ``health``, ``offline_metrics`` and ``group_kpis``, all as in ``report.json``, and
        ``not_known``, what counts cannot say.

    Raises:
        DataError: if the file cannot be read or is not such a table.
        StudyError: if a hypothesis names a metric or KPI that is not there.
    """
    counts = read_counts(path)
    metrics, kpis = offline_metrics(counts), group_kpis(counts)
    ratio = _sample_ratio(counts)
    evidence = RegressionInputs(metrics, None, kpis, healthy=ratio is None or ratio.healthy)
    cutoff, without_users = common_cutoff(counts), kpis_without_users(counts)
    asked = (
        resolve_metric_names(hypotheses, evidence, cutoff)
        if hypotheses
        else _papers(evidence, cutoff)
    )
    return {
        "level": level,
        "cutoff": cutoff,
        "hypotheses": _estimates(evidence, asked, without_users, level=level, seed=seed),
        "exploration": [asdict(one) for one in explore(evidence, level=level, seed=seed)],
        "not_fitted": unfitted_pairs(evidence, level=level),
        "health": {"sample_ratio": asdict(ratio) if ratio else None},
        "offline_metrics": metrics.select("preference_id", "metric", "value").to_dicts(),
        "group_kpis": kpis.to_dicts(),
        "not_known": [
            *([] if asked else [NOTHING_DECLARED]),
            *([USERS_UNKNOWN.format(kpis=", ".join(without_users))] if without_users else []),
            ERRORS_UNKNOWN,
            *([] if ratio else [DIVISION_UNKNOWN]),
            *([] if "orders" in counts.columns else [ORDERS_UNKNOWN]),
        ],
    }


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


def _papers(evidence: RegressionInputs, cutoff: int | None) -> list[Hypothesis]:
    """The paper's hypotheses whose metrics and KPIs are there."""
    there = measured_metrics(evidence)
    found = [(one, _find(one.metric, there, cutoff)) for one in PAPER_HYPOTHESES]
    return [
        replace(one, metric=metric)
        for one, metric in found
        if metric and RESPONSE[one.kpi].value in set(evidence.group_kpis["kpi"])
    ]


def resolve_metric_names(
    hypotheses: Sequence[Hypothesis], evidence: RegressionInputs, cutoff: int | None
) -> list[Hypothesis]:
    """The hypotheses, their metrics called as in the table.

    Raises:
        StudyError: if a metric or a KPI is not there.
    """
    there, kpis = measured_metrics(evidence), set(evidence.group_kpis["kpi"])
    found = [(one, _find(one.metric, there, cutoff)) for one in hypotheses]
    if absent := sorted({one.metric for one, metric in found if metric is None}):
        msg = f"no column is the metric {', '.join(absent)}; there are {there}"
        raise StudyError(msg)
    if absent := sorted({one.kpi.value for one in hypotheses if RESPONSE[one.kpi] not in kpis}):
        msg = f"there are no counts for {', '.join(absent)}, only for {sorted(kpis)}"
        raise StudyError(msg)
    return [replace(one, metric=metric) for one, metric in found if metric]


def _find(metric: str, there: Sequence[str], cutoff: int | None) -> str | None:
    """The table's metric that is meant, whether or not its cutoff is said."""
    if metric in there:
        return metric
    name, _, k = metric.partition("@")
    alike = [one for one in there if one.partition("@")[0] == name]
    return alike[0] if len(alike) == 1 and k in {"", str(cutoff)} else None


def _estimates(
    evidence: RegressionInputs,
    asked: Sequence[Hypothesis],
    without_users: Sequence[Kpi],
    *,
    level: float,
    seed: int,
) -> list[dict[str, Any]]:
    """The answers; those on KPIs without sums over users do not claim to know the users."""
    if not asked:
        return []
    section = RegressionConfig(level=level, hypotheses=tuple(asked))
    rows = [one.as_dict() for one in estimate_hypotheses(evidence, section, seed=seed)]
    for row in rows:
        if row["response"] in without_users:
            row["user_clustered"] = None
            for test in (row["curvature"], row["log_rate"]):
                if test:
                    test["covariance"] = "independent trials"
    return rows


def _sample_ratio(counts: pl.DataFrame) -> SampleRatio | None:
    """Whether the users are divided by the shares; None if either is not known."""
    users = users_of_groups(counts)
    if users is None or SHARE not in counts.columns:
        return None
    return sample_ratio(
        users.cast(pl.Float64).to_numpy(), counts[SHARE].cast(pl.Float64).to_numpy()
    )

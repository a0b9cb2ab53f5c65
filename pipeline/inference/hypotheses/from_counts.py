"""Inference from a table of group counts alone: ``paretoscope fit``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.contracts import Kpi, Metric
from pipeline.core.errors import StudyError
from pipeline.experiment.kpis.contracts import USER_SUMS
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.counts.counts_table import CountsTable, read_counts
from pipeline.inference.counts.metrics import metric_name
from pipeline.inference.diagnostics.sample_ratio import sample_ratio
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.evidence_rating import rate_evidence
from pipeline.inference.hypotheses.inputs import RESPONSE, RegressionInputs
from pipeline.inference.hypotheses.lifts import kpi_lifts
from pipeline.inference.hypotheses.metric_ranking import (
    measured_metrics,
    rank_metrics,
    with_rivals,
)
from pipeline.inference.hypotheses.recommendation import advise
from pipeline.inference.ranking.shared_directions import shared_directions
from pipeline.results.decisions import Limitation
from pipeline.results.diagnostics import Diagnostics, SampleRatio
from pipeline.results.findings import Findings, GroupKpi, MetricValue
from pipeline.results.fit_options import FitOptions
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Covariance, LimitationKind
from pipeline.results.serialization import parse
from pipeline.results.slopes import SlopeTest
from pipeline.study import (
    PAPER_HYPOTHESES,
    AdviceConfig,
    Hypothesis,
    RegressionConfig,
    XReference,
    default_hypotheses,
)

_EXACT = 1 << 53
"""Below it, floats without decimals are integers."""


def fit_counts(  # noqa: PLR0913 - the options of `paretoscope fit`
    source: Path | pl.DataFrame | CountsTable,
    hypotheses: Sequence[Hypothesis],
    *,
    level: float,
    seed: int,
    advice: AdviceConfig | None = None,
    options: CountsOptions | None = None,
    x_reference: XReference = XReference.WORST,
) -> Findings:
    """Fit the hypotheses to a table of counts, and rank every metric for every KPI.

    Args:
        source: A frame or a file (see :mod:`pipeline.inference.counts.counts_table`), or what was read of it.
        hypotheses: Pre-registered ones; without any, those of the paper whose metrics and KPIs the
            table contains, possibly none.
        level: Coverage of the intervals.
        seed: Of random draws.
        advice: How groups are compared; None for the defaults.
        options: How the table is read; None for the defaults.
        x_reference: What slopes are relative to.

    Raises:
        DataError: if the file cannot be read or is not such a table.
        StudyError: if a hypothesis names a metric or KPI that the table does not contain, or
            the control is not a group.
    """
    options, advice = options or CountsOptions(), advice or AdviceConfig()
    counts = source if isinstance(source, CountsTable) else read_counts(source, options)
    metrics, kpis = counts.offline_metrics(), counts.group_kpis()
    ratio = _sample_ratio(counts)
    evidence = RegressionInputs(
        metrics,
        counts.covariance(),
        kpis,
        healthy=ratio is None or ratio.passed,
        replicates=counts.replicates(),
        users_unknown=frozenset(counts.users_unknown),
    )
    cutoff = counts.cutoff
    declared = declared_hypotheses(hypotheses, evidence, cutoff)
    ranking = rank_metrics(evidence, level=level)
    section = RegressionConfig(level=level, advice=advice, x_reference=x_reference)
    results = with_rivals(_estimates(evidence, declared, section, seed=seed), ranking)
    return Findings(
        level=level,
        cutoff=cutoff,
        hypotheses=results,
        shared_directions=shared_directions(results),
        metric_ranking=ranking.metrics,
        unfitted_pairs=ranking.unfitted_pairs,
        advice=advise(results, evidence, section, missing_columns=counts.sums.missing),
        lifts=kpi_lifts(evidence, section),
        diagnostics=Diagnostics(sample_ratio=ratio),
        offline_metrics=parse(tuple[MetricValue, ...], metrics.to_dicts()),
        group_kpis=_documented(kpis, evidence),
        limitations=_limitations(counts, evidence, declared, ratio),
        read_as=counts.notes,
        evidence={one.id: rate_evidence(one, Diagnostics(sample_ratio=ratio)) for one in results},
        options=FitOptions(
            columns=dict(options.columns),
            metrics=options.metrics,
            one_trial_per_user=options.one_trial_per_user,
            error_correlation=options.error_correlation,
            x_reference=x_reference.value,
            control=advice.control,
            margin=advice.margin,
        ),
    )


def _documented(kpis: pl.DataFrame, evidence: RegressionInputs) -> tuple[GroupKpi, ...]:
    """The rows of ``group_kpis``; sums that are not known are None."""
    unknown = {kpi.value for kpi in evidence.users_unknown}
    rows = (
        {**row, **dict.fromkeys(USER_SUMS)} if row["kpi"] in unknown else row
        for row in kpis.iter_rows(named=True)
    )
    whole = ({name: _whole(value) for name, value in row.items()} for row in rows)
    return parse(tuple[GroupKpi, ...], tuple(whole))


def _whole(value: Any) -> Any:
    """A float without decimals as an integer."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if exact else value


def _limitations(
    counts: CountsTable,
    evidence: RegressionInputs,
    declared: Sequence[Hypothesis],
    ratio: SampleRatio | None,
) -> tuple[Limitation, ...]:
    """What the table cannot say."""
    missing = counts.sums.missing
    yes_no = tuple(kpi for kpi in missing if kpi.is_binary)
    unknown = _metrics_without_errors(evidence)
    found = {
        Limitation(kind=LimitationKind.NO_METRICS): not counts.values,
        Limitation(kind=LimitationKind.NOTHING_DECLARED): counts.values and not declared,
        Limitation(
            kind=LimitationKind.USERS_UNKNOWN,
            kpis=yes_no,
            counts=tuple(column for kpi in yes_no for column in missing[kpi]),
        ): yes_no,
        **{
            Limitation(kind=LimitationKind.INTERVAL_UNKNOWN, kpis=(kpi,), counts=columns): True
            for kpi, columns in missing.items()
            if not kpi.is_binary
        },
        Limitation(kind=LimitationKind.METRIC_COVARIANCE_UNKNOWN, metrics=unknown): unknown,
        Limitation(kind=LimitationKind.SHARES_UNKNOWN): ratio is None,
        Limitation(kind=LimitationKind.COUNTS_UNKNOWN, counts=("orders",)): (
            "orders" not in counts.counts
        ),
    }
    return tuple(limitation for limitation, holds in found.items() if holds)


def _metrics_without_errors(evidence: RegressionInputs) -> tuple[str, ...]:
    known = set() if evidence.covariance is None else set(evidence.covariance["metric"])
    return tuple(metric for metric in measured_metrics(evidence) if metric not in known)


def parse_hypothesis(text: str, number: int) -> Hypothesis:
    """Parse a hypothesis ``METRIC:KPI:SIGN``, such as ``recall@20:ctr:+``.

    Raises:
        StudyError: if it has another form.
    """
    parts = text.split(":")
    kpis = [kpi.value for kpi in Kpi]
    if len(parts) != 3 or parts[1] not in kpis or parts[2] not in {"+", "-"}:
        msg = (
            f"hypothesis {text!r}: write METRIC:KPI:SIGN, such as recall@20:ctr:+; KPI is one of "
            f"{', '.join(kpis)}, SIGN + or -"
        )
        raise StudyError(msg)
    return Hypothesis(
        id=f"H{number}",
        metric=metric_name(parts[0]),
        kpi=Kpi(parts[1]),
        direction="positive" if parts[2] == "+" else "negative",
    )


def declared_hypotheses(
    hypotheses: Sequence[Hypothesis],
    evidence: RegressionInputs,
    cutoff: int | None,
    *,
    where: str = "--hypothesis",
) -> list[Hypothesis]:
    """The hypotheses that are tested, their metrics named as in the table.

    Without any, the default ones whose metric and KPI the table contains, possibly none.

    Raises:
        StudyError: as :func:`resolve_metric_names`.
    """
    if hypotheses:
        return resolve_metric_names(hypotheses, evidence, cutoff, where=where)
    there, kpis = measured_metrics(evidence), set(evidence.group_kpis["kpi"])
    names = {one.metric: _find(one.metric, there, cutoff) for one in PAPER_HYPOTHESES}
    known = {metric: name for metric, name in names.items() if name}
    found = default_hypotheses(known, [kpi for kpi in Kpi if RESPONSE[kpi].value in kpis])
    return [replace(one, metric=known[one.metric]) for one in found]


def resolve_metric_names(
    hypotheses: Sequence[Hypothesis],
    evidence: RegressionInputs,
    cutoff: int | None,
    *,
    where: str = "--hypothesis",
) -> list[Hypothesis]:
    """The hypotheses, their metrics named as in the table; ``where`` says where they are declared.

    Raises:
        StudyError: if the table does not contain a metric or a KPI, or two hypotheses are the same.
    """
    there, kpis = measured_metrics(evidence), set(evidence.group_kpis["kpi"])
    found = [(one, _find(one.metric, there, cutoff)) for one in hypotheses]
    if absent := sorted({one.metric for one, metric in found if metric is None}):
        found_there = ", ".join(_with_cutoff(there, cutoff)) or "no metric"
        msg = f"{where}: no column is the metric {', '.join(absent)}; found {found_there}"
        raise StudyError(msg)
    if absent := sorted({one.kpi.value for one in hypotheses if RESPONSE[one.kpi] not in kpis}):
        msg = f"{where}: there are no counts for {', '.join(absent)}, only for {', '.join(sorted(kpis))}"
        raise StudyError(msg)
    resolved = [replace(one, metric=metric) for one, metric in found if metric]
    ids: dict[tuple[str, Kpi], str] = {}
    for one in resolved:
        if (other := ids.setdefault((one.metric, one.kpi), one.id)) != one.id:
            msg = f"{where}: hypotheses {other} and {one.id} both test {one.metric} on {one.kpi}; declare one"
            raise StudyError(msg)
    return resolved


def _with_cutoff(metrics: Sequence[str], cutoff: int | None) -> list[str]:
    """The metrics, named with the cutoff that all metrics at k have in common."""
    at_k = set(Metric) if cutoff else set[Metric]()
    return [f"{metric}@{cutoff}" if metric in at_k else metric for metric in metrics]


def _find(metric: str, there: Sequence[str], cutoff: int | None) -> str | None:
    """The table's name of a metric, with or without its cutoff."""
    if metric in there:
        return metric
    name, _, k = metric.partition("@")
    alike = [one for one in there if one.partition("@")[0] == name]
    return alike[0] if len(alike) == 1 and k in {"", str(cutoff)} else None


def _estimates(
    evidence: RegressionInputs,
    declared: Sequence[Hypothesis],
    section: RegressionConfig,
    *,
    seed: int,
) -> tuple[HypothesisResult, ...]:
    """The results; those on KPIs without per-user statistics have no cluster-robust test."""
    if not declared:
        return ()
    section = replace(section, hypotheses=tuple(declared))
    results = estimate_hypotheses(evidence, section, seed=seed)
    return tuple(
        replace(
            one,
            cluster_robust=None,
            curvature=_naive(one.curvature),
            log_rate=_naive(one.log_rate),
        )
        if one.response in evidence.users_unknown
        else one
        for one in results
    )


def _naive(test: SlopeTest | None) -> SlopeTest | None:
    """A test whose clusters are single trials, labelled as such."""
    return test and replace(test, covariance=Covariance.MODEL)


def _sample_ratio(counts: CountsTable) -> SampleRatio | None:
    """The sample ratio check; None if users or shares are unknown."""
    if counts.users is None or counts.shares is None:
        return None
    return sample_ratio(counts.users, counts.shares)

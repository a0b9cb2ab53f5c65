"""Metric ranking: which of the measured metrics each KPI follows (exploratory).

No hypothesis here is pre-registered, so nothing is confirmed; the ranking suggests what to declare
for the next experiment. The comparison behind it also says which metrics a verdict cannot tell
apart, so that the two cannot disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.hypotheses.inputs import (
    RESPONSE,
    RegressionInputs,
    group_cells,
    group_sums,
    metric_covariance,
    metric_values,
    relative_change,
)
from pipeline.inference.ranking.metric_comparison import (
    Candidate,
    MetricComparison,
    compare_metrics,
    varies,
)
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.inference.sensitivity.robustness import leave_one_out
from pipeline.results.decisions import RankedMetric, Rival, UnfittedPair
from pipeline.results.family import Floats
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import UndefinedReason, Verdict
from pipeline.results.slopes import SlopeTest

_WITHOUT_ANSWER = {Verdict.INCONCLUSIVE, Verdict.BLOCKED, Verdict.UNDEFINED}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRanking:
    """The ranking of all metrics for all KPIs.

    Attributes:
        metrics: Every metric that varies over the groups, the best of each KPI first.
        unfitted_pairs: The metrics and KPIs without a slope.
        comparisons: By KPI, what the ranking rests on.
    """

    metrics: tuple[RankedMetric, ...]
    unfitted_pairs: tuple[UnfittedPair, ...]
    comparisons: Mapping[Kpi, MetricComparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A metric and a KPI: the line, or why there is none, and the metric where it can be compared."""

    metric: str
    x: Floats
    sums: GroupSums
    line: LineFit | UndefinedReason
    test: SlopeTest | None
    candidate: Candidate | None


def rank_metrics(evidence: RegressionInputs, *, level: float) -> MetricRanking:
    """Rank every measured metric for every KPI that can be fitted."""
    ranked: list[RankedMetric] = []
    unfitted: list[UnfittedPair] = []
    comparisons: dict[Kpi, MetricComparison] = {}
    for kpi in _kpis(evidence):
        fits = [_fit(evidence, metric, kpi, level) for metric in measured_metrics(evidence)]
        unfitted += [
            UnfittedPair(metric=one.metric, kpi=kpi, undefined_reason=one.line)
            for one in fits
            if isinstance(one.line, UndefinedReason)
        ]
        varying = [one for one in fits if one.candidate]
        if varying:
            sums = varying[0].sums
            comparison = compare_metrics([one.candidate for one in varying if one.candidate], sums)
            comparisons[kpi] = comparison
            ranked += _rank(varying, kpi, comparison, level=level)
    bh = adjust_p_values([one.p_value for one in ranked], "fdr_bh")
    adjusted = (replace(one, bh_p_value=p) for one, p in zip(ranked, bh, strict=True))
    return MetricRanking(
        metrics=tuple(adjusted), unfitted_pairs=tuple(unfitted), comparisons=comparisons
    )


def with_rivals(
    results: Sequence[HypothesisResult], ranking: MetricRanking
) -> tuple[HypothesisResult, ...]:
    """The results, each verdict that states an association with the metrics not told apart."""
    return tuple(replace(one, rivals=_rivals(one, ranking)) for one in results)


def _rivals(result: HypothesisResult, ranking: MetricRanking) -> tuple[Rival, ...]:
    if result.verdict in _WITHOUT_ANSWER:
        return ()
    return ranking.comparisons[result.response].rivals(result.metric)


def measured_metrics(evidence: RegressionInputs) -> list[str]:
    """The offline metrics on all targets, each once."""
    measured = evidence.offline_metrics.filter(segment=ALL_TARGETS)["metric"]
    return measured.unique(maintain_order=True).to_list()


def _kpis(evidence: RegressionInputs) -> list[Kpi]:
    there = set(evidence.group_kpis["kpi"])
    return [kpi for kpi in Kpi if RESPONSE[kpi] is kpi and kpi in there]


def _fit(evidence: RegressionInputs, metric: str, kpi: Kpi, level: float) -> _Fit:
    cells = group_cells(evidence, metric, kpi)
    values, sums = metric_values(cells), group_sums(cells, kpi)
    x = relative_change(values)
    line = fit_line(x, sums, level=level)
    small = None if isinstance(line, UndefinedReason) else random_effects_slope(x, sums, line)
    test = small and small.hartung_knapp
    candidate = Candidate(
        metric=metric,
        values=values,
        p_value=test and test.p_value,
        error_covariance=metric_covariance(evidence, metric, cells),
    )
    return _Fit(
        metric=metric,
        x=x,
        sums=sums,
        line=line,
        test=test,
        candidate=candidate if varies(values) else None,
    )


def _rank(fits: Sequence[_Fit], kpi: Kpi, comparison: MetricComparison) -> list[RankedMetric]:
    """The metrics of one KPI, the best first; their p-values are not adjusted yet."""
    best = comparison.best
    tied = {best, *(one.metric for one in comparison.rivals(best))} if best else None
    ranked = [
        RankedMetric(
            metric=one.metric,
            kpi=kpi,
            slope=None if isinstance(one.line, UndefinedReason) else one.line.slope,
            p_value=one.test and one.test.p_value,
            interval=one.test and one.test.interval,
            bh_p_value=None,
            probability_of_best=comparison.probability(one.metric),
            undefined_reason=comparison.undefined_reason,
            tied=tied is None or one.metric in tied,
            correlation_with_best=comparison.correlation(one.metric, best) if best else None,
            leave_one_out_error=leave_one_out_error(one.x, one.sums),
        )
        for one in fits
    ]
    return sorted(ranked, key=_order)


def _order(one: RankedMetric) -> tuple[float, float]:
    return -(one.probability_of_best or 0.0), 1.0 if one.p_value is None else one.p_value


def leave_one_out_error(x: Floats, sums: GroupSums) -> float | None:
    """Root mean square of ``observed / predicted - 1`` over the groups, each left out in turn."""
    intercept_G, slope_G = leave_one_out(x, sums)
    if not np.isfinite(slope_G).all() or not sums.successes.all():
        return None
    predicted = sums.family.mean(intercept_G + slope_G * x)
    found = sums.successes / sums.trials
    return float(np.sqrt(np.mean((found / predicted - 1) ** 2)))

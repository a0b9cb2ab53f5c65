"""Metric ranking: which of the measured metrics each KPI follows (exploratory).

No hypothesis here is pre-registered, so nothing is confirmed; the ranking suggests what to declare
for the next experiment. The rivals of a verdict's metric follow from the same comparison, so that
the two cannot disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.inference.glm.batched_newton import fit_batch
from pipeline.inference.glm.group_regression import GroupSums, undefined_reason
from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.headline.interval import headline
from pipeline.inference.hypotheses.inputs import (
    RESPONSE,
    RegressionInputs,
    group_cells,
    group_sums,
    metric_covariance,
    metric_replicates,
    metric_values,
    relative_change,
)
from pipeline.inference.ranking.metric_comparison import (
    Candidate,
    MetricComparison,
    compare_metrics,
    varies,
)
from pipeline.inference.sensitivity.errors_in_variables import relative_change_covariance
from pipeline.inference.sensitivity.robustness import leave_one_out
from pipeline.results.decisions import RankedMetric, Rival, UnfittedPair
from pipeline.results.family import Floats
from pipeline.results.headline import Headline
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import UndefinedReason, Verdict

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
    """A metric and a KPI: its slope, or the reason, and the metric where it can be compared."""

    metric: str
    x: Floats
    sums: GroupSums
    slope: Headline
    candidate: Candidate | None


def rank_metrics(evidence: RegressionInputs, *, level: float) -> MetricRanking:
    """Rank every measured metric for every KPI that can be fitted."""
    ranked: list[RankedMetric] = []
    unfitted: list[UnfittedPair] = []
    comparisons: dict[Kpi, MetricComparison] = {}
    for kpi in _kpis(evidence):
        fits = [_fit(evidence, metric, kpi, level) for metric in measured_metrics(evidence)]
        if kpi in evidence.users_unknown and not kpi.is_binary:
            fits = [_without_errors(one) for one in fits]
        unfitted += [
            UnfittedPair(metric=one.metric, kpi=kpi, undefined_reason=one.slope.undefined_reason)
            for one in fits
            if one.slope.slope is None and one.slope.undefined_reason
        ]
        varying = [one for one in fits if one.candidate]
        if varying:
            sums = varying[0].sums
            comparison = compare_metrics([one.candidate for one in varying if one.candidate], sums)
            comparisons[kpi] = comparison
            ranked += _rank(varying, kpi, comparison)
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
    covariance_GG = metric_covariance(evidence, metric, cells)
    x = relative_change(values)
    error_GG = None
    if covariance_GG is not None and np.isfinite(x).all():
        error_GG = relative_change_covariance(values, covariance_GG)
    slope = headline(x, sums, error_GG, level=level)
    association = slope
    if varies(values) and not np.isfinite(x).all():  # a shift of x does not change its p-value
        association = headline((values - values.mean()) / values.std(), sums, level=level)
    candidate = Candidate(
        metric=metric,
        values=values,
        p_value=association.p_value,
        undefined_reason=association.undefined_reason,
        error_covariance=covariance_GG,
        replicates_RG=metric_replicates(evidence, metric, cells),
    )
    return _Fit(
        metric=metric,
        x=x,
        sums=sums,
        slope=slope,
        candidate=candidate if varies(values) else None,
    )


def _without_errors(fit: _Fit) -> _Fit:
    """The slope of an amount without sums over users: its interval and p-value are not known."""
    reason = UndefinedReason.USER_SUMS_UNKNOWN
    candidate = fit.candidate and replace(fit.candidate, p_value=None, undefined_reason=reason)
    slope = float(fit_batch(fit.x, fit.sums)[1])
    known = bool(np.isfinite(slope)) and undefined_reason(fit.x, fit.sums) is None
    bare = Headline(slope=slope, level=fit.slope.level, undefined_reason=reason)
    return replace(fit, slope=bare if known else fit.slope, candidate=candidate)


def _rank(fits: Sequence[_Fit], kpi: Kpi, comparison: MetricComparison) -> list[RankedMetric]:
    """The metrics of one KPI, the best first; their p-values are not adjusted yet."""
    best = comparison.best
    tied = {best, *(one.metric for one in comparison.rivals(best))} if best else None
    ranked = [
        RankedMetric(
            metric=one.metric,
            kpi=kpi,
            slope=one.slope.slope,
            p_value=one.candidate.p_value if one.candidate else None,
            interval=one.slope.interval,
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
    if not ((predicted > 0) & np.isfinite(predicted)).all():
        return None
    found = sums.successes / sums.trials
    return float(np.sqrt(np.mean((found / predicted - 1) ** 2)))

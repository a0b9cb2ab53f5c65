"""Metric ranking: how well every offline metric predicts every KPI (exploratory).

No hypothesis here is pre-registered, so nothing is confirmed; the ranking suggests what to declare
for the next experiment. All metrics move along one front, so several may predict equally well.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.glm.multiplicity import adjust_p_values
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
from pipeline.inference.hypotheses.probability_of_best import Measured, probabilities_of_best
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.inference.sensitivity.robustness import leave_one_out
from pipeline.results.decisions import RankedMetric, UnfittedPair
from pipeline.results.family import Floats
from pipeline.results.reasons import UndefinedReason

TIED_WITHIN = 2.0
"""ΔQAIC up to which a metric has substantial support (Burnham & Anderson 2002, 2.6)."""

_SAME_LINE = 1e-9
"""Lines this close are equal: one metric may be a multiple of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A metric with a line: the fit, and what is measured of the metric."""

    metric: str
    x: Floats
    fit: LineFit
    measured: Measured


def rank_metrics(
    evidence: RegressionInputs, *, level: float, seed: int
) -> tuple[list[RankedMetric], list[UnfittedPair]]:
    """Rank every measured metric for every fitted KPI; the best metric of each KPI comes first.

    All candidates of a KPI have two coefficients, so QAIC orders them by lack of fit over the
    dispersion, which is that of the best of them where it is above 1.

    Returns:
        The ranking, and the metrics and KPIs without a line.
    """
    ranked: list[RankedMetric] = []
    unfitted: list[UnfittedPair] = []
    metrics = measured_metrics(evidence)
    for kpi in _kpis(evidence):
        sums = group_sums(group_cells(evidence, metrics[0], kpi), kpi)
        candidates: list[_Candidate] = []
        for metric in metrics:
            found = _candidate(evidence, metric, kpi, sums, level)
            if isinstance(found, UndefinedReason):
                unfitted.append(UnfittedPair(metric=metric, kpi=kpi, undefined_reason=found))
            else:
                candidates.append(found)
        ranked += _rank(candidates, kpi, sums, level=level, seed=seed)
    bh = adjust_p_values([one.p_value for one in ranked], "fdr_bh")
    return [replace(one, bh_p_value=p) for one, p in zip(ranked, bh, strict=True)], unfitted


def _kpis(evidence: RegressionInputs) -> list[Kpi]:
    there = set(evidence.group_kpis["kpi"])
    return [kpi for kpi in Kpi if RESPONSE[kpi] is kpi and kpi in there]


def measured_metrics(evidence: RegressionInputs) -> list[str]:
    """The offline metrics on all targets, each once."""
    measured = evidence.offline_metrics.filter(segment=ALL_TARGETS)["metric"]
    return measured.unique(maintain_order=True).to_list()


def _candidate(
    evidence: RegressionInputs, metric: str, kpi: Kpi, sums: GroupSums, level: float
) -> _Candidate | UndefinedReason:
    cells = group_cells(evidence, metric, kpi)
    values = metric_values(cells)
    x = relative_change(values)
    fit = fit_line(x, sums, level=level)
    if isinstance(fit, UndefinedReason):
        return fit
    covariance_GG = metric_covariance(evidence, metric, cells)
    replicates_RG = metric_replicates(evidence, metric, cells)
    measured = Measured(values, replicates_RG, covariance_GG)
    return _Candidate(metric=metric, x=x, fit=fit, measured=measured)


def _rank(
    candidates: list[_Candidate], kpi: Kpi, sums: GroupSums, *, level: float, seed: int
) -> list[RankedMetric]:
    """The metrics of one KPI, by QAIC; their p-values are not adjusted yet."""
    if not candidates:
        return []
    misfit = np.array([one.fit.lack_of_fit.clustered_chi2 for one in candidates])
    df = max(len(sums.trials) - 2, 1)
    delta = (misfit - misfit.min()) / max(1.0, misfit.min() / df)
    likelihood = np.exp(-delta / 2)
    weights = likelihood / likelihood.sum()
    lines = [one.fit.intercept + one.fit.slope * one.x for one in candidates]
    best = lines[int(misfit.argmin())]
    measured = [one.measured for one in candidates]
    probabilities = probabilities_of_best(measured, sums, seed=seed) or [None] * len(candidates)
    ranked: list[RankedMetric] = []
    for n, one in enumerate(candidates):
        small = random_effects_slope(one.x, sums, one.fit)
        ranked.append(
            RankedMetric(
                metric=one.metric,
                kpi=kpi,
                slope=one.fit.slope,
                p_value=small.hartung_knapp.p_value if small else None,
                interval=small.hartung_knapp.interval if small else None,
                bh_p_value=None,
                lack_of_fit=float(misfit[n]),
                delta_qaic=float(delta[n]),
                akaike_weight=float(weights[n]),
                tied=bool(delta[n] <= TIED_WITHIN),
                probability_of_best=probabilities[n],
                vuong_p_value=vuong(best, lines[n], sums),
                leave_one_out_error=leave_one_out_error(one.x, sums, level=level),
            )
        )
    return sorted(ranked, key=lambda one: one.delta_qaic)


def vuong(one: Floats, other: Floats, sums: GroupSums) -> float:
    """p-value of Vuong's test that the lines ``one`` and ``other`` are equally likely.

    A user with y successes in m trials contributes ``d = y (η - η') - m (A(η) - A(η'))``, A the
    family's cumulant; that is linear in both, so that Σ d and Σ d² over users follow from the sums:
    ``z = Σ d / sqrt(U · Var d)``.
    """
    if np.allclose(one, other, rtol=0, atol=_SAME_LINE):
        return 1.0
    a = one - other
    b = sums.family.cumulant(one) - sums.family.cumulant(other)
    total = float((a * sums.successes - b * sums.trials).sum())
    squares = float((a**2 * sums.sum_yy - 2 * a * b * sums.sum_my + b**2 * sums.sum_mm).sum())
    users = float(sums.users.sum())
    variance = (squares - total**2 / users) * users / (users - 1)
    return float(2 * stats.norm.sf(abs(total) / variance**0.5)) if variance > 0 else 1.0


def leave_one_out_error(x: Floats, sums: GroupSums, *, level: float) -> float | None:
    """Root mean square of ``observed / predicted - 1`` over the groups, each left out in turn."""
    fits = [fit for fit in leave_one_out(x, sums, level=level) if fit]
    if len(fits) < len(x) or not sums.successes.all():
        return None
    intercepts = np.array([fit.intercept for fit in fits])
    slopes = np.array([fit.slope for fit in fits])
    predicted = sums.family.mean(intercepts + slopes * x)
    found = sums.successes / sums.trials
    return float(np.sqrt(np.mean((found / predicted - 1) ** 2)))

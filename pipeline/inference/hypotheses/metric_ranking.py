"""Every offline metric against every KPI: which of them does the KPI follow best?

Nothing here was declared beforehand, so it proves nothing; it tells what to declare for the next
experiment. All metrics move along one front, so several may do equally well: those are ties.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.inference.glm.group_regression import GroupSums, fit_line
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
from pipeline.results.family import Floats

TIED_WITHIN = 2.0
"""Of QAIC: a metric so close to the best has substantial support (Burnham & Anderson 2002, 2.6)."""

_SAME_LINE = 1e-9
"""Values this close are those of one line: metrics may be multiples of each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """How well one KPI follows one metric.

    Attributes:
        metric: The metric.
        kpi: The KPI.
        slope: Change of the log odds (of an amount, of the logarithm of the rate) for a relative
            change of the metric.
        p_value: That the slope is 0, as the groups know it (Hartung–Knapp, t with g - 2); None for
            two groups.
        interval: Of the slope, of the same test.
        bh_p_value: The same for all that was looked through (Benjamini–Hochberg).
        lack_of_fit: Σ (y - n p)² / Q over groups, users clustered; less is closer to the line.
        behind: QAIC less that of the KPI's best metric, 0 or more.
        weight: Akaike weight among the KPI's metrics, in [0, 1]; they sum to 1.
        tied: Whether it is as good as the best, as far as these groups can tell.
        chance_of_best: Share of the draws of metrics and KPI in which the groups lie closest to this
            metric's line (see :mod:`pipeline.inference.hypotheses.probability_of_best`); None where unknown.
        vuong_p_value: That the users' outcomes are as likely under this metric's line as under the
            best's, two-sided (Vuong 1989, users as observations); 1 for the best itself. Users know
            more than groups do, so a tie by QAIC may still be told apart by this.
        leave_one_out_error: Root mean square of the relative error with which the line through the
            other groups foretells each group's rate; None where one of those lines is undefined.
    """

    metric: str
    kpi: str
    slope: float
    p_value: float | None
    interval: tuple[float, float] | None
    bh_p_value: float | None
    lack_of_fit: float
    behind: float
    weight: float
    tied: bool
    chance_of_best: float | None
    vuong_p_value: float
    leave_one_out_error: float | None


def explore(evidence: RegressionInputs, *, level: float, seed: int) -> list[Candidate]:
    """Every measured metric against every KPI that is fitted; of each KPI the best metric first.

    All candidates of a KPI have two coefficients, so QAIC orders them by lack of fit over the
    dispersion, which is that of the best of them where it is above 1.
    """
    metrics = measured_metrics(evidence)
    found = [one for kpi in _kpis(evidence) for one in _of_kpi(evidence, kpi, metrics, level, seed)]
    bh = adjust_p_values([row["p_value"] for row in found], "fdr_bh")
    return [Candidate(**row, bh_p_value=p) for row, p in zip(found, bh, strict=True)]


def unfitted_pairs(evidence: RegressionInputs, *, level: float) -> list[dict[str, str]]:
    """Every metric and KPI without a line, and why."""
    found: list[dict[str, str]] = []
    for kpi in _kpis(evidence):
        for metric in measured_metrics(evidence):
            cells = group_cells(evidence, metric, kpi)
            x = relative_change(metric_values(cells))
            fit = fit_line(x, group_sums(cells, kpi), level=level)
            if isinstance(fit, str):
                found.append({"metric": metric, "kpi": kpi.value, "because": fit})
    return found


def _kpis(evidence: RegressionInputs) -> list[Kpi]:
    there = set(evidence.group_kpis["kpi"])
    return [kpi for kpi in Kpi if RESPONSE[kpi] is kpi and kpi in there]


def measured_metrics(evidence: RegressionInputs) -> list[str]:
    """The offline metrics of all targets, each once."""
    measured = evidence.offline_metrics.filter(segment=ALL_TARGETS)["metric"]
    return measured.unique(maintain_order=True).to_list()


def _of_kpi(
    evidence: RegressionInputs, kpi: Kpi, metrics: list[str], level: float, seed: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    lines: list[Floats] = []
    measured: list[Measured] = []
    sums = group_sums(group_cells(evidence, metrics[0], kpi), kpi)
    for metric in metrics:
        cells = group_cells(evidence, metric, kpi)
        values = metric_values(cells)
        x = relative_change(values)
        fit = fit_line(x, sums, level=level)
        if isinstance(fit, str):
            continue
        few = random_effects_slope(x, sums, fit)
        lines.append(fit.intercept + fit.slope * x)
        covariance_GG = metric_covariance(evidence, metric, cells)
        measured.append(Measured(values, metric_replicates(evidence, metric, cells), covariance_GG))
        rows.append(
            {
                "metric": metric,
                "kpi": kpi.value,
                "slope": fit.slope,
                "p_value": few.hartung_knapp.p_value if few else None,
                "interval": few.hartung_knapp.interval if few else None,
                "lack_of_fit": fit.clustered_chi2,
                "leave_one_out_error": leave_one_out_error(x, sums, level=level),
            }
        )
    if not rows:
        return []
    misfit = np.array([row["lack_of_fit"] for row in rows])
    df = max(evidence.group_kpis["group"].n_unique() - 2, 1)
    behind = (misfit - misfit.min()) / max(1.0, misfit.min() / df)
    likelihood = np.exp(-behind / 2)
    best = lines[int(misfit.argmin())]
    chances = probabilities_of_best(measured, sums, seed=seed) or [None] * len(rows)
    for row, gap, share, line, chance in zip(
        rows, behind, likelihood / likelihood.sum(), lines, chances, strict=True
    ):
        row |= {
            "behind": float(gap),
            "weight": float(share),
            "tied": bool(gap <= TIED_WITHIN),
            "chance_of_best": chance,
            "vuong_p_value": vuong(best, line, sums),
        }
    return sorted(rows, key=lambda row: row["behind"])


def vuong(one: Floats, other: Floats, sums: GroupSums) -> float:
    """P-value that users' outcomes are as likely under the line ``one`` as under ``other``.

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
    """Root mean square of ``found / foretold - 1`` over the groups, each left out in turn."""
    fits = [fit for fit in leave_one_out(x, sums, level=level) if fit]
    if len(fits) < len(x) or not sums.successes.all():
        return None
    intercepts = np.array([fit.intercept for fit in fits])
    slopes = np.array([fit.slope for fit in fits])
    foretold = sums.family.mean(intercepts + slopes * x)
    found = sums.successes / sums.trials
    return float(np.sqrt(np.mean((found / foretold - 1) ** 2)))

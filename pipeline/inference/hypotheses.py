"""The study's hypotheses: each an offline metric, a KPI, and the slope between them."""

from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.inference.error_in_x import ErrorInX, error_in_x
from pipeline.inference.family import Family
from pipeline.inference.few_groups import FewGroups, few_groups
from pipeline.inference.multiplicity import adjusted
from pipeline.inference.regression import GroupSums, LogisticFit, fit_logistic
from pipeline.inference.robustness import Permutation, curvature, leave_one_out, permutation_test
from pipeline.inference.slope_test import SlopeTest
from pipeline.inference.verdict import Verdict, detectable_slope, trials_to_settle, verdict
from pipeline.schemas import ALL_TARGETS, Kpi
from pipeline.study import Hypothesis, RegressionSection

RESPONSE = {
    **{kpi: kpi for kpi in Kpi},
    Kpi.UNITS_PER_EXPOSURE: Kpi.SALE_RATE,
}
"""The KPI a hypothesis on each KPI is fitted to: itself, but units per exposure are modelled by
whether the exposure led to a sale, as in the paper; their own rate is ``log_rate``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPoint:
    """One group in a hypothesis.

    Attributes:
        group: Its name in the traffic plan.
        metric_value: The offline metric under the group's preference.
        x: Relative change of the metric against the worst group, a fraction: M / min M - 1.
        trials: E.g. exposures.
        successes: E.g. clicks.
        rate: successes / trials, None without trials.
        standard_error: Of the rate, user-clustered.
    """

    group: str
    metric_value: float | None
    x: float | None
    trials: int
    successes: int
    rate: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionEstimate:
    """The answer to one hypothesis.

    Attributes:
        hypothesis: What was asked.
        response: The KPI that was fitted.
        points: The groups.
        fit: The regression, or None where it is undefined.
        undefined_because: The reason where it is.
        rate_elasticity: Per cent the KPI changes for 1 % of the metric. Of a yes-or-no KPI, whose
            slope is the elasticity of the odds, slope · (1 - mean rate); of an amount the slope.
        log_rate: Slope of the logarithm of the hypothesis's own KPI (Poisson regression, users
            clustered): the elasticity of the rate itself; None where it is undefined.
        few_groups: The slope as g groups know it.
        permutation: Whether another order of the metric would do as well.
        curvature: The coefficient of x².
        leave_one_out: The slope without each group.
        error_in_x: What measuring the metric adds.
        metric_covariance: Of the errors of the groups' metrics, in the order of the points; None
            where it is not known.
        holm_p_value: The p-value of the wider test, for the family of declared hypotheses.
        verdict: See :class:`pipeline.inference.verdict.Verdict`.
        detectable_slope: Smallest slope that would have been found with a chance of 80 %.
        trials_to_settle: Trials after which 0 would be excluded with a chance of 80 %.
    """

    hypothesis: Hypothesis
    response: Kpi
    points: tuple[GroupPoint, ...]
    fit: LogisticFit | None = None
    undefined_because: str | None = None
    rate_elasticity: float | None = None
    log_rate: SlopeTest | None = None
    few_groups: FewGroups | None = None
    permutation: Permutation | None = None
    curvature: SlopeTest | None = None
    leave_one_out: tuple[float | None, ...] = ()
    error_in_x: ErrorInX | None = None
    metric_covariance: list[list[float]] | None = None
    holm_p_value: float | None = None
    verdict: Verdict = Verdict.UNDEFINED
    detectable_slope: float | None = None
    trials_to_settle: int | None = None

    @property
    def n(self) -> int:
        """Trials in all groups."""
        return sum(point.trials for point in self.points)

    def as_dict(self) -> dict[str, Any]:
        """The answer as ``report.json`` holds it; the paper's line first, then what it omits."""
        fit = self.fit
        without = {
            point.group: slope
            for point, slope in zip(self.points, self.leave_one_out, strict=False)
        }
        return {
            "id": self.hypothesis.id,
            "metric": str(self.hypothesis.metric),
            "kpi": self.hypothesis.kpi.value,
            "direction": self.hypothesis.direction,
            "response": self.response.value,
            "link": family_of(self.response).value,
            "slope": fit.slope if fit else None,
            "standard_error": fit.model.standard_error if fit else None,
            "interval": list(fit.model.interval) if fit else None,
            "p_value": fit.model.p_value if fit else None,
            "n": self.n,
            "groups": len(self.points),
            "verdict": self.verdict.value,
            "undefined_because": self.undefined_because,
            "rate_elasticity": self.rate_elasticity,
            "intercept": fit.intercept if fit else None,
            "level": fit.model.level if fit else None,
            "covariance": fit.model.covariance if fit else None,
            "user_clustered": _plain(fit.clustered) if fit else None,
            "verdict_interval": list(fit.cautious.interval) if fit else None,
            "holm_p_value": self.holm_p_value,
            "few_groups": _plain(self.few_groups) if self.few_groups else None,
            "permutation": _plain(self.permutation) if self.permutation else None,
            "lack_of_fit": _lack_of_fit(fit) if fit else None,
            "curvature": _plain(self.curvature) if self.curvature else None,
            "leave_one_out": without,
            "error_in_x": _plain(self.error_in_x) if self.error_in_x else None,
            "log_rate": _plain(self.log_rate) if self.log_rate else None,
            "detectable_slope": self.detectable_slope,
            "trials_to_settle": self.trials_to_settle,
            "points": [asdict(point) for point in self.points],
            "metric_covariance": self.metric_covariance,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What hypotheses are judged by.

    Attributes:
        offline_metrics: The table of that name.
        covariance: ``offline_metric_covariance``; None if the metrics' errors are not known.
        group_kpis: The table of that name.
        healthy: Whether the experiment may be read.
    """

    offline_metrics: pl.DataFrame
    covariance: pl.DataFrame | None
    group_kpis: pl.DataFrame
    healthy: bool = True


def estimate_hypotheses(
    evidence: Evidence, section: RegressionSection, *, seed: int
) -> list[RegressionEstimate]:
    """Fit every declared hypothesis on the groups' metrics and KPIs; ``seed`` draws metrics anew."""
    estimates = [
        _estimate(hypothesis, evidence, section.level, seed) for hypothesis in section.hypotheses
    ]
    family = [one.fit.cautious.p_value if one.fit else None for one in estimates]
    return [
        replace(one, holm_p_value=p_value)
        for one, p_value in zip(estimates, adjusted(family, "holm"), strict=True)
    ]


def _estimate(
    hypothesis: Hypothesis, evidence: Evidence, level: float, seed: int
) -> RegressionEstimate:
    response = RESPONSE[hypothesis.kpi]
    cells = cells_of(evidence, hypothesis.metric, response)
    values = cells["value"].cast(pl.Float64).to_numpy()
    x, sums = relative_change(values), sums_of(cells, response)
    fit = fit_logistic(x, sums, level=level)
    unanswered = RegressionEstimate(
        hypothesis=hypothesis, response=response, points=tuple(_points(cells, x))
    )
    if isinstance(fit, str):
        return replace(unanswered, undefined_because=fit)
    few = few_groups(x, sums, fit)
    own = sums_of(cells_of(evidence, hypothesis.metric, hypothesis.kpi), hypothesis.kpi)
    rate = fit_logistic(x, replace(own, family=Family.POISSON), level=level)
    covariance_GG = _covariance(evidence.covariance, hypothesis.metric, cells)
    return replace(
        unanswered,
        fit=fit,
        rate_elasticity=fit.slope * (1 - sums.rate if response.is_yes_or_no else 1.0),
        log_rate=None if isinstance(rate, str) else rate.clustered,
        few_groups=few,
        permutation=permutation_test(x, sums, seed=seed),
        curvature=curvature(x, sums, level=level),
        leave_one_out=tuple(
            one.slope if one else None for one in leave_one_out(x, sums, level=level)
        ),
        error_in_x=None
        if covariance_GG is None
        else error_in_x(values, covariance_GG, sums, fit, seed=seed),
        metric_covariance=None if covariance_GG is None else covariance_GG.tolist(),
        verdict=verdict(hypothesis, fit, few, healthy=evidence.healthy),
        detectable_slope=detectable_slope(fit),
        trials_to_settle=trials_to_settle(fit, sums.trials.sum()),
    )


def cells_of(evidence: Evidence, metric: str, kpi: Kpi) -> pl.DataFrame:
    """The groups' sums for a KPI beside their metric."""
    measured = evidence.offline_metrics.filter(metric=str(metric), segment=ALL_TARGETS)
    return (
        evidence.group_kpis.filter(pl.col("kpi") == kpi.value)
        .join(measured.select("preference_id", "value"), on="preference_id", how="left")
        .sort("group")
    )


def family_of(kpi: Kpi) -> Family:
    """How a KPI depends on a metric."""
    return Family.BINOMIAL if kpi.is_yes_or_no else Family.POISSON


def sums_of(cells: pl.DataFrame, kpi: Kpi) -> GroupSums:
    """The sums of a KPI's cells, as the estimators take them."""
    return GroupSums(
        family=family_of(kpi),
        trials=_floats(cells, "trials"),
        successes=_floats(cells, "successes"),
        users=_floats(cells, "users"),
        sum_mm=_floats(cells, "sum_mm"),
        sum_my=_floats(cells, "sum_my"),
        sum_yy=_floats(cells, "sum_yy"),
    )


def _covariance(
    table: pl.DataFrame | None, metric: str, cells: pl.DataFrame
) -> NDArray[np.float64] | None:
    """Covariance of the groups' metrics; None where it is not known."""
    if table is None:
        return None
    pairs = {
        (row["preference_id"], row["other_preference_id"]): row["covariance"]
        for row in table.filter(metric=str(metric)).iter_rows(named=True)
    }
    ids = cells["preference_id"].to_list()
    found = [[pairs.get((one, other)) for other in ids] for one in ids]
    return None if any(None in row for row in found) else np.array(found, dtype=np.float64)


def relative_change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``M / min M - 1`` as a fraction; nan where the smallest metric is 0 or any is undefined."""
    if not len(values) or np.isnan(values).any() or values.min() <= 0:
        return np.full(len(values), np.nan)
    return values / values.min() - 1


def _floats(cells: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return cells[column].cast(pl.Float64).to_numpy()


def _points(cells: pl.DataFrame, x: NDArray[np.float64]) -> list[GroupPoint]:
    return [
        GroupPoint(
            group=row["group"],
            metric_value=row["value"],
            x=None if np.isnan(change) else float(change),
            trials=row["trials"],
            successes=row["successes"],
            rate=row["rate"],
            standard_error=row["standard_error"],
        )
        for row, change in zip(cells.iter_rows(named=True), x, strict=True)
    ]


def _plain(value: Any) -> Any:
    """A dataclass, and what it holds, as JSON has it."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _lack_of_fit(fit: LogisticFit) -> dict[str, Any]:
    return {
        "pearson_chi2": fit.pearson_chi2,
        "clustered_chi2": fit.clustered_chi2,
        "df": fit.lack_of_fit_df,
        "p_value": fit.lack_of_fit_p,
    }

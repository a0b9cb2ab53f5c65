"""The study's hypotheses: each an offline metric, a KPI, and the slope between them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.inference.regression import GroupSums, LogisticFit, fit_logistic
from pipeline.schemas import ALL_TARGETS, Kpi
from pipeline.study import Hypothesis, RegressionSection

RESPONSE = {
    Kpi.CTR: Kpi.CTR,
    Kpi.CVR: Kpi.CVR,
    Kpi.SALE_RATE: Kpi.SALE_RATE,
    Kpi.UNITS_PER_EXPOSURE: Kpi.SALE_RATE,
}
"""The yes-or-no KPI a hypothesis on each KPI is fitted to: a count of units cannot enter a logistic
likelihood, so units per exposure are modelled by whether the exposure led to a sale, as in the
paper."""


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
        response: The yes-or-no KPI that was fitted.
        fit: The regression, or None where it is undefined.
        undefined_because: The reason where it is.
        rate_elasticity: Slope · (1 - mean rate): per cent the KPI changes for 1 % of the metric
            (the slope itself is the elasticity of the odds).
        verdict: ``supported`` if the wider of the two intervals lies on the declared side of 0,
            ``contradicted`` if on the other, ``not shown`` if it holds 0, ``undefined``.
        points: The groups.
    """

    hypothesis: Hypothesis
    response: Kpi
    fit: LogisticFit | None
    undefined_because: str | None
    rate_elasticity: float | None
    verdict: str
    points: tuple[GroupPoint, ...]

    @property
    def n(self) -> int:
        """Trials in all groups."""
        return sum(point.trials for point in self.points)

    def as_dict(self) -> dict[str, Any]:
        """The answer as ``report.json`` holds it; the paper's line first, then what it omits."""
        fit = self.fit
        return {
            "id": self.hypothesis.id,
            "metric": self.hypothesis.metric.value,
            "kpi": self.hypothesis.kpi.value,
            "direction": self.hypothesis.direction,
            "response": self.response.value,
            "slope": fit.slope if fit else None,
            "standard_error": fit.model.standard_error if fit else None,
            "interval": list(fit.model.interval) if fit else None,
            "p_value": fit.model.p_value if fit else None,
            "n": self.n,
            "groups": len(self.points),
            "verdict": self.verdict,
            "undefined_because": self.undefined_because,
            "rate_elasticity": self.rate_elasticity,
            "intercept": fit.intercept if fit else None,
            "level": fit.model.level if fit else None,
            "covariance": fit.model.covariance if fit else None,
            "user_clustered": _clustered(fit) if fit else None,
            "verdict_interval": list(fit.cautious.interval) if fit else None,
            "lack_of_fit": _lack_of_fit(fit) if fit else None,
            "points": [asdict(point) for point in self.points],
        }


def estimate_hypotheses(
    offline_metrics: pl.DataFrame, group_kpis: pl.DataFrame, section: RegressionSection
) -> list[RegressionEstimate]:
    """Fit every declared hypothesis on the groups' metrics and KPIs."""
    return [
        _estimate(hypothesis, offline_metrics, group_kpis, section.level)
        for hypothesis in section.hypotheses
    ]


def _estimate(
    hypothesis: Hypothesis, offline_metrics: pl.DataFrame, group_kpis: pl.DataFrame, level: float
) -> RegressionEstimate:
    response = RESPONSE[hypothesis.kpi]
    metric = offline_metrics.filter(metric=hypothesis.metric.value, segment=ALL_TARGETS)
    cells = (
        group_kpis.filter(pl.col("kpi") == response.value)
        .join(metric.select("preference_id", "value"), on="preference_id", how="left")
        .sort("group")
    )
    x = relative_change(cells["value"].cast(pl.Float64).to_numpy())
    sums = GroupSums(
        trials=_floats(cells, "trials"),
        successes=_floats(cells, "successes"),
        users=_floats(cells, "users"),
        sum_mm=_floats(cells, "sum_mm"),
        sum_my=_floats(cells, "sum_my"),
        sum_yy=_floats(cells, "sum_yy"),
    )
    result = fit_logistic(x, sums, level=level)
    fit = result if isinstance(result, LogisticFit) else None
    rate = sums.successes.sum() / sums.trials.sum() if sums.trials.sum() else np.nan
    return RegressionEstimate(
        hypothesis=hypothesis,
        response=response,
        fit=fit,
        undefined_because=result if isinstance(result, str) else None,
        rate_elasticity=float(fit.slope * (1 - rate)) if fit else None,
        verdict=verdict(hypothesis, fit),
        points=tuple(_points(cells, x)),
    )


def relative_change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``M / min M - 1`` as a fraction; nan where the smallest metric is 0 or any is undefined."""
    if not len(values) or np.isnan(values).any() or values.min() <= 0:
        return np.full(len(values), np.nan)
    return values / values.min() - 1


def verdict(hypothesis: Hypothesis, fit: LogisticFit | None) -> str:
    """What the wider of the two intervals says of the declared direction."""
    if fit is None:
        return "undefined"
    low, high = fit.cautious.interval
    if low <= 0 <= high:
        return "not shown"
    return "supported" if (low > 0) == (hypothesis.direction == "positive") else "contradicted"


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


def _clustered(fit: LogisticFit) -> dict[str, Any]:
    test = fit.clustered
    return {
        "standard_error": test.standard_error,
        "interval": list(test.interval),
        "p_value": test.p_value,
    }


def _lack_of_fit(fit: LogisticFit) -> dict[str, Any]:
    return {
        "pearson_chi2": fit.pearson_chi2,
        "clustered_chi2": fit.clustered_chi2,
        "df": fit.lack_of_fit_df,
        "p_value": fit.lack_of_fit_p,
    }

"""The KPI that the line of a hypothesis predicts at any value of the metric.

``link(KPI) = a + b x`` with ``x = M / min M - 1``; the error of the line at x is that of ``a + b x``,
``√([1 x] V [1 x]ᵀ)``. It does not include the deviation of a preference from the line.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from pipeline.core.errors import DataError
from pipeline.inference.glm.group_regression import GroupSums, clustered_covariance
from pipeline.inference.hypotheses.inputs import group_sums
from pipeline.results.family import Family, Floats
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Covariance


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiPrediction:
    """The predicted KPI at one value of the metric.

    Attributes:
        rate: The KPI; of binary KPIs in (0, 1), else above 0.
        interval: Confidence interval of the line, by the largest of the fit's errors.
        covariance: The assumption of that error: cluster-robust, model or quasi-binomial (t with
            g - 2 degrees of freedom).
        level: Nominal coverage of the interval.
        is_extrapolated: Whether the metric is outside the range of the groups.
    """

    rate: float
    interval: tuple[float, float]
    covariance: Covariance
    level: float
    is_extrapolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLine:
    """The line of a hypothesis with the covariances of its coefficients.

    Attributes:
        family: Of the regression.
        coefficients: Intercept and slope.
        smallest: The metric of the worst group, to which x is relative.
        largest: The metric of the best group.
        level: Nominal coverage of intervals.
        errors: By assumption, the covariance of the coefficients and the quantile of intervals.
    """

    family: Family
    coefficients: Floats
    smallest: float
    largest: float
    level: float
    errors: dict[Covariance, tuple[Floats, float]]

    def at(self, metric: float) -> KpiPrediction:
        """The predicted KPI at this value of the metric."""
        place = np.array([1.0, metric / self.smallest - 1])
        line = float(place @ self.coefficients)
        widths = {
            name: times * float(np.sqrt(place @ covariance @ place))
            for name, (covariance, times) in self.errors.items()
        }
        widest = max(widths, key=lambda name: widths[name])
        low, middle, high = self.family.mean(
            np.array([line - widths[widest], line, line + widths[widest]])
        ).tolist()
        return KpiPrediction(
            rate=middle,
            interval=(low, high),
            covariance=widest,
            level=self.level,
            is_extrapolated=not self.smallest <= metric <= self.largest,
        )


def fitted_line(result: HypothesisResult, group_kpis: pl.DataFrame) -> FittedLine | None:
    """The line of a hypothesis, from the sums it was fitted to; None without a slope.

    Raises:
        DataError: if the sums are not those the line was fitted to.
    """
    if result.slope is None or result.intercept is None or result.level is None:
        return None
    cells = group_kpis.filter(kpi=result.response.value).sort("group")
    groups = [(point.group, point.trials, point.successes) for point in result.points]
    if cells.select("group", "trials", "successes").rows() != groups:
        msg = (
            f"{result.id} was fitted to a different table group_kpis. Re-run: dagster asset "
            "materialize --select regression_estimates"
        )
        raise DataError(msg)
    values = np.array([point.metric_value for point in result.points], dtype=np.float64)
    return FittedLine(
        family=result.link,
        coefficients=np.array([result.intercept, result.slope]),
        smallest=float(values.min()),
        largest=float(values.max()),
        level=result.level,
        errors=_errors(result, group_sums(cells, result.response), result.level),
    )


def _errors(
    result: HypothesisResult, sums: GroupSums, level: float
) -> dict[Covariance, tuple[Floats, float]]:
    """The covariances that a slope is tested with."""
    x = np.array([point.x for point in result.points], dtype=np.float64)
    design = np.column_stack([np.ones_like(x), x])
    rate = sums.family.mean(design @ np.array([result.intercept, result.slope]))
    clustered = clustered_covariance(design, rate, sums)
    information = (design.T * (sums.trials * sums.family.variance(rate))) @ design
    independent = np.linalg.inv(information).astype(np.float64)
    model = independent if sums.family is Family.BINOMIAL else clustered
    normal = float(stats.norm.ppf((1 + level) / 2))
    errors = {Covariance.CLUSTER_ROBUST: (clustered, normal), Covariance.MODEL: (model, normal)}
    if (lack := result.lack_of_fit) is not None and lack.df > 0:
        dispersion = max(1.0, lack.pearson_chi2 / lack.df)
        t = float(stats.t(lack.df).ppf((1 + level) / 2))
        errors[Covariance.QUASI_BINOMIAL] = (model * dispersion, t)
    return errors

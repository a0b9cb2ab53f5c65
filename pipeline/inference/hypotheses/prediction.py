"""What the fitted line of a hypothesis expects of a KPI, also where no group was.

``link(KPI) = a + b x`` with ``x = M / min M - 1``; the error of the line at x is that of ``a + b x``,
``√([1 x] V [1 x]ᵀ)``. It is the error of the line alone: a preference that was not served may lie
off the line, as the groups do.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from pipeline.core.errors import DataError
from pipeline.inference.estimates_file import REMEDY, Answer
from pipeline.inference.glm.group_regression import GroupSums, clustered_covariance
from pipeline.inference.hypotheses.inputs import group_sums
from pipeline.results.family import Family, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiPrediction:
    """The KPI where the line passes a value of the metric.

    Attributes:
        rate: The KPI; of yes-or-no KPIs in (0, 1), else above 0.
        interval: Of the line there: the widest that the fit's errors give.
        covariance: Which of them that is: ``user-clustered``, ``model`` (independent trials) or
            ``quasi-binomial`` (as few groups know it: t with g - 2).
        level: Coverage the interval aims at.
        is_beyond: Whether no group's metric is as low, or as high, so that the line is carried on.
    """

    rate: float
    interval: tuple[float, float]
    covariance: str
    level: float
    is_beyond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLine:
    """The line of a hypothesis, and the covariances of its two coefficients.

    Attributes:
        family: How the KPI depends on x.
        coefficients: Intercept and slope.
        smallest: The smallest metric of a group, to which x is relative.
        largest: The largest metric of a group.
        level: Coverage that intervals aim at.
        errors: By name, the covariance of the coefficients and how many standard errors make an
            interval of it.
    """

    family: Family
    coefficients: Floats
    smallest: float
    largest: float
    level: float
    errors: dict[str, tuple[Floats, float]]

    def at(self, metric: float) -> KpiPrediction:
        """The KPI that is expected where the offline metric has this value."""
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
            is_beyond=not self.smallest <= metric <= self.largest,
        )


def fitted_line(answer: Answer, group_kpis: pl.DataFrame) -> FittedLine | None:
    """The line of an answer with its covariances, from the sums it was fitted to; None without one.

    Raises:
        DataError: if the sums are not those that the line was fitted to.
    """
    if answer.slope is None or answer.intercept is None or answer.level is None:
        return None
    cells = group_kpis.filter(kpi=answer.response.value).sort("group")
    groups = [(point.group, point.trials, point.successes) for point in answer.points]
    if cells.select("group", "trials", "successes").rows() != groups:
        msg = f"{answer.id} was fitted to other group_kpis than there are now. {REMEDY}"
        raise DataError(msg)
    values = np.array([point.metric_value for point in answer.points], dtype=np.float64)
    return FittedLine(
        family=answer.link,
        coefficients=np.array([answer.intercept, answer.slope]),
        smallest=float(values.min()),
        largest=float(values.max()),
        level=answer.level,
        errors=_errors(answer, group_sums(cells, answer.response), answer.level),
    )


def _errors(answer: Answer, sums: GroupSums, level: float) -> dict[str, tuple[Floats, float]]:
    """The covariances a slope is judged by; see :mod:`pipeline.inference.sensitivity.random_effects`."""
    x = np.array([point.x for point in answer.points], dtype=np.float64)
    design = np.column_stack([np.ones_like(x), x])
    rate = sums.family.mean(design @ np.array([answer.intercept, answer.slope]))
    clustered = clustered_covariance(design, rate, sums)
    information = (design.T * (sums.trials * sums.family.variance(rate))) @ design
    independent = np.linalg.inv(information).astype(np.float64)
    model = independent if sums.family is Family.BINOMIAL else clustered
    normal = float(stats.norm.ppf((1 + level) / 2))
    errors = {"user-clustered": (clustered, normal), "model": (model, normal)}
    if (lack := answer.lack_of_fit) is not None and lack.df > 0:
        dispersion = max(1.0, lack.pearson_chi2 / lack.df)
        t = float(stats.t(lack.df).ppf((1 + level) / 2))
        errors["quasi-binomial"] = (model * dispersion, t)
    return errors

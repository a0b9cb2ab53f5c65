"""The answer to a hypothesis, and how ``report.json`` writes it."""

import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import LineFit
from pipeline.inference.glm.prediction_band import BandPoint, band_of, cautious_covariance
from pipeline.inference.glm.wald import Equivalence, SlopeTest
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.inference.sensitivity.cuped import Cuped
from pipeline.inference.sensitivity.day_effects import DayEffects
from pipeline.inference.sensitivity.errors_in_variables import ErrorsInVariables
from pipeline.inference.sensitivity.random_effects import RandomEffectsSlope
from pipeline.inference.sensitivity.robustness import Permutation
from pipeline.inference.sensitivity.sequential import InterimEstimate
from pipeline.inference.sensitivity.user_segments import Segments
from pipeline.study import Hypothesis


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPoint:
    """One group in a hypothesis.

    Attributes:
        group: Its name in the traffic plan.
        metric_value: The offline metric under the group's preference.
        x: Relative change of the metric against the worst group, a fraction: M / min M - 1.
        x_standard_error: Of x; None where the errors of the metrics are not known.
        trials: E.g. impressions.
        successes: E.g. clicks.
        rate: successes / trials, None without trials.
        standard_error: Of the rate, user-clustered.
    """

    group: str
    metric_value: float | None
    x: float | None
    x_standard_error: float | None = None
    trials: int
    successes: int
    rate: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """A slope in words of the KPI.

    Attributes:
        estimate: Per cent the KPI changes for 1 % of the metric.
        interval: Of it, from the interval that the verdict rests on.
        detectable: Smallest one, up or down, that would have been found with a chance of 80 %.
        detectable_change: By which the odds (of amounts, the rate) then differ between the groups
            with the smallest and the largest metric, a fraction.
    """

    estimate: float
    interval: tuple[float, float]
    detectable: float
    detectable_change: float


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
        day_effects: The slope beside what days do; None if days are not known.
        looks: The slope at the end of every day, intervals that hold on all days at once.
        planned_days: How long the experiment was to run; None if days are not known.
        days: How many days there are, from the first to the last.
        cuped: The slope, adjusted for what users did before the experiment; None if that is not known.
        segments: The slope of every segment of users; None without two segments.
        equivalence: Whether the slope is too small to matter, if the hypothesis has a margin.
        holm_p_value: The p-value of the deciding test, for the family of declared hypotheses.
        verdict: See :class:`pipeline.inference.hypotheses.verdict.Verdict`.
        detectable_slope: Smallest slope that would have been found with a chance of 80 %.
        trials_to_settle: Trials after which 0 would be excluded with a chance of 80 %.
    """

    hypothesis: Hypothesis
    response: Kpi
    points: tuple[GroupPoint, ...]
    fit: LineFit | None = None
    undefined_because: str | None = None
    rate_elasticity: float | None = None
    log_rate: SlopeTest | None = None
    few_groups: RandomEffectsSlope | None = None
    permutation: Permutation | None = None
    curvature: SlopeTest | None = None
    leave_one_out: tuple[float | None, ...] = ()
    error_in_x: ErrorsInVariables | None = None
    metric_covariance: list[list[float]] | None = None
    day_effects: DayEffects | None = None
    looks: tuple[InterimEstimate, ...] = ()
    planned_days: int | None = None
    days: int | None = None
    cuped: Cuped | None = None
    segments: Segments | None = None
    equivalence: Equivalence | None = None
    holm_p_value: float | None = None
    verdict: Verdict = Verdict.UNDEFINED
    detectable_slope: float | None = None
    trials_to_settle: int | None = None

    @property
    def n(self) -> int:
        """Trials in all groups."""
        return sum(point.trials for point in self.points)

    @property
    def elasticity(self) -> Elasticity | None:
        """Per cent of the KPI for 1 % of the metric, with the interval that the verdict rests on."""
        deciding, fit = self.deciding, self.fit
        if not (fit and deciding) or self.rate_elasticity is None or self.detectable_slope is None:
            return None
        share = self.rate_elasticity / fit.slope if fit.slope else 1.0
        low, high = deciding.interval
        furthest = max(point.x or 0.0 for point in self.points)
        return Elasticity(
            estimate=self.rate_elasticity,
            interval=(share * low, share * high),
            detectable=share * self.detectable_slope,
            detectable_change=math.expm1(self.detectable_slope * furthest),
        )

    @property
    def band(self) -> tuple[BandPoint, ...]:
        """The fitted line with its interval; empty where there is none."""
        furthest = max((point.x or 0.0 for point in self.points), default=0.0)
        return band_of(self.fit, family_of(self.response), furthest) if self.fit else ()

    @property
    def leave_one_out_range(self) -> tuple[float, float] | None:
        """The flattest and the steepest slope without one of the groups."""
        known = [slope for slope in self.leave_one_out if slope is not None]
        return (min(known), max(known)) if known else None

    @property
    def is_early(self) -> bool:
        """Whether this is a look before the planned end."""
        if self.days is None or self.planned_days is None:
            return False
        return self.days < self.planned_days

    @property
    def deciding(self) -> SlopeTest | None:
        """The test that the verdict rests on: clustered, and before the planned end the last look."""
        if self.fit and self.is_early and self.looks:
            return self.looks[-1].test
        return self.fit.conservative if self.fit else None

    def _kpi_changes(self) -> list[float | None]:
        """Of each point the change of the KPI against the group where it is lowest, a fraction."""
        rates = [point.rate for point in self.points]
        lowest = min((rate for rate in rates if rate is not None), default=None)
        return [rate / lowest - 1 if rate is not None and lowest else None for rate in rates]

    def as_dict(self) -> dict[str, Any]:
        """The answer as ``report.json`` holds it; the paper's line first, then what it omits."""
        fit, deciding = self.fit, self.deciding
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
            "elasticity": _plain(self.elasticity) if self.elasticity else None,
            "intercept": fit.intercept if fit else None,
            "level": fit.model.level if fit else None,
            "covariance": fit.model.covariance if fit else None,
            "user_clustered": _plain(fit.clustered) if fit else None,
            "verdict_interval": list(deciding.interval) if deciding else None,
            "reading": "early look" if self.is_early else "planned end",
            "holm_p_value": self.holm_p_value,
            "few_groups": _plain(self.few_groups) if self.few_groups else None,
            "permutation": _plain(self.permutation) if self.permutation else None,
            "lack_of_fit": _lack_of_fit(fit) if fit else None,
            "curvature": _plain(self.curvature) if self.curvature else None,
            "leave_one_out": without,
            "leave_one_out_range": _plain(self.leave_one_out_range),
            "band": _plain(self.band),
            "line_covariance": cautious_covariance(fit).tolist() if fit else None,
            "error_in_x": _plain(self.error_in_x) if self.error_in_x else None,
            "log_rate": _plain(self.log_rate) if self.log_rate else None,
            "day_effects": _plain(self.day_effects) if self.day_effects else None,
            "days": {"observed": self.days, "planned": self.planned_days},
            "looks": [{"day": one.day.isoformat()} | _plain(one.test) for one in self.looks],
            "cuped": _plain(self.cuped) if self.cuped else None,
            "segments": _plain(self.segments) if self.segments else None,
            "equivalence": _plain(self.equivalence) if self.equivalence else None,
            "detectable_slope": self.detectable_slope,
            "trials_to_settle": self.trials_to_settle,
            "points": [
                asdict(point) | {"kpi_change": change}
                for point, change in zip(self.points, self._kpi_changes(), strict=True)
            ],
            "metric_covariance": self.metric_covariance,
        }


def _plain(value: Any) -> Any:
    """A dataclass, and what it holds, as JSON has it."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _lack_of_fit(fit: LineFit) -> dict[str, Any]:
    return {
        "pearson_chi2": fit.pearson_chi2,
        "clustered_chi2": fit.clustered_chi2,
        "df": fit.lack_of_fit_df,
        "p_value": fit.lack_of_fit_p,
    }

"""The result of every declared hypothesis: its slope, its verdict and the sensitivity analyses."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import polars as pl

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.glm.prediction_band import band_of, conservative_covariance
from pipeline.inference.glm.wald import equivalence
from pipeline.inference.hypotheses.inputs import (
    RESPONSE,
    RegressionInputs,
    before_of,
    daily_kpi,
    family_of,
    group_cells,
    group_sums,
    metric_covariance,
    metric_values,
    relative_change,
    segments_of,
)
from pipeline.inference.hypotheses.verdict import fitted_mde, required_trials, verdict
from pipeline.inference.sensitivity.cuped import cuped
from pipeline.inference.sensitivity.day_effects import DailyOutcome, day_effects
from pipeline.inference.sensitivity.errors_in_variables import (
    measurement_error,
    relative_change_se,
)
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.inference.sensitivity.robustness import curvature, leave_one_out, permutation_test
from pipeline.inference.sensitivity.sequential import confidence_sequence
from pipeline.inference.sensitivity.user_segments import segments
from pipeline.results.family import Family, Floats
from pipeline.results.hypothesis import Days, Elasticity, GroupPoint, HypothesisResult
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import SlopeTest
from pipeline.study import Hypothesis, RegressionConfig


def estimate_hypotheses(
    evidence: RegressionInputs, section: RegressionConfig, *, seed: int
) -> list[HypothesisResult]:
    """Fit every declared hypothesis to the groups' metrics and KPIs.

    ``seed`` is that of permutations and of metrics drawn from their errors.
    """
    results = [_estimate(one, evidence, section.level, seed) for one in section.hypotheses]
    family = [one.verdict_test.p_value if one.verdict_test else None for one in results]
    return [
        replace(one, holm_p_value=p_value)
        for one, p_value in zip(results, adjust_p_values(family, "holm"), strict=True)
    ]


def _estimate(
    hypothesis: Hypothesis, evidence: RegressionInputs, level: float, seed: int
) -> HypothesisResult:
    response = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, response)
    values = metric_values(cells)
    x, sums = relative_change(values), group_sums(cells, response)
    covariance_GG = metric_covariance(evidence, hypothesis.metric, cells)
    points = _points(cells, x, relative_change_se(values, covariance_GG))
    undefined = HypothesisResult(
        id=hypothesis.id,
        metric=str(hypothesis.metric),
        kpi=hypothesis.kpi,
        direction=hypothesis.direction,
        response=response,
        link=family_of(response),
        n=sum(point.trials for point in points),
        groups=len(points),
        points=points,
    )
    fit = fit_line(x, sums, level=level)
    if isinstance(fit, UndefinedReason):
        return replace(undefined, undefined_reason=fit)
    result = _with_line(undefined, fit, x, sums)
    result = _with_sensitivity(result, hypothesis, evidence, (x, sums, cells), fit)
    if covariance_GG is not None:
        result = replace(
            result,
            measurement_error=measurement_error(values, covariance_GG, sums, fit, seed=seed),
            metric_covariance=tuple(map(tuple, covariance_GG.tolist())),
        )
    outcome = daily_kpi(evidence, cells, response)
    result = _with_days(result, x, outcome, evidence.planned_days, level)
    return _with_verdict(
        replace(result, permutation=permutation_test(x, sums, seed=seed)),
        hypothesis,
        fit,
        healthy=evidence.healthy,
    )


def _with_line(
    result: HypothesisResult, fit: LineFit, x: Floats, sums: GroupSums
) -> HypothesisResult:
    """The result with its line and the paper's test."""
    level, binomial = fit.model.level, result.response.is_binary
    without = leave_one_out(x, sums, level=level)
    slopes = [one.slope if one else None for one in without]
    known = [slope for slope in slopes if slope is not None]
    (aa, ab), (ba, bb) = conservative_covariance(fit).tolist()
    return replace(
        result,
        slope=fit.slope,
        standard_error=fit.model.standard_error,
        interval=fit.model.interval,
        p_value=fit.model.p_value,
        level=level,
        covariance=fit.model.covariance,
        intercept=fit.intercept,
        line_covariance=((aa, ab), (ba, bb)),
        rate_elasticity=fit.slope * (1 - sums.rate if binomial else 1.0),
        cluster_robust=fit.cluster_robust,
        lack_of_fit=fit.lack_of_fit,
        small_sample=random_effects_slope(x, sums, fit),
        curvature=curvature(x, sums, level=level),
        leave_one_out=dict(zip((one.group for one in result.points), slopes, strict=True)),
        leave_one_out_range=(min(known), max(known)) if known else None,
        band=band_of(fit, result.link, _largest_x(result.points)),
        minimum_detectable_slope=fitted_mde(fit),
        required_trials=required_trials(fit, sums.trials.sum()),
    )


def _with_sensitivity(
    result: HypothesisResult,
    hypothesis: Hypothesis,
    evidence: RegressionInputs,
    fitted: tuple[Floats, GroupSums, pl.DataFrame],
    fit: LineFit,
) -> HypothesisResult:
    """The result with the analyses that use other tables, or a declared margin."""
    (x, sums, cells), level, robust = fitted, fit.model.level, fit.cluster_robust
    own = group_sums(group_cells(evidence, hypothesis.metric, hypothesis.kpi), hypothesis.kpi)
    rate = fit_line(x, replace(own, family=Family.POISSON), level=level)
    before = before_of(evidence, cells, result.response)
    positive = hypothesis.direction == "positive"
    return replace(
        result,
        log_rate=None if isinstance(rate, UndefinedReason) else rate.cluster_robust,
        cuped=None if before is None else cuped(x, before, sums.family, robust, level=level),
        segments=segments(x, segments_of(evidence, cells, result.response), robust, level=level),
        equivalence=equivalence(fit.conservative, hypothesis.margin, positive=positive)
        if hypothesis.margin
        else None,
    )


def _with_days(
    result: HypothesisResult,
    x: Floats,
    outcome: DailyOutcome | None,
    planned_days: int | None,
    level: float,
) -> HypothesisResult:
    """The result with day fixed effects and confidence sequence, if days are known."""
    if outcome is None:
        return result
    observed = len(outcome.days)
    planned = planned_days or observed
    return replace(
        result,
        days=Days(observed=observed, planned=planned),
        is_interim=observed < planned,
        day_fixed_effects=day_effects(x, outcome, level=level),
        interim=confidence_sequence(x, outcome, level=level, planned_days=planned),
    )


def _with_verdict(
    result: HypothesisResult, hypothesis: Hypothesis, fit: LineFit, *, healthy: bool
) -> HypothesisResult:
    """The result with the test that decides: before the planned end, the anytime-valid one."""
    test = fit.conservative
    if result.is_interim and result.interim:
        last = result.interim[-1]
        test = SlopeTest(**{field.name: getattr(last, field.name) for field in fields(SlopeTest)})
    return replace(
        result,
        verdict_test=test,
        elasticity=_elasticity(result, fit, test),
        verdict=verdict(hypothesis, test, result.small_sample, healthy=healthy),
    )


def _elasticity(result: HypothesisResult, fit: LineFit, test: SlopeTest) -> Elasticity | None:
    if result.rate_elasticity is None:
        return None
    share = result.rate_elasticity / fit.slope if fit.slope else 1.0
    (low, high), detectable = test.interval, fitted_mde(fit)
    return Elasticity(
        estimate=result.rate_elasticity,
        interval=(share * low, share * high),
        minimum_detectable=share * detectable,
        minimum_detectable_change=math.expm1(detectable * _largest_x(result.points)),
    )


def _largest_x(points: Sequence[GroupPoint]) -> float:
    return max((point.x or 0.0 for point in points), default=0.0)


def _points(cells: pl.DataFrame, x: Floats, errors: Floats) -> tuple[GroupPoint, ...]:
    rates = [rate for rate in cells["rate"] if rate is not None]
    lowest = min(rates, default=None)
    return tuple(
        GroupPoint(
            group=row["group"],
            metric_value=row["value"],
            x=None if np.isnan(change) else float(change),
            x_standard_error=None if np.isnan(error) else float(error),
            trials=row["trials"],
            successes=row["successes"],
            rate=row["rate"],
            standard_error=row["standard_error"],
            kpi_change=row["rate"] / lowest - 1 if row["rate"] is not None and lowest else None,
        )
        for row, change, error in zip(cells.iter_rows(named=True), x, errors, strict=True)
    )

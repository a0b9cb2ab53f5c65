"""The result of every declared hypothesis: its slope, its verdict and the sensitivity analyses."""

import math
from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.headline.interval import too_few_events
from pipeline.inference.headline.margins import equivalence
from pipeline.inference.headline.prediction_band import band_of
from pipeline.inference.headline.readings import Groups, Quoted, read_headline
from pipeline.inference.headline.user_segments import segments
from pipeline.inference.headline.working_response import effective_users
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
    segments_of,
)
from pipeline.inference.hypotheses.metric_change import MetricChange, metric_change
from pipeline.inference.hypotheses.partial import with_partial_slopes
from pipeline.inference.hypotheses.verdict import (
    detectable_slope,
    elasticity,
    required_trials,
    verdict,
)
from pipeline.inference.sensitivity.adaptive_end import progress
from pipeline.inference.sensitivity.cuped import cuped
from pipeline.inference.sensitivity.day_effects import day_effects
from pipeline.inference.sensitivity.errors_in_variables import measurement_error
from pipeline.inference.sensitivity.random_effects import random_effects_slope, why_undefined
from pipeline.inference.sensitivity.robustness import curvature, leave_one_out, permutation_test
from pipeline.inference.sensitivity.sequential import confidence_sequence
from pipeline.results.family import Family, Floats
from pipeline.results.headline import Headline
from pipeline.results.hypothesis import Days, GroupPoint, HypothesisResult
from pipeline.results.reasons import UndefinedReason
from pipeline.study import Hypothesis, RegressionConfig, XReference


def estimate_hypotheses(
    evidence: RegressionInputs, section: RegressionConfig, *, seed: int
) -> list[HypothesisResult]:
    """Fit every hypothesis of the section to the groups' metrics and KPIs.

    ``seed`` is that of permutations and of metrics drawn from their errors.
    """
    results = [_estimate(one, evidence, section, seed) for one in section.hypotheses]
    results = with_partial_slopes(results, evidence, section)
    family = [one.headline.p_value if one.headline else None for one in results]
    return [
        replace(one, holm_p_value=p_value)
        for one, p_value in zip(results, adjust_p_values(family, "holm"), strict=True)
    ]


def _estimate(
    hypothesis: Hypothesis, evidence: RegressionInputs, section: RegressionConfig, seed: int
) -> HypothesisResult:
    response, level = RESPONSE[hypothesis.kpi], section.level
    cells = group_cells(evidence, hypothesis.metric, response)
    if hypothesis.needs_orders and (cells.is_empty() or cells["value"].is_null().all()):
        return _without_orders(hypothesis, section)
    values = metric_values(cells)
    covariance_GG = metric_covariance(evidence, hypothesis.metric, cells)
    change = metric_change(values, covariance_GG, section, cells["group"].to_list())
    x, sums = change.x_G, group_sums(cells, response)
    groups = Groups(
        x=x,
        covariance_GG=change.covariance_GG,
        sums=sums,
        outcome=daily_kpi(evidence, cells, response),
        planned_days=evidence.planned_days,
    )
    quoted = read_headline(groups, level=level)
    points = _points(cells, change)
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
        x_reference=section.x_reference.value,
        headline=quoted.headline,
    )
    fit = fit_line(x, sums, level=level)
    if isinstance(fit, UndefinedReason):
        return replace(undefined, undefined_reason=fit)
    if response in evidence.users_unknown and not response.is_binary:
        return _point_estimate(undefined, quoted.headline, fit)
    if too_few := too_few_events(sums):
        return replace(undefined, undefined_reason=too_few)
    result = _with_line(undefined, fit, x, sums)
    result = _with_sensitivity(result, evidence, groups, fit)
    if covariance_GG is not None:
        result = replace(
            result,
            measurement_error=measurement_error(values, covariance_GG, sums, fit, seed=seed)
            if section.x_reference is XReference.WORST
            else None,
            metric_covariance=tuple(map(tuple, covariance_GG.tolist())),
        )
    result = replace(
        _with_days(result, groups, level), permutation=permutation_test(x, sums, seed=seed)
    )
    return _with_verdict(result, hypothesis, groups, quoted, healthy=evidence.healthy)


def _without_orders(hypothesis: Hypothesis, section: RegressionConfig) -> HypothesisResult:
    """The result of a hypothesis whose metric or KPI counts orders, where there are none."""
    response = RESPONSE[hypothesis.kpi]
    return HypothesisResult(
        id=hypothesis.id,
        metric=str(hypothesis.metric),
        kpi=hypothesis.kpi,
        direction=hypothesis.direction,
        response=response,
        link=family_of(response),
        n=0,
        groups=0,
        points=(),
        x_reference=section.x_reference.value,
        undefined_reason=UndefinedReason.NO_ORDERS,
    )


def _point_estimate(
    undefined: HypothesisResult, quoted: Headline, fit: LineFit
) -> HypothesisResult:
    """The result of an amount without sums over users: a slope whose interval is not known."""
    reason = UndefinedReason.USER_SUMS_UNKNOWN
    corrected = quoted.slope if quoted.reliability is not None else None
    return replace(
        undefined,
        slope=fit.slope,
        intercept=fit.intercept,
        undefined_reason=reason,
        headline=Headline(
            level=quoted.level,
            slope=fit.slope if corrected is None else corrected,
            reliability=quoted.reliability,
            undefined_reason=reason,
        ),
    )


def _with_line(
    result: HypothesisResult, fit: LineFit, x: Floats, sums: GroupSums
) -> HypothesisResult:
    """The result with its line and the paper's test."""
    level, binomial = fit.model.level, result.response.is_binary
    _, slope_G = leave_one_out(x, sums)
    slopes = [slope if math.isfinite(slope) else None for slope in slope_G.tolist()]
    known = [slope for slope in slopes if slope is not None]
    small = random_effects_slope(x, sums, fit)
    return replace(
        result,
        slope=fit.slope,
        standard_error=fit.model.standard_error,
        interval=fit.model.interval,
        p_value=fit.model.p_value,
        level=level,
        covariance=fit.model.covariance,
        intercept=fit.intercept,
        rate_elasticity=fit.slope * (1 - sums.rate if binomial else 1.0),
        cluster_robust=fit.cluster_robust,
        effective_users=float(effective_users(sums)),
        lack_of_fit=fit.lack_of_fit,
        small_sample=small,
        small_sample_undefined_reason=None if small else why_undefined(x, sums),
        curvature=curvature(x, sums, level=level),
        leave_one_out=dict(zip((one.group for one in result.points), slopes, strict=True)),
        leave_one_out_range=(min(known), max(known)) if known else None,
    )


def _with_sensitivity(
    result: HypothesisResult, evidence: RegressionInputs, groups: Groups, fit: LineFit
) -> HypothesisResult:
    """The result with the analyses that use other tables."""
    x, level, robust = groups.x, fit.model.level, fit.cluster_robust
    cells = group_cells(evidence, result.metric, result.response)
    own = group_sums(group_cells(evidence, result.metric, result.kpi), result.kpi)
    rate = fit_line(x, replace(own, family=Family.POISSON), level=level)
    before = before_of(evidence, cells, result.response)
    whole = result.headline or Headline(level=level)
    return replace(
        result,
        log_rate=None if isinstance(rate, UndefinedReason) else rate.cluster_robust,
        cuped=None if before is None else cuped(x, before, result.link, robust, level=level),
        segments=segments(
            groups, segments_of(evidence, cells, result.response), whole, level=level
        ),
    )


def _with_days(result: HypothesisResult, groups: Groups, level: float) -> HypothesisResult:
    """The result with day fixed effects and confidence sequence, if days are known."""
    if groups.outcome is None:
        return result
    observed = len(groups.outcome.days)
    planned = groups.planned_days or observed
    return replace(
        result,
        days=Days(observed=observed, planned=planned, progress=progress(groups, level=level)),
        is_interim=observed < planned,
        day_fixed_effects=day_effects(groups.x, groups.outcome, level=level),
        interim=confidence_sequence(groups.x, groups.outcome, level=level, planned_days=planned),
    )


def _with_verdict(
    result: HypothesisResult,
    hypothesis: Hypothesis,
    groups: Groups,
    quoted: Quoted,
    *,
    healthy: bool,
) -> HypothesisResult:
    """The result with what follows from the headline."""
    found, level = quoted.headline, result.level or quoted.headline.level
    positive = hypothesis.direction == "positive"
    return replace(
        result,
        verdict=verdict(hypothesis, found, level=level, healthy=healthy),
        undefined_reason=None if found.p_value is not None else found.undefined_reason,
        elasticity=elasticity(result, found),
        band=band_of(found, result.link, *result.range),
        minimum_detectable_slope=detectable_slope(found, result.groups),
        required_trials=required_trials(found, result.groups, float(quoted.sums.trials.sum())),
        equivalence=equivalence(groups, quoted, margin=hypothesis.margin, positive=positive)
        if hypothesis.margin
        else None,
    )


def _points(cells: pl.DataFrame, change: MetricChange) -> tuple[GroupPoint, ...]:
    rates = [rate for rate in cells["rate"] if rate is not None]
    lowest, x_G = min(rates, default=None), change.x_G
    errors_G = np.full_like(x_G, np.nan)
    if change.covariance_GG is not None:
        errors_G = np.sqrt(np.maximum(change.covariance_GG.diagonal(), 0))
    return tuple(
        GroupPoint(
            group=row["group"],
            metric_value=row["value"],
            x=None if np.isnan(x) else float(x),
            x_standard_error=None if np.isnan(error) else float(error),
            trials=row["trials"],
            successes=row["successes"],
            rate=row["rate"],
            standard_error=row["standard_error"],
            kpi_change=row["rate"] / lowest - 1 if row["rate"] is not None and lowest else None,
        )
        for row, x, error in zip(cells.iter_rows(named=True), x_G, errors_G, strict=True)
    )

"""The study's hypotheses: each an offline metric, a KPI, and the slope between them."""

from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.inference.glm.group_regression import fit_line
from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.glm.wald import equivalence
from pipeline.inference.hypotheses.inputs import (
    RESPONSE,
    RegressionInputs,
    before_of,
    daily_kpi,
    group_cells,
    group_sums,
    metric_covariance,
    metric_values,
    relative_change,
    segments_of,
)
from pipeline.inference.hypotheses.results import GroupPoint, RegressionEstimate
from pipeline.inference.hypotheses.verdict import fitted_mde, required_trials, verdict
from pipeline.inference.sensitivity.cuped import cuped
from pipeline.inference.sensitivity.day_effects import DailyOutcome, day_effects
from pipeline.inference.sensitivity.errors_in_variables import (
    errors_in_variables,
    relative_change_se,
)
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.inference.sensitivity.robustness import curvature, leave_one_out, permutation_test
from pipeline.inference.sensitivity.sequential import confidence_sequence
from pipeline.inference.sensitivity.user_segments import segments
from pipeline.results.family import Family, Floats
from pipeline.study import Hypothesis, RegressionConfig


def estimate_hypotheses(
    evidence: RegressionInputs, section: RegressionConfig, *, seed: int
) -> list[RegressionEstimate]:
    """Fit every declared hypothesis on the groups' metrics and KPIs; ``seed`` draws metrics anew."""
    estimates = [
        _estimate(hypothesis, evidence, section.level, seed) for hypothesis in section.hypotheses
    ]
    family = [one.deciding.p_value if one.deciding else None for one in estimates]
    return [
        replace(one, holm_p_value=p_value)
        for one, p_value in zip(estimates, adjust_p_values(family, "holm"), strict=True)
    ]


def _estimate(
    hypothesis: Hypothesis, evidence: RegressionInputs, level: float, seed: int
) -> RegressionEstimate:
    response = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, response)
    values = metric_values(cells)
    x, sums = relative_change(values), group_sums(cells, response)
    fit = fit_line(x, sums, level=level)
    covariance_GG = metric_covariance(evidence, hypothesis.metric, cells)
    errors = relative_change_se(values, covariance_GG)
    unanswered = RegressionEstimate(
        hypothesis=hypothesis, response=response, points=tuple(_points(cells, x, errors))
    )
    if isinstance(fit, str):
        return replace(unanswered, undefined_because=fit)
    few = random_effects_slope(x, sums, fit)
    own = group_sums(group_cells(evidence, hypothesis.metric, hypothesis.kpi), hypothesis.kpi)
    rate = fit_line(x, replace(own, family=Family.POISSON), level=level)
    answer = replace(
        _by_day(unanswered, x, daily_kpi(evidence, cells, response), evidence.planned_days, level),
        fit=fit,
        rate_elasticity=fit.slope * (1 - sums.rate if response.is_binary else 1.0),
        log_rate=None if isinstance(rate, str) else rate.clustered,
        few_groups=few,
        permutation=permutation_test(x, sums, seed=seed),
        curvature=curvature(x, sums, level=level),
        leave_one_out=tuple(
            one.slope if one else None for one in leave_one_out(x, sums, level=level)
        ),
        error_in_x=None
        if covariance_GG is None
        else errors_in_variables(values, covariance_GG, sums, fit, seed=seed),
        metric_covariance=None if covariance_GG is None else covariance_GG.tolist(),
        cuped=None
        if (before := before_of(evidence, cells, response)) is None
        else cuped(x, before, sums.family, fit.clustered, level=level),
        segments=segments(x, segments_of(evidence, cells, response), fit.clustered, level=level),
        equivalence=equivalence(
            fit.conservative, hypothesis.margin, positive=hypothesis.direction == "positive"
        )
        if hypothesis.margin
        else None,
        detectable_slope=fitted_mde(fit),
        trials_to_settle=required_trials(fit, sums.trials.sum()),
    )
    deciding = answer.deciding or fit.conservative
    judged = verdict(hypothesis, deciding, few, healthy=evidence.healthy)
    return replace(answer, verdict=judged)


def _by_day(
    answer: RegressionEstimate,
    x: Floats,
    outcome: DailyOutcome | None,
    planned_days: int | None,
    level: float,
) -> RegressionEstimate:
    """The answer with what the days say."""
    if outcome is None:
        return answer
    planned = planned_days or len(outcome.days)
    return replace(
        answer,
        days=len(outcome.days),
        planned_days=planned,
        day_effects=day_effects(x, outcome, level=level),
        looks=confidence_sequence(x, outcome, level=level, planned_days=planned),
    )


def _points(cells: pl.DataFrame, x: Floats, errors: Floats) -> list[GroupPoint]:
    return [
        GroupPoint(
            group=row["group"],
            metric_value=row["value"],
            x=None if np.isnan(change) else float(change),
            x_standard_error=None if np.isnan(error) else float(error),
            trials=row["trials"],
            successes=row["successes"],
            rate=row["rate"],
            standard_error=row["standard_error"],
        )
        for row, change, error in zip(cells.iter_rows(named=True), x, errors, strict=True)
    ]

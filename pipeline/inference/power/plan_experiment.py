"""The plan of a study's experiment, and its power."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.experiment.design.make_plan import (
    Design,
    MeasuredFront,
    make_plan,
    metric_values,
)
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.inference.hypotheses.inputs import RESPONSE, relative_change
from pipeline.inference.power.power import PowerQuery, PowerSearch, expected_sums, power
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.family import Floats
from pipeline.results.power import PlannedHypothesis, PlanPower, PowerAnalysis
from pipeline.results.reasons import UndefinedReason
from pipeline.study import Hypothesis, Study

POWER = "power.json"
"""Stored with the traffic plan."""

_POINTS = 12
_CURVE = 10
"""Longest power curve, in multiples of the planned days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExperiment:
    """A traffic plan and its power."""

    plan: TrafficPlan
    analysis: PowerAnalysis


def plan_with_power(
    study: Study, front: MeasuredFront, traffic: Traffic, *, model: str | None = None
) -> PlannedExperiment:
    """Choose the groups, and compute their power.

    Args:
        study: Its hypotheses, and their assumed slopes.
        front: The measured front.
        traffic: Of the whole shop; the experiment gets its traffic share.
        model: Fingerprint of the measured checkpoint.
    """
    section = study.experiment
    covered = traffic.part(section.traffic_share * (1 - section.holdout))
    information = partial(_information, study, covered)
    plan, design = make_plan(front, study, model=model, information=information)
    setting = _Setting(study=study, front=front, plan=plan, design=design, traffic=covered)
    return PlannedExperiment(
        plan=plan,
        analysis=PowerAnalysis(
            planned_days=_planned_days(study),
            target_power=section.planning.power,
            level=study.regression.level,
            traffic=covered.statistics,
            design=design,
            hypotheses=tuple(_planned(one, setting) for one in study.regression.hypotheses),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """The inputs of a hypothesis's power."""

    study: Study
    front: MeasuredFront
    plan: TrafficPlan
    design: Design
    traffic: Traffic


def _information(study: Study, traffic: Traffic, hypothesis: Hypothesis, metric: Floats) -> Floats:
    """Information of a group's users on the KPI under each preference: the link's 1 / variance."""
    groups, days = study.experiment.groups, _planned_days(study)
    query = _query(hypothesis, study, metric, metric, np.full(len(metric), 1 / groups))
    sums = expected_sums(query, traffic, days=days, slope=_slope(hypothesis, study))
    if sums.users.min() < 2:
        return np.ones_like(metric)
    return 1 / (link_variance(sums) + query.group_deviation**2)


def _planned(hypothesis: Hypothesis, setting: _Setting) -> PlannedHypothesis:
    study, front, design = setting.study, setting.front, setting.design
    planned = PlannedHypothesis(
        id=hypothesis.id,
        metric=str(hypothesis.metric),
        kpi=hypothesis.kpi,
        response=RESPONSE[hypothesis.kpi],
        direction=hypothesis.direction,
        slope=_slope(hypothesis, study),
    )
    ids = front.points["preference_id"].to_list()
    everywhere = metric_values(front.offline_metrics, planned.metric, ids)
    information = next((one for one in design.hypotheses if one.hypothesis == hypothesis.id), None)
    if information is None:
        positive = not np.isnan(everywhere).any() and everywhere.min() > 0
        constant, missing = UndefinedReason.METRIC_CONSTANT, UndefinedReason.METRIC_NOT_POSITIVE
        return replace(planned, undefined_reason=constant if positive else missing)
    planned = replace(planned, information=information)
    shares = np.array([group.share for group in setting.plan.groups])
    powers: list[PlanPower] = []
    for chosen, efficiency in (
        (design.chosen, information.chosen),
        (design.even, information.even),
    ):
        if not efficiency.reliability or efficiency.reliability <= 0:
            return replace(planned, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
        values = metric_values(front.offline_metrics, planned.metric, chosen)
        values = np.tile(values, study.experiment.replicates)
        query = _query(hypothesis, study, everywhere, values, shares)
        query = replace(query, reliability=min(efficiency.reliability, 1.0))
        # x is relative to the worst group, so the same truth has another slope for other groups
        unit = float(values.min() / everywhere.min())
        powers.append(_plan_power(query, setting, slope=planned.slope, unit=unit))
    return replace(planned, chosen=powers[0], even=powers[1])


def _query(
    hypothesis: Hypothesis, study: Study, everywhere: Floats, values: Floats, shares: Floats
) -> PowerQuery:
    """A hypothesis on groups with these metrics; the KPI has its rate in the middle of the front."""
    return PowerQuery(
        kpi=RESPONSE[hypothesis.kpi],
        x=relative_change(values),
        shares=shares,
        sign=1 if hypothesis.direction == "positive" else -1,
        level=study.regression.level,
        middle=float(everywhere.mean() / values.min() - 1),
        group_deviation=study.experiment.planning.group_deviation,
        seed=study.study.seed,
    )


def _slope(hypothesis: Hypothesis, study: Study) -> float:
    planning = study.experiment.planning
    return planning.slopes.get(hypothesis.id, planning.slope)


def _planned_days(study: Study) -> int:
    return study.experiment.planned_days or study.experiment.days


def _plan_power(query: PowerQuery, setting: _Setting, *, slope: float, unit: float) -> PlanPower:
    """The power of some groups; slopes refer to a change from the front's worst preference."""
    traffic, planned = setting.traffic, _planned_days(setting.study)
    target = setting.study.experiment.planning.power
    search = PowerSearch(query=query, traffic=traffic)
    days = search.required_days(target, slope * unit)
    smallest = search.minimum_detectable_slope(target, planned)
    end = min(_CURVE * planned, max(2 * planned, days or 0))
    curve = [round(day) for day in np.unique(np.linspace(1, end, _POINTS).round())]
    return PlanPower(
        power=power(query, traffic, days=planned, slope=slope * unit),
        days_to_confirmed=days,
        impressions_to_confirmed=days and round(traffic.impressions(days)),
        minimum_detectable_slope=smallest and smallest / unit,
        days=tuple(curve),
        power_confirmed=search.curve(curve, slope * unit),
    )

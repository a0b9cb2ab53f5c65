"""The plan of a study's experiment, and its power."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from models.progress import track
from pipeline.experiment.design.make_plan import make_plan
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.inference.hypotheses.inputs import RESPONSE
from pipeline.inference.power.adaptive_plan import adaptive_end
from pipeline.inference.power.expected_cost import expected_cost
from pipeline.inference.power.offers import plan_offers
from pipeline.inference.power.planned_query import (
    PlannedSetting,
    assumed_slope,
    hypothesis_query,
    planned_days,
)
from pipeline.inference.power.power import PowerQuery, PowerSearch, expected_sums, power
from pipeline.inference.power.separation import separation
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.family import Floats
from pipeline.results.power import PlannedHypothesis, PlanPower, PowerAnalysis
from pipeline.results.reasons import UndefinedReason
from pipeline.study import Hypothesis, Study

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
    setting = PlannedSetting(study=study, front=front, plan=plan, design=design, traffic=covered)
    n = len(study.regression.hypotheses)
    planned = (_planned(one, setting) for one in study.regression.hypotheses)
    hypotheses = tuple(track(planned, n, "power by simulation", unit="hypotheses"))
    return PlannedExperiment(
        plan=plan,
        analysis=PowerAnalysis(
            planned_days=setting.days,
            target_power=section.planning.power,
            level=study.regression.level,
            traffic=covered.statistics,
            design=design,
            hypotheses=hypotheses,
            cost=expected_cost(setting),
            offers=plan_offers(setting, hypotheses),
        ),
    )


def _information(study: Study, traffic: Traffic, hypothesis: Hypothesis, metric: Floats) -> Floats:
    """Information of a group's users on the KPI under each preference: the link's 1 / variance."""
    equal = np.full(len(metric), 1 / study.experiment.groups)
    query = hypothesis_query(hypothesis, study, (metric, equal), middle=float(metric.mean()))
    slope = assumed_slope(hypothesis, study)
    sums = expected_sums(query, traffic, days=planned_days(study), slope=slope)
    if sums.users.min() < 2:
        return np.ones_like(metric)
    return 1 / (link_variance(sums) + query.group_deviation**2)


def _planned(hypothesis: Hypothesis, setting: PlannedSetting) -> PlannedHypothesis:
    front, design = setting.front, setting.design
    slope = assumed_slope(hypothesis, setting.study)
    planned = PlannedHypothesis(
        id=hypothesis.id,
        metric=str(hypothesis.metric),
        kpi=hypothesis.kpi,
        response=RESPONSE[hypothesis.kpi],
        direction=hypothesis.direction,
        slope=slope,
    )
    if hypothesis.needs_orders and not front.has_orders:
        return replace(planned, undefined_reason=UndefinedReason.NO_ORDERS)
    information = next((one for one in design.hypotheses if one.hypothesis == hypothesis.id), None)
    if information is None:
        everywhere = setting.everywhere(hypothesis)
        positive = not np.isnan(everywhere).any() and everywhere.min() > 0
        constant, missing = UndefinedReason.METRIC_CONSTANT, UndefinedReason.METRIC_NOT_POSITIVE
        return replace(planned, undefined_reason=constant if positive else missing)
    planned = replace(planned, information=information)
    queries: list[PowerQuery] = []
    powers: list[PlanPower] = []
    for chosen, efficiency in (
        (design.chosen, information.chosen),
        (design.even, information.even),
    ):
        if not efficiency.reliability or efficiency.reliability <= 0:
            return replace(planned, undefined_reason=UndefinedReason.METRIC_WITHIN_NOISE)
        query = setting.query(
            hypothesis,
            chosen,
            shares=setting.shares,
            reliability=min(efficiency.reliability, 1.0),
        )
        queries.append(query)
        unit = setting.unit(hypothesis, chosen)
        powers.append(_plan_power(query, setting, slope=slope, unit=unit))
    at_plan = setting.slope(hypothesis, design.chosen)
    end = adaptive_end(queries[0], setting.traffic, planned=setting.days, slope=at_plan)
    planned = replace(planned, chosen=powers[0], even=powers[1], adaptive=end)
    return _with_rivals(planned, hypothesis, setting)


def _with_rivals(
    planned: PlannedHypothesis, hypothesis: Hypothesis, setting: PlannedSetting
) -> PlannedHypothesis:
    """The hypothesis with its separation from its rivals, with the plan and on the front alone."""
    information, design = planned.information, setting.design
    if information is None or information.partial is None:
        return planned
    planned = replace(
        planned, apart=separation(hypothesis, setting, design.chosen, information.partial)
    )
    if information.partial_one_front is None:
        return planned
    one_front = separation(hypothesis, setting, design.one_front, information.partial_one_front)
    return replace(planned, apart_one_front=one_front)


def _plan_power(
    query: PowerQuery, setting: PlannedSetting, *, slope: float, unit: float
) -> PlanPower:
    """The power of some groups; slopes refer to a change from the front's worst preference."""
    traffic, planned = setting.traffic, setting.days
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

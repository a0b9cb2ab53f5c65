"""The experiment of a study before it begins: its plan, and what it will have the power to show."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.experiment.design.external_variants import load_plan
from pipeline.experiment.design.make_plan import (
    Design,
    HypothesisInformation,
    MeasuredFront,
    make_plan,
    metric_values,
)
from pipeline.experiment.design.plan_checks import check_not_running
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.inference.hypotheses.inputs import RESPONSE, relative_change
from pipeline.inference.power.power import (
    Power,
    PowerQuery,
    expected_sums,
    minimum_detectable_slope,
    power,
    required_days,
)
from pipeline.inference.power.traffic_model import Traffic, traffic_of
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.family import Floats
from pipeline.study import Hypothesis, LogSource, Study

POWER = "power.json"
"""Beside the traffic plan."""

_POINTS = 40
_CURVE = 10
"""A curve goes no further than so many times the planned days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPower:
    """How far one set of preferences gets with a hypothesis.

    Attributes:
        power: At the planned end.
        days_to_show: Until the clustered interval excludes 0 with the wanted chance; None if it
            takes more than ten years.
        days_to_confirm: The same of both intervals.
        impressions_to_show: In those days.
        impressions_to_confirm: In those days.
        detectable_shown: The flattest slope that is shown with the wanted chance at the planned
            end, for a change of the metric against the front's worst preference; None if none is.
        detectable_confirmed: The same of both intervals.
        days: Of the curve.
        chance_shown: The power after so many days.
        chance_confirmed: The same of both intervals; None with two groups.
    """

    power: Power
    days_to_show: int | None
    days_to_confirm: int | None
    impressions_to_show: int | None
    impressions_to_confirm: int | None
    detectable_shown: float | None
    detectable_confirmed: float | None
    days: tuple[int, ...]
    chance_shown: tuple[float, ...]
    chance_confirmed: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHypothesis:
    """What the experiment promises for a hypothesis.

    Attributes:
        id: Of the hypothesis.
        metric: Its metric.
        kpi: Its KPI.
        response: The KPI that will be fitted.
        direction: Of the slope.
        slope: How steep it is taken to be, for a change against the front's worst preference.
        undefined_because: Why nothing can be foretold; None where it can.
        informed: How much the preferences tell of it.
        chosen: With the plan's groups.
        even: With as many evenly spaced preferences, if the truth is the same.
    """

    id: str
    metric: str
    kpi: str
    response: str
    direction: str
    slope: float
    undefined_because: str | None = None
    informed: HypothesisInformation | None = None
    chosen: PlanPower | None = None
    even: PlanPower | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExperiment:
    """A traffic plan, and what it promises.

    Attributes:
        plan: The plan.
        design: Why these preferences.
        traffic: What the users of the experiment are taken to do.
        planned_days: How long it is to run.
        wanted: The chance slopes are to be found with.
        level: Of the intervals.
        hypotheses: What it promises for each.
    """

    plan: TrafficPlan
    design: Design
    traffic: Traffic
    planned_days: int
    wanted: float
    level: float
    hypotheses: tuple[PlannedHypothesis, ...]

    def as_dict(self) -> dict[str, Any]:
        """What is promised, as ``power.json`` has it; the plan has a file of its own."""
        promised = {
            "planned_days": self.planned_days,
            "wanted_power": self.wanted,
            "level": self.level,
            "traffic": asdict(self.traffic),
            "design": self.design.as_dict(),
            "hypotheses": [asdict(one) for one in self.hypotheses],
        }
        return json.loads(json.dumps(promised, allow_nan=False))


def plan_experiment(study: Study, paths: StudyPaths) -> PlannedExperiment:
    """Plan the experiment of a study on what its model was found to do.

    Raises:
        MissingArtifact: if the front, the metrics or the model are not there yet.
        LogError: if an experiment with a brought log is under way that the plan would change.
    """
    front = MeasuredFront(
        read_table(paths.require("pareto_front", "pareto_front.parquet")),
        read_table(paths.require("offline_metrics", "offline_metrics.parquet")),
        read_table(paths.require("offline_metrics", "offline_metric_covariance.parquet")),
    )
    model = checkpoint_fingerprint(paths.require("conditioned_model"))
    traffic = traffic_of(study.experiment.planning, paths)
    planned = plan_with_power(study, front, traffic, model=model)
    if study.experiment.source is LogSource.FILES and paths.artifact("traffic_plan").exists():
        running = load_plan(paths)
        if isinstance(running, TrafficPlan):
            check_not_running(running, planned.plan)
    return planned


def plan_with_power(
    study: Study, front: MeasuredFront, traffic: Traffic, *, model: str | None = None
) -> PlannedExperiment:
    """Choose the groups, and say what they have the power to show.

    Args:
        study: Its hypotheses, and the slopes they are taken to have.
        front: What was measured.
        traffic: Of the whole shop; the experiment has what it covers.
        model: Fingerprint of the checkpoint that was measured.
    """
    section = study.experiment
    covered = traffic.part(section.traffic_share * (1 - section.holdout))
    plan, design = make_plan(front, study, model=model, information=partial(_told, study, covered))
    bare = PlannedExperiment(
        plan=plan,
        design=design,
        traffic=covered,
        planned_days=_planned_days(study),
        wanted=section.planning.power,
        level=study.regression.level,
        hypotheses=(),
    )
    found = [_promise(one, study, front, bare) for one in study.regression.hypotheses]
    return replace(bare, hypotheses=tuple(found))


def _told(study: Study, traffic: Traffic, hypothesis: Hypothesis, metric: Floats) -> Floats:
    """What a group's users would tell of the KPI under each preference: the link's 1 / variance."""
    groups, days = study.experiment.groups, _planned_days(study)
    question = _question(hypothesis, study, metric, metric, np.full(len(metric), 1 / groups))
    slope = _slope(hypothesis, study)
    sums = expected_sums(question, traffic, days=days, slope=slope)
    if sums.users.min() < 2:
        return np.ones_like(metric)
    return 1 / (link_variance(sums) + question.group_deviation**2)


def _promise(
    hypothesis: Hypothesis, study: Study, front: MeasuredFront, experiment: PlannedExperiment
) -> PlannedHypothesis:
    design = experiment.design
    answer = PlannedHypothesis(
        id=hypothesis.id,
        metric=str(hypothesis.metric),
        kpi=hypothesis.kpi.value,
        response=RESPONSE[hypothesis.kpi].value,
        direction=hypothesis.direction,
        slope=_slope(hypothesis, study),
    )
    informed = next((one for one in design.hypotheses if one.hypothesis == hypothesis.id), None)
    if informed is None:
        return replace(answer, undefined_because=design.left_out[hypothesis.id])
    shares = np.array([group.share for group in experiment.plan.groups])
    ids = front.points["preference_id"].to_list()
    everywhere = metric_values(front.offline_metrics, answer.metric, ids)
    reaches: list[PlanPower] = []
    for chosen, told in ((design.chosen, informed.chosen), (design.even, informed.even)):
        if not told.reliability or told.reliability <= 0:
            words = "the metric varies between the groups by no more than its error"
            return replace(answer, informed=informed, undefined_because=words)
        values = metric_values(front.offline_metrics, answer.metric, chosen)
        values = np.tile(values, study.experiment.replicates)
        question = _question(hypothesis, study, everywhere, values, shares)
        question = replace(question, reliability=min(told.reliability, 1.0))
        # x is relative to the worst group, so the same truth has another slope for other groups
        unit = float(values.min() / everywhere.min())
        reaches.append(_reach(question, experiment, slope=answer.slope, unit=unit))
    return replace(answer, informed=informed, chosen=reaches[0], even=reaches[1])


def _question(
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
    )


def _slope(hypothesis: Hypothesis, study: Study) -> float:
    planning = study.experiment.planning
    return planning.slopes.get(hypothesis.id, planning.slope)


def _planned_days(study: Study) -> int:
    return study.experiment.planned_days or study.experiment.days


def _reach(
    question: PowerQuery, experiment: PlannedExperiment, *, slope: float, unit: float
) -> PlanPower:
    """How far some groups get; slopes are told for a change against the front's worst preference."""
    traffic, planned = experiment.traffic, experiment.planned_days
    days = [
        required_days(experiment.wanted, question, traffic, slope=slope * unit, chance=chance)
        for chance in (_shown, _confirmed)
    ]
    flattest = [
        minimum_detectable_slope(experiment.wanted, question, traffic, days=planned, chance=chance)
        for chance in (_shown, _confirmed)
    ]
    end = min(_CURVE * planned, max([2 * planned, *(day for day in days if day)]))
    curve = [round(day) for day in np.unique(np.linspace(1, end, _POINTS).round())]
    powers = [power(question, traffic, days=day, slope=slope * unit) for day in curve]
    return PlanPower(
        power=power(question, traffic, days=planned, slope=slope * unit),
        days_to_show=days[0],
        days_to_confirm=days[1],
        impressions_to_show=days[0] and round(traffic.impressions(days[0])),
        impressions_to_confirm=days[1] and round(traffic.impressions(days[1])),
        detectable_shown=flattest[0] and flattest[0] / unit,
        detectable_confirmed=flattest[1] and flattest[1] / unit,
        days=tuple(curve),
        chance_shown=tuple(one.shown for one in powers),
        chance_confirmed=tuple(one.confirmed for one in powers),
    )


def _shown(found: Power) -> float | None:
    return found.shown


def _confirmed(found: Power) -> float | None:
    return found.confirmed

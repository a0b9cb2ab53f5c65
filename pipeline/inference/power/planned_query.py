"""A hypothesis of a planned experiment, as the question that its power answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.experiment.design.make_plan import Design
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.inference.hypotheses.inputs import RESPONSE, relative_change
from pipeline.inference.power.power import PowerQuery
from pipeline.inference.power.traffic_model import Traffic
from pipeline.results.family import Floats
from pipeline.study import Hypothesis, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSetting:
    """The inputs of a hypothesis's power."""

    study: Study
    front: MeasuredFront
    plan: TrafficPlan
    design: Design
    traffic: Traffic

    @property
    def days(self) -> int:
        """Planned duration."""
        return planned_days(self.study)

    @property
    def shares(self) -> Floats:
        """Of the users, one per group."""
        return np.array([group.share for group in self.plan.groups])

    def shares_of(self, candidates: Sequence[str]) -> Floats:
        """The shares of the plan's groups; equal ones if the candidates do not fill as many groups."""
        if len(self.plan.groups) % len(candidates):
            return np.full(len(candidates), 1 / len(candidates))
        return self.shares

    def everywhere(self, hypothesis: Hypothesis) -> Floats:
        """The hypothesis's metric under all candidates."""
        return self.front.values(
            str(hypothesis.metric), self.front.points["preference_id"].to_list()
        )

    def unit(self, hypothesis: Hypothesis, candidates: Sequence[str]) -> float:
        """Slope per relative change from the worst of some candidates, at a slope of 1 from the front's.

        x is relative to the worst group, so that the same truth has another slope for other groups.
        """
        values = self.front.values(str(hypothesis.metric), candidates)
        return float(values.min() / self.everywhere(hypothesis).min())

    def slope(self, hypothesis: Hypothesis, candidates: Sequence[str]) -> float:
        """The assumed slope, for a change from the worst of some candidates."""
        return assumed_slope(hypothesis, self.study) * self.unit(hypothesis, candidates)

    def query(
        self,
        hypothesis: Hypothesis,
        candidates: Sequence[str],
        *,
        shares: Floats,
        reliability: float = 1.0,
    ) -> PowerQuery:
        """The hypothesis on groups with these candidates, repeated for as many groups as shares."""
        values = self.front.values(str(hypothesis.metric), candidates)
        values = np.tile(values, len(shares) // len(values))
        return hypothesis_query(
            hypothesis,
            self.study,
            (values, shares),
            middle=self.middle(hypothesis),
            reliability=reliability,
        )

    def middle(self, hypothesis: Hypothesis) -> float:
        """The metric at which the KPI has the traffic's rate: the incumbent's, or the front's mean."""
        incumbent = self.study.experiment.incumbent
        if incumbent is None:
            return float(self.everywhere(hypothesis).mean())
        return float(self.front.values(str(hypothesis.metric), [incumbent])[0])


def hypothesis_query(
    hypothesis: Hypothesis,
    study: Study,
    groups: tuple[Floats, Floats],
    *,
    middle: float,
    reliability: float = 1.0,
) -> PowerQuery:
    """A hypothesis on groups with these metrics and shares.

    Args:
        hypothesis: As declared.
        study: With its level and its expectations.
        groups: The metric and the share of every group.
        middle: The metric at which the KPI has the traffic's rate.
        reliability: Share of the variance of the metric between the groups that is not error.
    """
    values, shares = groups
    return PowerQuery(
        kpi=RESPONSE[hypothesis.kpi],
        x=relative_change(values),
        shares=shares,
        sign=1 if hypothesis.direction == "positive" else -1,
        level=study.regression.level,
        middle=float(middle / values.min() - 1),
        reliability=reliability,
        group_deviation=study.experiment.planning.group_deviation,
        seed=study.study.seed,
    )


def assumed_slope(hypothesis: Hypothesis, study: Study) -> float:
    """The assumed slope, for a change from the front's worst preference."""
    planning = study.experiment.planning
    return planning.slopes.get(hypothesis.id, planning.slope)


def planned_days(study: Study) -> int:
    """Planned duration; of a held-out replay, the days that one of its size would take."""
    return study.experiment.planned_days or study.experiment.days

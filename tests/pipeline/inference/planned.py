"""Small experiments that are planned: six preferences, and cells of two levels."""

from dataclasses import replace

from pipeline.core.contracts import Kpi
from pipeline.inference.power.plan_experiment import plan_with_power
from pipeline.inference.power.traffic_model import Traffic
from pipeline.study import ExperimentConfig, PlanningConfig
from tests.pipeline.experiment.fronts import front_of, study_of

PLANNING = PlanningConfig(slopes={"H1": 1.5})
SECTION = ExperimentConfig(name="spring", groups=3, days=10, planning=PLANNING)
RECALL = [0.30, 0.36, 0.41, 0.45, 0.48, 0.50]
TRAFFIC = Traffic(
    ctr=0.1,
    cvr=0.1,
    units_per_order=1.0,
    revenue_variation=1.0,
    impressions_per_day=100.0,
    returning_users=0.0,
    new_users_per_day=20.0,
    impressions_variation=0.5,
    correlation=dict.fromkeys((Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION), 0.02),
)
BUSY = {"impressions_per_day": 20_000.0, "new_users_per_day": 2000.0}


def planned_power(*, metrics=("recall", "mrr"), covariance=None, **changes):
    """What the experiment promises; the second metric, unless changed, is 0 somewhere."""
    study = study_of(replace(SECTION, **changes), metrics)
    front = front_of(RECALL, covariance=covariance, mrr=[0.0, 0.1, 0.2, 0.2, 0.1, 0.1])
    return plan_with_power(study, front, TRAFFIC)


def planned_axes(**changes):
    """An experiment with cells of two levels, whose metrics go together on the front alone."""
    study = study_of(replace(SECTION, **changes), ("recall", "mrr"))
    recall = [*RECALL, *(one - 0.01 for one in RECALL)]
    other = [*(1.0 - one for one in RECALL), *(1.4 - one for one in RECALL)]
    front = front_of(recall, mrr=other)
    cells = frozenset(front.points["preference_id"][len(RECALL) :])
    return plan_with_power(study, replace(front, off_front=cells), replace(TRAFFIC, **BUSY))

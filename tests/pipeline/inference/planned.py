"""A small experiment that is planned: six preferences, three groups, two hypotheses."""

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


def planned_power(*, metrics=("recall", "mrr"), covariance=None, **changes):
    """What the experiment promises; the second metric, unless changed, is 0 somewhere."""
    study = study_of(replace(SECTION, **changes), metrics)
    front = front_of(RECALL, covariance=covariance, mrr=[0.0, 0.1, 0.2, 0.2, 0.1, 0.1])
    return plan_with_power(study, front, TRAFFIC)

"""A plan must match the offline metrics, the model and the running experiment."""

from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.design.make_plan import make_plan
from pipeline.experiment.design.plan_checks import (
    check_has_users,
    check_not_running,
    check_same_preferences,
)
from pipeline.experiment.design.traffic_plan import Incumbent
from pipeline.study import ExperimentConfig
from tests.pipeline.experiment.design.test_traffic_plan import plan_of
from tests.pipeline.experiment.fronts import front_of, study_of

RUNNING = plan_of(model="0" * 64, traffic_share=0.1)


def test_metrics_of_another_grid_are_rejected():
    front = front_of([0.1, 0.2, 0.3])
    plan, _ = make_plan(front, study_of(ExperimentConfig(groups=3)))
    other = front.points.with_columns(preference=pl.Series([[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]]))

    check_same_preferences(plan, front.points)
    with pytest.raises(LogError, match="materialise 'traffic_plan'"):
        check_same_preferences(plan, other)
    with pytest.raises(LogError, match="p02 of the offline metrics is None"):
        check_same_preferences(plan, front.points.head(2))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"enabled": False},
        {"traffic_share": 0.5},
        {"forced_assignment": {"ada": "g1"}},
        {"incumbent": Incumbent(preference_id="p1", preference=(1.0, 0.0))},
    ],
    ids=["nothing", "killed", "ramped-up", "forced_assignment", "incumbent"],
)
def test_changes_that_move_no_user_are_accepted(change):
    check_not_running(RUNNING, replace(RUNNING, **change))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "1" * 64}, "different model,"),
        ({"salt": "other"}, "different salt,"),
        ({"holdout": 0.1}, "different holdout,"),
        ({"traffic_salt": "other"}, "different traffic_salt,"),
        ({"list_length": 3}, "different list_length,"),
        ({"groups": plan_of([0, 5000, 10_000]).groups}, "different groups,"),
    ],
)
def test_a_running_experiment_keeps_its_plan(change, named):
    with pytest.raises(LogError, match=f"{named} so .*another experiment.name"):
        check_not_running(RUNNING, replace(RUNNING, **change))
    check_not_running(RUNNING, replace(RUNNING, experiment="next", **change))


def test_the_traffic_share_can_only_be_raised():
    with pytest.raises(LogError, match=r"traffic_share = 0.05 is below the 0.1 .*enabled: false"):
        check_not_running(RUNNING, replace(RUNNING, traffic_share=0.05))


def test_an_experiment_without_users_is_rejected():
    check_has_users(RUNNING, 1)
    with pytest.raises(
        LogError, match=r"no users to simulate: enabled = True, traffic_share = 0.1"
    ):
        check_has_users(RUNNING, 0)
    with pytest.raises(LogError, match="enabled = False"):
        check_has_users(replace(RUNNING, enabled=False), 5)

"""Plans whose candidates are cells: levels of the groups, and the plan on the front alone."""

import json
from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.design.make_plan import make_plan
from pipeline.experiment.design.plan_checks import check_not_running
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.study import AxisKind, ExperimentConfig, SecondAxis
from tests.pipeline.experiment.fronts import front_of, study_of

AXIS = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.0, 0.5))
LENGTH = SecondAxis(kind=AxisKind.LIST_LENGTH, levels=(5.0, 20.0))
RECALL = [0.40, 0.42, 0.44, 0.46, 0.48, 0.50]
DIVERSITY = [0.60, 0.58, 0.56, 0.54, 0.52, 0.50]


def grid_of(axis=AXIS):
    """Six preferences at two levels: the other level costs a tenth of recall for diversity."""
    recall = RECALL + [0.9 * value for value in RECALL]
    diversity = DIVERSITY + [1.3 * value for value in DIVERSITY]
    front = front_of(recall, intra_list_diversity=diversity)
    (other,) = axis.others
    names = {f"p{n:02d}": axis.cell(f"p{n - 6:02d}", other) for n in range(6, 12)}
    front = replace(
        front,
        points=front.points.with_columns(pl.col("preference_id").replace(names)),
        offline_metrics=front.offline_metrics.with_columns(pl.col("preference_id").replace(names)),
    )
    return replace(front, off_front=axis.off_front(front.points["preference_id"]))


def planned(axis=AXIS):
    section = ExperimentConfig(groups=6, second_axis=axis)
    return make_plan(grid_of(axis), study_of(section, ("recall", "intra_list_diversity")))


def test_groups_have_the_level_of_their_cell():
    plan, design = planned()

    assert {group.level for group in plan.groups} == {0.0, 0.5}
    for group in plan.groups:
        assert (group.level == 0.5) == group.preference_id.endswith("+diversity0.5")
        assert plan.level_label(group) == f"diversity {group.level:g}"
    assert [group.preference_id for group in plan.groups] == list(design.chosen)


def test_the_plans_on_one_front_are_at_the_neutral_level():
    _, design = planned()

    assert set(design.one_front) == set(design.even) == {f"p{n:02d}" for n in range(6)}


@pytest.mark.slow
def test_only_the_length_of_lists_depends_on_the_level():
    for axis, expected in ((AXIS, {20}), (LENGTH, {5, 20})):
        plan, _ = planned(axis)
        assert {plan.list_length_at(group.level) for group in plan.groups} == expected
        assert plan.list_length_at(None) == 20


@pytest.mark.parametrize("axis", [AXIS, LENGTH, None], ids=["diversity", "list length", "none"])
def test_the_plan_is_read_back_as_it_was_written(axis):
    section = ExperimentConfig(groups=3)
    plan = planned(axis)[0] if axis else make_plan(front_of(RECALL), study_of(section))[0]

    assert TrafficPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_a_plan_of_before_has_no_levels():
    plan, _ = make_plan(front_of(RECALL), study_of(ExperimentConfig(groups=3)))
    written = plan.as_dict()
    del written["second_axis"]
    for group in written["groups"]:
        del group["level"], group["level_label"]

    assert TrafficPlan.from_dict(written) == plan


def test_a_running_experiment_keeps_its_axis():
    plan, _ = planned()
    other = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.0, 0.5), candidates=50)

    with pytest.raises(LogError, match="is running with a different second_axis"):
        check_not_running(plan, replace(plan, second_axis=other))

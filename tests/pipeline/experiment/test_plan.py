"""The traffic plan: which preferences get traffic, and which buckets are whose."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import LogError
from pipeline.experiment.assignment import N_BUCKETS, bucket_of
from pipeline.experiment.plan import (
    Group,
    TrafficPlan,
    check_not_under_way,
    check_same_preferences,
    make_plan,
    spread,
)
from pipeline.schemas import PARETO_FRONT
from pipeline.study import ExperimentSection


def front(points):
    """A front of (recall, dominated) points, named p00, p01, …"""
    rows = [
        {
            "preference_id": f"p{number:02d}",
            "preference": [number / len(points), 1 - number / len(points)],
            "recall": recall,
            "order_density": 1 - recall,
            "recall_order_density": recall * (1 - recall),
            "dominated": dominated,
        }
        for number, (recall, dominated) in enumerate(points)
    ]
    return pl.DataFrame(rows, schema=PARETO_FRONT.columns)


def preference_ids(plan):
    return [group.preference_id for group in plan.groups]


@pytest.mark.parametrize(
    ("values", "n", "chosen"),
    [
        ([0.0, 0.1, 0.2, 0.9, 1.0], 3, [0, 2, 4]),  # to 0.5, 0.2 is nearer than 0.9
        ([0.0, 0.1, 0.3, 0.9, 1.0], 3, [0, 2, 4]),
        ([0.0, 0.1, 0.2, 0.7, 1.0], 3, [0, 3, 4]),  # now 0.7 is
        ([1.0, 0.7, 0.2, 0.1, 0.0], 3, [0, 1, 4]),  # the order of the values does not matter
        ([0.0, 0.9, 0.95, 1.0], 4, [0, 1, 2, 3]),  # steps 1/3 and 2/3 take what is left
        ([0.0, 0.3, 0.4, 0.7, 1.0], 4, [0, 1, 3, 4]),  # steps 1/3 and 2/3
        ([0.5, 0.5, 0.5], 3, [0, 1, 2]),
    ],
    ids=["low", "low-tie", "high", "reversed", "crowded", "four", "all-equal"],
)
def test_spread_takes_the_value_nearest_to_each_even_step(values, n, chosen):
    assert spread(np.array(values), n) == chosen


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1), min_size=3, max_size=20),
    share=st.floats(0, 1),
)
def test_spread_takes_distinct_values_and_both_ends(values, share):
    n = 3 + int(share * (len(values) - 3))

    chosen = spread(np.array(values), n)

    assert len(set(chosen)) == n
    taken = [values[index] for index in chosen]
    assert min(taken) == min(values)
    assert max(taken) == max(values)


def test_groups_are_ordered_by_recall_and_keep_their_preference():
    points = [(0.50, False), (0.40, False), (0.44, False), (0.45, False)]

    plan = make_plan(front(points), ExperimentSection(groups=3))

    assert preference_ids(plan) == ["p01", "p03", "p00"]  # 0.40, 0.45, 0.50
    assert [group.name for group in plan.groups] == ["g1", "g2", "g3"]
    assert plan.groups[1].preference == (3 / 4, 1 - 3 / 4)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (3, ["p00", "p01", "p04"]),  # to 0.45, p02 would be nearest, but is dominated
        (4, ["p00", "p01", "p03", "p04"]),  # nearest to 0.433 and 0.467
    ],
    ids=["enough-undominated", "too-few-undominated"],
)
def test_dominated_points_are_used_only_when_needed(groups, expected):
    points = [(0.40, False), (0.43, False), (0.45, True), (0.47, True), (0.50, False)]

    assert preference_ids(make_plan(front(points), ExperimentSection(groups=groups))) == expected


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(3, 40))
def test_buckets_are_covered_without_gap_or_overlap(groups):
    points = [(0.4 + 0.001 * number, False) for number in range(groups)]

    plan = make_plan(front(points), ExperimentSection(groups=groups))

    covered = [b for g in plan.groups for b in range(g.first_bucket, g.last_bucket + 1)]
    assert covered == list(range(N_BUCKETS))
    sizes = [group.last_bucket - group.first_bucket + 1 for group in plan.groups]
    assert max(sizes) - min(sizes) <= 1
    assert sum(group.share for group in plan.groups) == pytest.approx(1)


def test_plan_carries_the_section_and_its_groups_share_by_hand():
    section = ExperimentSection(name="spring", salt="pepper", groups=3, list_length=7)

    plan = make_plan(front([(0.1, False), (0.2, False), (0.3, False)]), section)

    assert (plan.experiment, plan.salt, plan.list_length) == ("spring", "pepper", 7)
    edges = [(group.first_bucket, group.last_bucket) for group in plan.groups]
    assert edges == [(0, 3332), (3333, 6666), (6667, 9999)]
    assert [group.share for group in plan.groups] == [0.3333, 0.3334, 0.3333]


def test_plan_survives_json():
    plan = make_plan(front([(0.1, False), (0.2, False), (0.3, False)]), ExperimentSection(groups=3))

    text = json.dumps(plan.as_dict())

    assert TrafficPlan.from_dict(json.loads(text)) == plan
    assert [group["share"] for group in json.loads(text)["groups"]] == [0.3333, 0.3334, 0.3333]


@settings(max_examples=30, deadline=None)
@given(unit=st.text(min_size=1, max_size=10))
def test_a_unit_belongs_to_the_group_that_holds_its_bucket(unit):
    plan = make_plan(front([(0.1, False), (0.2, False), (0.3, False)]), ExperimentSection(groups=3))

    group = plan.group_of(unit)

    assert group.first_bucket <= bucket_of(unit, plan.salt) <= group.last_bucket
    assert replace(plan, list_length=3).group_of(unit) == group


def test_a_unit_no_group_covers_is_an_error_that_names_its_bucket():
    first = Group(
        name="g1", preference_id="p0", preference=(1.0, 0.0), first_bucket=0, last_bucket=504
    )
    plan = TrafficPlan(experiment="e", salt="seed", list_length=5, groups=(first,))

    with pytest.raises(LogError, match="unit 'a' falls into bucket 505, which no group covers"):
        plan.group_of("a")


def test_metrics_of_another_grid_are_refused():
    points = front([(0.1, False), (0.2, False), (0.3, False)])
    plan = make_plan(points, ExperimentSection(groups=3))
    other = points.with_columns(preference=pl.Series([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]))

    check_same_preferences(plan, points)
    with pytest.raises(LogError, match="materialise 'traffic_plan'"):
        check_same_preferences(plan, other)
    with pytest.raises(LogError, match="p02 of the offline metrics is None"):
        check_same_preferences(plan, points.head(2))


def test_a_running_experiment_keeps_its_plan():
    running = make_plan(
        front([(0.1, False), (0.2, False), (0.3, False)]), ExperimentSection(groups=3)
    )
    retrained = make_plan(
        front([(0.3, False), (0.2, False), (0.1, False)]), ExperimentSection(groups=3)
    )

    check_not_under_way(running, running)
    check_not_under_way(running, replace(retrained, experiment="next"))
    with pytest.raises(LogError, match="is under way with other groups"):
        check_not_under_way(running, retrained)


def test_replicates_are_groups_of_the_same_preferences():
    points = [(0.4 + 0.01 * number, False) for number in range(6)]

    plan = make_plan(front(points), ExperimentSection(groups=6, replicates=2))

    assert [group.name for group in plan.groups] == [f"g{n}" for n in range(1, 7)]
    ids = preference_ids(plan)
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3

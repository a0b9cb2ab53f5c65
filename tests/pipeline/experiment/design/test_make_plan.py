"""From the front to the plan: candidates, order of the groups, and buckets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.make_plan import make_plan
from pipeline.study import ExperimentConfig, PlanningConfig
from tests.pipeline.experiment.fronts import front_of, study_of

EXTREMES = PlanningConfig(curvature_floor=0.0)


def ids(plan):
    return [group.preference_id for group in plan.groups]


def test_groups_are_ordered_by_recall_and_keep_their_preference():
    study = study_of(ExperimentConfig(groups=3))

    plan, design = make_plan(front_of([0.50, 0.40, 0.44, 0.45]), study, model="abc")

    assert ids(plan) == list(design.chosen) == ["p01", "p02", "p00"]  # 0.40, 0.44, 0.50
    assert [group.name for group in plan.groups] == ["g1", "g2", "g3"]
    assert plan.groups[1].preference == pytest.approx((2 / 3, 1 / 3))
    assert plan.model == "abc"


@pytest.mark.parametrize(
    ("groups", "expected", "only_undominated"),
    [(3, ["p00", "p01", "p04"], True), (4, ["p00", "p01", "p03", "p04"], False)],
    ids=["enough-undominated", "too-few-undominated"],
)
def test_dominated_points_are_used_only_when_needed(groups, expected, only_undominated):
    front = front_of([0.40, 0.43, 0.45, 0.47, 0.50], dominated=["p02", "p03"])
    study = study_of(ExperimentConfig(groups=groups, planning=EXTREMES))

    plan, design = make_plan(front, study)

    assert ids(plan) == expected
    assert (design.only_undominated, design.candidates) == (
        only_undominated,
        3 if only_undominated else 5,
    )


def test_evenly_spaced_preferences_have_less_information_where_recall_is_flat():
    recall = [0.30, 0.40, 0.50, 0.58, 0.595, 0.60, 0.602, 0.604, 0.606, 0.608, 0.61]
    study = study_of(ExperimentConfig(groups=4, planning=EXTREMES))

    _, design = make_plan(front_of(recall), study)

    (one,) = design.hypotheses
    assert design.chosen == ("p00", "p01", "p09", "p10")
    assert design.even == ("p00", "p03", "p07", "p10")
    x = np.array(recall)
    information = [x[[0, 1, 9, 10]].var(), x[[0, 3, 7, 10]].var()]
    assert one.gain == pytest.approx(information[0] / information[1] - 1)
    expected = (1.0, information[1] / information[0])
    assert (one.chosen.slope, one.even.slope) == pytest.approx(expected)


def test_the_design_serves_two_conflicting_metrics():
    recall = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    hump = [1.0, 1.6, 1.9, 2.0, 1.9, 1.6, 1.0]
    section = ExperimentConfig(groups=3, planning=EXTREMES)

    one, two = (
        make_plan(front_of(recall, mrr=hump), study_of(section, metrics))[1].chosen
        for metrics in (("recall",), ("recall", "mrr"))
    )

    assert one in (("p00", "p01", "p06"), ("p00", "p05", "p06"))
    assert two == ("p00", "p03", "p06")  # the hump's two levels need the middle


@pytest.mark.parametrize(
    ("values", "because"),
    [
        ([0.0, 0.1, 0.2, 0.3], "0 or negative"),
        ([0.2] * 4, "the same under all"),
        ([None, 0.1, 0.2, 0.3], "undefined"),
    ],
)
def test_a_hypothesis_without_an_axis_has_a_reason(values, because):
    study = study_of(ExperimentConfig(groups=3), metrics=("mrr",))

    plan, design = make_plan(front_of([0.1, 0.2, 0.3, 0.4], mrr=values), study)

    assert because in design.left_out["H1"]
    assert design.hypotheses == ()
    assert len(set(ids(plan))) == 3  # chosen by recall


def test_an_extreme_within_its_error_is_not_chosen():
    recall = [0.30, 0.40, 0.50, 0.60, 0.61]
    uncertain = np.diag([1e-6, 1e-6, 1e-6, 1e-6, 0.05])
    study = study_of(ExperimentConfig(groups=3, planning=EXTREMES))

    known, unknown = (
        make_plan(front_of(recall, covariance=noise), study)[1].chosen
        for noise in (np.zeros((5, 5)), uncertain)
    )

    assert "p04" in known
    assert "p04" not in unknown


@settings(max_examples=10, deadline=None)
@given(shares=st.lists(st.floats(0.1, 10), min_size=3, max_size=6))
def test_buckets_are_covered_and_allocated_by_the_shares(shares):
    recall = [0.4 + 0.01 * number for number in range(7)]
    section = ExperimentConfig(groups=len(shares), shares=tuple(shares))

    plan, _ = make_plan(front_of(recall), study_of(section))

    covered = [b for g in plan.groups for b in range(g.first_bucket, g.last_bucket + 1)]
    assert covered == list(range(N_BUCKETS))
    for group, share in zip(plan.groups, shares, strict=True):
        assert group.share == pytest.approx(share / sum(shares), abs=1 / N_BUCKETS)


def test_equal_shares_give_equal_bucket_ranges():
    section = ExperimentConfig(groups=3)

    plan, _ = make_plan(front_of([0.1, 0.2, 0.3]), study_of(section))

    edges = [(group.first_bucket, group.last_bucket) for group in plan.groups]
    assert edges == [(0, 3332), (3333, 6666), (6667, 9999)]


def test_replicates_have_the_same_preferences():
    section = ExperimentConfig(groups=6, replicates=2)

    plan, design = make_plan(front_of([0.4 + 0.01 * n for n in range(6)]), study_of(section))

    assert [group.name for group in plan.groups] == [f"g{n}" for n in range(1, 7)]
    assert ids(plan)[:3] == ids(plan)[3:] == list(design.chosen)


def test_the_plan_has_the_keys_of_the_study():
    section = ExperimentConfig(
        name="spring",
        salt="pepper",
        groups=3,
        list_length=7,
        enabled=False,
        traffic_share=0.1,
        holdout=0.05,
        holdout_salt="all",
        forced_assignment={"ada": "g2"},
    )

    plan, _ = make_plan(front_of([0.1, 0.2, 0.3]), study_of(section))

    assert (plan.experiment, plan.salt, plan.list_length) == ("spring", "pepper", 7)
    assert (plan.enabled, plan.traffic_share, plan.holdout) == (False, 0.1, 0.05)
    assert (plan.holdout_salt, plan.forced_assignment) == ("all", {"ada": "g2"})
    assert plan.traffic_salt == "pepper coverage"

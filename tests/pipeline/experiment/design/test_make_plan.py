"""From the front to the plan: candidates, order of the groups, and buckets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import StudyError
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.make_plan import make_plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
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


@pytest.mark.slow
@settings(max_examples=10)
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


def guarded(recall, section, **metrics):
    return make_plan(front_of(recall, **metrics), study_of(section))


def test_no_group_loses_more_than_a_guardrail_allows():
    recall = [0.30, 0.40, 0.50, 0.54, 0.56, 0.58, 0.60]
    section = ExperimentConfig(groups=3, guardrails={"recall": 0.15}, planning=EXTREMES)

    plan, design = guarded(recall, section)

    # 0.85 · 0.60 = 0.51: the first three are out
    assert set(ids(plan)) <= {"p03", "p04", "p05", "p06"}
    assert ids(plan)[0] == "p03"
    (loss,) = design.guardrails
    assert (loss.metric, loss.limit, loss.reference, loss.excluded) == ("recall", 0.15, "p06", 3)
    assert loss.largest == pytest.approx(0.10)
    assert set(design.even) <= {"p03", "p04", "p05", "p06"}


def test_a_guardrail_compares_with_the_incumbent():
    recall = [0.30, 0.40, 0.50, 0.54, 0.56, 0.58, 0.60]
    section = ExperimentConfig(
        groups=3, guardrails={"recall": 0.15}, incumbent="p03", planning=EXTREMES
    )

    plan, design = guarded(recall, section)

    assert ids(plan)[0] == "p02"  # 0.50 / 0.54 is 7% below
    assert design.guardrails[0].largest == pytest.approx(1 - 0.50 / 0.54)


@pytest.mark.parametrize(("named", "expected"), [("p01", "p01"), (None, "p03")])
def test_the_incumbent_is_that_of_the_study_or_the_best_recall(named, expected):
    section = ExperimentConfig(groups=3, incumbent=named)

    plan, _ = make_plan(front_of([0.3, 0.4, 0.5, 0.6, 0.55]), study_of(section), model="f" * 64)

    assert plan.incumbent is not None
    assert (plan.incumbent.preference_id, plan.incumbent.model) == (expected, "f" * 64)
    number = int(expected[1:])
    assert plan.incumbent.preference == tuple(front_of([0.3] * 5).points["preference"][number])
    assert TrafficPlan.from_dict(plan.as_dict()) == plan


def test_two_guardrails_hold_at_once():
    recall, mrr = [0.4, 0.5, 0.55, 0.58, 0.6], [0.30, 0.29, 0.27, 0.22, 0.1]
    section = ExperimentConfig(groups=3, guardrails={"recall": 0.2, "mrr": 0.3})

    plan, _ = guarded(recall, section, mrr=mrr)

    assert ids(plan) == ["p01", "p02", "p03"]  # mrr from 0.21 on, recall from 0.48 on


def test_without_a_guardrail_the_loss_is_stated_all_the_same():
    _, design = guarded([0.3, 0.4, 0.6], ExperimentConfig(groups=3))

    (loss,) = design.guardrails
    assert loss.limit is None
    assert loss.largest == pytest.approx(0.5)
    assert loss.excluded == 0


def test_next_to_an_incumbent_without_recall_no_loss_is_stated():
    _, design = guarded([0.0, 0.4, 0.6], ExperimentConfig(groups=3, incumbent="p00"))

    assert design.guardrails == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"guardrails": {"recall": 0.1}}, "leave 2 of 4 candidates (p02, p03)"),
        ({"guardrails": {"mrr": 0.1}}, "'mrr' is not measured; use a metric of recall"),
        ({"guardrails": {"recal": 0.1}}, "'recal' is not measured (did you mean 'recall'?)"),
        ({"incumbent": "p-02"}, "p-02 is not a preference (did you mean 'p02'?); expected one of"),
    ],
)
def test_a_guardrail_that_cannot_hold_says_so(changes, expected):
    section = ExperimentConfig(groups=3, **changes)

    with pytest.raises(StudyError) as error:
        guarded([0.3, 0.4, 0.55, 0.6], section)

    assert expected in str(error.value)


def two_axes(preferences=7):
    """Cells of two levels of diversity: recall and diversity go together on the front alone."""
    front = np.linspace(0.4, 0.6, preferences)
    recall = np.concatenate([front, front - 0.01])
    diversity = np.concatenate([1.2 - front, 1.5 - front])
    measured = front_of(recall.tolist(), mrr=diversity.tolist())
    return replace(measured, off_front=frozenset(measured.points["preference_id"][preferences:]))


def test_with_a_second_axis_the_groups_tell_metrics_apart():
    section = ExperimentConfig(groups=6)

    _, design = make_plan(two_axes(), study_of(section, ("recall", "mrr")))

    off_front = {f"p{n:02d}" for n in range(7, 14)}
    assert set(design.chosen) & off_front
    assert not set(design.one_front) & off_front
    for one in design.hypotheses:
        assert one.partial.inflation < 2
        assert one.partial_one_front.inflation is None  # a line in each other on the front
        assert one.lowest_inflation < one.partial.inflation
        assert one.rivals == ({"recall": "mrr", "mrr": "recall"}[one.metric],)


def test_the_plan_on_the_front_alone_has_as_many_groups_as_the_front_allows():
    section = ExperimentConfig(groups=5, guardrails={"recall": 0.18})

    _, design = make_plan(two_axes(preferences=5), study_of(section, ("recall", "mrr")))

    assert len(design.chosen) == 5
    assert design.one_front == ("p02", "p03", "p04")  # from 0.82 · 0.6 on
    assert all(one.partial_one_front.inflation is None for one in design.hypotheses)


def test_on_one_front_the_plan_is_that_of_the_marginal_slopes_and_names_the_rivals():
    recall = [0.40, 0.44, 0.48, 0.52, 0.56, 0.60]
    front = front_of(recall, mrr=[0.9 - one for one in recall])
    both = study_of(ExperimentConfig(groups=3), ("recall", "mrr"))

    _, design = make_plan(front, both)

    assert design.one_front == ()
    assert design.chosen == make_plan(front, study_of(ExperimentConfig(groups=3)))[1].chosen
    assert design.hypotheses[0].partial.correlations == pytest.approx([-1])
    assert design.hypotheses[0].lowest_inflation is None

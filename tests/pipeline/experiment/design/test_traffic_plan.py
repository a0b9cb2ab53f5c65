"""The traffic plan: assignment of users to groups."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.design.traffic_plan import Reason, TrafficPlan
from tests.pipeline.experiment import logs

USERS = [f"u{number:05d}" for number in range(20_000)]
EDGES = [0, 1000, 4000, 10_000]


def plan_of(edges=EDGES, **changes):
    return logs.plan_of(edges, salt="seed", **changes)


PLANS = {
    "plain": plan_of(),
    "ramp-up": plan_of(traffic_share=0.3),
    "holdout": plan_of(holdout=0.2),
    "forced_assignment": plan_of(forced_assignment={"u00001": "g3", "🛒": "g1"}),
    "off": plan_of(enabled=False, forced_assignment={"u00001": "g3"}),
    "all": plan_of(
        traffic_share=0.5, holdout=0.2, forced_assignment={"u00001": "g3", "u00002": "g1"}
    ),
}


def served(plan, users=USERS):
    """Group names by user, for the users in the experiment."""
    groups = plan.groups_of(pl.Series(users))
    return {user: name for user, name in zip(users, groups, strict=True) if name is not None}


@settings(max_examples=30)
@given(user=st.text(min_size=1, max_size=10))
def test_a_user_is_in_the_group_of_its_bucket(user):
    group, reason = plan_of().assign(user)

    assert group.first_bucket <= bucket_of(user, "seed") <= group.last_bucket
    assert reason is None


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=20)
@given(users=st.lists(st.text(min_size=1, max_size=8) | st.sampled_from(USERS[:5]), max_size=20))
def test_the_vectorised_assignment_equals_the_single_one(name, users):
    plan = PLANS[name]

    found = plan.assign_many(pl.Series(users, dtype=pl.String))

    single = [plan.assign(user) for user in users]
    assert found["group"].to_list() == [one.group and one.group.name for one in single]
    assert found["reason"].to_list() == [one.reason for one in single]
    assert plan.groups_of(pl.Series(users, dtype=pl.String)).equals(found["group"])
    assert [plan.group_of(user) for user in users] == [one.group for one in single]


def test_groups_have_their_traffic_shares():
    counts = Counter(served(plan_of()).values())

    expected = [0.1 * len(USERS), 0.3 * len(USERS), 0.6 * len(USERS)]
    assert [group.share for group in plan_of().groups] == [0.1, 0.3, 0.6]
    found = [counts[name] for name in ("g1", "g2", "g3")]
    assert stats.chisquare(found, expected).pvalue > 0.001


@settings(max_examples=15)
@given(
    low=st.floats(0.01, 1),
    high=st.floats(0.01, 1),
    salt=st.text(max_size=5),
    holdout=st.floats(0, 0.9),
)
def test_ramp_up_adds_users_and_moves_none(low, high, salt, holdout):
    low, high = sorted((low, high))
    plan = plan_of(traffic_salt=f"c{salt}", holdout=holdout)

    before = served(replace(plan, traffic_share=low), USERS[:500])
    after = served(replace(plan, traffic_share=high), USERS[:500])

    assert before.items() <= after.items()


def test_traffic_share_and_holdout_do_not_change_the_group_shares():
    plan = plan_of(traffic_share=0.25, holdout=0.2)

    reasons = Counter(plan.assign_many(pl.Series(USERS))["reason"].to_list())

    n = len(USERS)
    held, waiting, inside = 0.2 * n, 0.8 * 0.75 * n, 0.8 * 0.25 * n
    found = [reasons[Reason.HOLDOUT], reasons[Reason.OUTSIDE_TRAFFIC], reasons[None]]
    assert stats.chisquare(found, [held, waiting, inside]).pvalue > 0.001
    counts = Counter(served(plan).values())
    groups = [counts[name] for name in ("g1", "g2", "g3")]
    assert stats.chisquare(groups, np.array([0.1, 0.3, 0.6]) * sum(groups)).pvalue > 0.001


def test_the_holdout_is_the_same_in_every_experiment():
    spring = plan_of(holdout=0.1)
    autumn = replace(spring, experiment="autumn", salt="pepper", traffic_salt="other")

    out = [set(USERS) - set(served(plan)) for plan in (spring, autumn)]

    assert out[0] == out[1]
    assert set(USERS) - set(served(replace(autumn, holdout_salt="fresh"))) != out[0]


def test_a_forced_assignment_overrides_the_hash():
    forced = {user: f"g{n % 3 + 1}" for n, user in enumerate(USERS[:50])}
    plan = plan_of(traffic_share=0.01, holdout=0.5, forced_assignment=forced)

    assigned = {user: plan.assign(user) for user in forced}

    assert {user: one.group.name for user, one in assigned.items()} == forced
    assert {one.reason for one in assigned.values()} == {Reason.FORCED}


def test_a_disabled_experiment_has_no_users():
    plan = plan_of(enabled=False, forced_assignment={"ada": "g1"})

    assert plan.assign("ada") == (None, Reason.DISABLED)
    assert served(plan) == {}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_survives_a_round_trip(name):
    plan = PLANS[name]

    text = json.dumps(plan.as_dict())

    assert TrafficPlan.from_dict(json.loads(text)) == plan
    assert [group["share"] for group in json.loads(text)["groups"]] == [0.1, 0.3, 0.6]


@pytest.mark.parametrize("edges", [[0, 505], [5, 10_000], [0, 500, 500, 10_000]])
def test_gaps_and_overlaps_of_buckets_are_rejected(edges):
    with pytest.raises(LogError, match=r"cover the buckets .* expected 0 to 9999 in order"):
        plan_of(edges)


def test_overlapping_groups_are_rejected():
    first, *rest = plan_of().groups

    with pytest.raises(LogError, match="without gap or overlap"):
        replace(plan_of(), groups=(replace(first, last_bucket=1001), *rest))


def test_a_forced_assignment_to_an_unknown_group_is_rejected():
    with pytest.raises(
        LogError, match=r"forced_assignment {'ada': 'g9'} has unknown groups; use g1, g2, g3"
    ):
        plan_of(forced_assignment={"ada": "g9"})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"salt": None}, "salt"),
        ({"groups": [{}]}, "groups.0"),
        ({"traffic_share": "much"}, "traffic_share"),
    ],
)
def test_a_damaged_plan_is_rejected_with_its_key(change, place):
    with pytest.raises(
        LogError, match=f"not a valid traffic plan: {place}.*materialise 'traffic_plan'"
    ):
        TrafficPlan.from_dict(plan_of().as_dict() | change)

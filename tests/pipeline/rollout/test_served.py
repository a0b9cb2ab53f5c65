"""``rollout.json``: who gets the candidate."""

from dataclasses import replace

import pytest

from pipeline.core.errors import DataError
from pipeline.rollout import operations
from pipeline.rollout.served import ArmName, read_served, served_file
from pipeline.rollout.states import State
from tests.pipeline.rollout.releases import ANNA, STAGES, begun

IDS = [f"user-{n}" for n in range(10_000)]


def test_no_user_leaves_the_candidate_while_its_share_rises(paths):
    served = begun(paths).served()
    before = set[str]()
    for share in (0.01, 0.05, 0.25, 0.5, 0.95, 1.0):
        now = replace(served, share=share, peak_share=share)
        arms = {user: now.arm_of(user) for user in IDS}
        found = {user for user, arm in arms.items() if arm is ArmName.CANDIDATE}

        assert before <= found
        assert (
            abs(len(found) / len(IDS) - share) < 4 * (share * (1 - share) / len(IDS)) ** 0.5 + 1e-9
        )
        assert not any(map(now.switched, IDS))
        before = found


def test_after_a_rollback_nobody_has_the_candidate_and_those_who_had_it_are_known(paths):
    live = replace(begun(paths).served(), share=0.25, peak_share=0.25)
    had = {user for user in IDS if live.arm_of(user) is ArmName.CANDIDATE}
    back = replace(live, share=0.0, state=State.ROLLED_BACK)

    assert {back.arm_of(user) for user in IDS} == {ArmName.INCUMBENT}
    assert {user for user in IDS if back.switched(user)} == had


def test_another_salt_selects_other_users(paths):
    first = replace(begun(paths).served(), share=0.5)
    second = replace(first, salt="summer")

    same = sum(first.arm_of(user) is second.arm_of(user) for user in IDS)
    assert abs(same - 5000) < 200


def test_no_rollout_and_a_damaged_file(paths):
    assert read_served(paths) is None

    begun(paths)
    served_file(paths).write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="paretoscope rollout status"):
        read_served(paths)

    operations.look(paths)
    assert read_served(paths).stage == "canary"


def test_the_file_follows_every_event(paths):
    rollout = begun(paths)
    assert read_served(paths) == rollout.served()

    rollout = operations.roll_back(paths, ANNA, "complaints")
    served = read_served(paths)
    assert served == rollout.served()
    assert (served.state, served.share, served.peak_share) == ("rolled_back", 0.0, 0.01)


def test_shares_of_the_stages_leave_the_holdback(paths):
    plan = begun(paths).plan

    assert [plan.share_of(index) for index in range(len(STAGES))] == [0.01, 0.05, 0.25, 0.5, 0.95]

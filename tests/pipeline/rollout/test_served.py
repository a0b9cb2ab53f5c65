"""``rollout.json``: who gets the candidate."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.experiment.design.assignment import bucket_of
from pipeline.rollout import operations
from pipeline.rollout.served import ArmName, read_served, served_file
from pipeline.rollout.states import State
from pipeline.study.rollout import RolloutStage
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


def test_the_file_is_on_the_disk_under_its_name_when_the_event_is(paths, monkeypatch):
    """The folder that has the name is synchronised after the file has it."""
    begun(paths)
    synchronised = []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synchronised.append((path, read_served(paths)))

    monkeypatch.setattr(os, "fsync", fsync)
    rollout = operations.hold(paths, ANNA, "holidays")

    assert synchronised[-1] == (served_file(paths).parent, rollout.served())


def test_a_file_beside_the_studies_has_no_rollout(paths):
    paths.folder.parent.mkdir(parents=True)
    paths.folder.write_text("not a study", encoding="utf-8")

    assert read_served(paths) is None


def test_the_share_of_a_plan_is_that_of_the_users_who_get_it(paths):
    """0.00016 is 1.6 of 10,000 buckets, of which 2 get the candidate: 0.0002."""
    stages = (
        RolloutStage(name="canary", share=0.00016, users=50),
        RolloutStage(name="half", share=0.5, users=50),
        RolloutStage(name="full", share=1.0, users=50),
    )
    rollout = begun(paths, stages=stages, holdback=0.12344)

    assert rollout.plan.share_of(0) == rollout.share == 0.0002
    assert rollout.plan.share_of(2) == 0.8766  # 1 - 0.12344 has 8765.6 buckets
    user_of = {bucket_of(user, "spring"): user for user in map(str, range(100_000))}
    arms = [rollout.served().arm_of(user_of[bucket]) for bucket in (0, 1, 2)]
    assert arms == ["candidate", "candidate", "incumbent"]


def test_shares_of_the_stages_leave_the_holdback(paths):
    plan = begun(paths).plan

    assert [plan.share_of(index) for index in range(len(STAGES))] == [0.01, 0.05, 0.25, 0.5, 0.95]

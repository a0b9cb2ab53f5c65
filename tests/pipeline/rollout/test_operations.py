"""What people do to a rollout, and what is refused."""

import shutil
from dataclasses import replace

import pytest

from pipeline.core.errors import DataError, QualityError, StorageError
from pipeline.rollout import operations, store
from pipeline.rollout.changes import advanced
from pipeline.rollout.events import Action
from pipeline.rollout.gates import Gate, GatedPlan, Outcome, read_gated_plan, write_gated_plan
from pipeline.rollout.served import read_served, served_file, write_served
from pipeline.rollout.states import TRANSITIONS, State
from pipeline.rollout.store import (
    RolloutRefused,
    change_rollout,
    current_rollout,
    events_file,
    read_rollout,
    verify_rollouts,
)
from tests.pipeline.rollout.releases import ANNA, STAGES, begun, evidence, gated


def advance(paths, times):
    for _ in range(times):
        rollout = change_rollout(paths, "spring", ANNA, lambda now: advanced(now, "passed", {}))
    return rollout


def test_transitions():
    """Golden."""
    assert {str(state): sorted(map(str, to)) for state, to in TRANSITIONS.items()} == {
        "draft": ["offline_passed", "rejected"],
        "offline_passed": ["rejected", "simulated"],
        "simulated": ["awaiting_approval", "rejected"],
        "awaiting_approval": ["canary", "rejected"],
        "canary": ["holding", "ramp", "rolled_back"],
        "ramp": ["full", "holding", "rolled_back"],
        "holding": ["canary", "ramp", "rolled_back"],
        "full": ["rolled_back", "settled"],
        "rolled_back": [],
        "rejected": [],
        "settled": [],
    }


def test_from_proposal_to_everybody(paths):
    rollout = operations.start(paths, gated(), ANNA)
    assert (rollout.state, rollout.share, rollout.stage) == (State.AWAITING_APPROVAL, 0.0, None)

    states = [operations.approve(paths, "canary", ANNA, "ok")]
    states += [advance(paths, 1) for _ in range(5)]

    assert [(one.state, one.stage.name, one.share) for one in states] == [
        ("canary", "canary", 0.01),
        ("canary", "canary-5", 0.05),
        ("ramp", "ramp", 0.25),
        ("ramp", "half", 0.5),
        ("full", "full", 0.95),
        ("settled", "full", 1.0),
    ]
    assert [event.to for event in states[-1].events[:4]] == [
        "draft", "offline_passed", "simulated", "awaiting_approval",
    ]  # fmt: skip
    assert verify_rollouts(paths) == []


def test_two_releases_at_once_are_refused(paths):
    begun(paths)

    with pytest.raises(
        RolloutRefused, match=r"spring is canary in stage canary with a share of 1.00%"
    ):
        operations.start(paths, gated(release="summer"), ANNA)
    assert read_rollout(paths, "summer") is None

    operations.roll_back(paths, ANNA, "enough")
    assert operations.start(paths, gated(release="summer"), ANNA).release == "summer"
    assert current_rollout(paths).release == "summer"
    assert read_served(paths).release == "summer"


def test_a_name_is_used_once(paths):
    begun(paths)
    operations.roll_back(paths, ANNA, "enough")

    with pytest.raises(
        RolloutRefused, match=r"spring has 6 events and is rolled_back; expected a new name"
    ):
        operations.start(paths, gated(), ANNA)


def test_a_failed_gate_leaves_no_plan(paths):
    plan, passed = gated().plan, [evidence(gate, Outcome.PASSED) for gate in Gate]
    failed = evidence(Gate.SIMULATION, Outcome.FAILED)

    with pytest.raises(
        QualityError, match=r"simulation: rollout.gates is null. No rollout_plan is written"
    ):
        GatedPlan(plan=plan, gates=(*passed[:2], failed))
    with pytest.raises(DataError, match="expected"):
        GatedPlan(plan=plan, gates=(passed[0],))

    write_gated_plan(GatedPlan(plan=plan, gates=tuple(passed)), paths)
    assert read_gated_plan(paths).plan == plan


def test_approvals(paths):
    operations.start(paths, gated(), ANNA)
    with pytest.raises(RolloutRefused, match="no stage nowhere; expected one of canary, canary-5"):
        operations.approve(paths, "nowhere", ANNA, "ok")
    with pytest.raises(RolloutRefused, match="stage ramp cannot be approved"):
        operations.approve(paths, "ramp", ANNA, "ok")

    operations.approve(paths, "canary", ANNA, "ok")
    again = operations.approve(paths, "canary", ANNA, "ok")
    early = operations.approve(paths, "ramp", ANNA, "ok")

    assert [event.action for event in again.events].count(Action.APPROVE) == 1
    assert (early.share, early.approved) == (0.01, {"canary", "ramp"})
    assert advance(paths, 2).stage.name == "ramp"
    with pytest.raises(
        RolloutRefused, match=r"is ramp in stage ramp with a share of 25.00%: stage canary-5"
    ):
        operations.approve(paths, "canary-5", ANNA, "ok")


def test_hold_and_resume(paths):
    begun(paths)

    held = operations.hold(paths, ANNA, "holidays")
    assert (held.state, held.share, held.is_held_by_person) == ("holding", 0.01, True)
    assert operations.hold(paths, ANNA, "again").seq == held.seq
    assert operations.resume(paths, ANNA, "back").state is State.CANARY
    assert operations.resume(paths, ANNA, "again").seq == held.seq + 1


def test_the_last_stage_is_held_without_a_state_for_it(paths):
    begun(paths)
    assert advance(paths, len(STAGES) - 1).state is State.FULL

    held = operations.hold(paths, ANNA, "holidays")
    assert (held.state, held.hold.reason) == (State.FULL, "holidays")
    assert operations.resume(paths, ANNA, "back").hold is None


def test_a_rollback_is_final_and_may_be_repeated(paths):
    begun(paths)

    first = operations.roll_back(paths, ANNA, "complaints")
    again = operations.roll_back(paths, ANNA, "complaints")

    assert (first.state, first.share, again.seq) == (State.ROLLED_BACK, 0.0, first.seq)
    for operation in (operations.hold, operations.resume):
        with pytest.raises(
            RolloutRefused, match=r"is rolled_back in stage canary with a share of 0.00%"
        ):
            operation(paths, ANNA, "x")
    refused = current_rollout(paths).events[-2:]
    assert [(event.action, event.from_ == event.to) for event in refused] == [("refuse", True)] * 2


def test_before_the_first_stage_a_rollback_rejects(paths):
    operations.start(paths, gated(), ANNA)

    assert operations.roll_back(paths, ANNA, "no").state is State.REJECTED


def test_a_settled_rollout_stays(paths):
    begun(paths)
    assert advance(paths, len(STAGES)).state is State.SETTLED

    with pytest.raises(RolloutRefused, match="release the former incumbent"):
        operations.roll_back(paths, ANNA, "late")
    assert read_served(paths).share == 1.0


def test_nothing_to_change(paths):
    with pytest.raises(RolloutRefused, match="paretoscope rollout start"):
        operations.hold(paths, ANNA, "x")


def test_damaged_events_do_not_keep_a_bad_candidate(paths):
    begun(paths)
    file = events_file(paths, "spring")
    file.write_bytes(file.read_bytes().replace(b"looks good", b"looks fine"))

    with pytest.raises(
        DataError, match="the incumbent is served to everybody, but it is not recorded"
    ):
        operations.roll_back(paths, ANNA, "complaints")

    assert read_served(paths).share == 0.0
    assert served_file(paths).exists()


LOST = {
    "removed": lambda file: file.unlink(),
    "emptied": lambda file: file.write_bytes(b""),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "with their folder": lambda file: shutil.rmtree(file.parent),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_lost_events_do_not_keep_a_candidate_either(paths, lose):
    begun(paths)
    lose(events_file(paths, "spring"))

    (problem,) = verify_rollouts(paths)
    assert "rollout.json follows from line 5 of" in problem
    with pytest.raises(DataError, match=r"rollout\.json follows from line 5 of"):
        operations.look(paths)
    assert read_served(paths).share == 0.01
    with pytest.raises(DataError, match="the incumbent is served to everybody"):
        operations.roll_back(paths, ANNA, "complaints")
    assert read_served(paths).share == 0.0


def fail(*_):
    raise StorageError("No space left on device")


def test_a_rollback_that_could_not_be_recorded_lasts(paths, monkeypatch):
    begun(paths)
    with monkeypatch.context() as full:
        full.setattr(store, "append_event", fail)
        with pytest.raises(DataError, match="not recorded: No space left"):
            operations.roll_back(paths, ANNA, "complaints")
    assert read_served(paths).share == 0.0

    found = operations.look(paths)  # which writes rollout.json from the events

    assert (found.state, read_served(paths).share) == (State.ROLLED_BACK, 0.0)
    assert found.events[-1].reason.startswith("rollout.json was rolled back while")
    assert verify_rollouts(paths) == []


def test_a_rollback_that_cannot_be_served_says_who_gets_the_candidate(paths, monkeypatch):
    begun(paths)
    for module in (store, operations):
        monkeypatch.setattr(module, "write_served", fail)

    with pytest.raises(StorageError, match=r"1\.00% of the users still get the candidate"):
        operations.roll_back(paths, ANNA, "complaints")


def test_a_settled_release_is_not_rolled_back_on_a_full_disk_either(paths, monkeypatch):
    begun(paths)
    advance(paths, len(STAGES))
    monkeypatch.setattr(store, "append_event", fail)

    with pytest.raises(StorageError, match="No space left"):
        operations.roll_back(paths, ANNA, "late")
    assert (read_served(paths).state, read_served(paths).share) == (State.SETTLED, 1.0)


def test_an_edited_rollout_json_is_found_and_written_again(paths):
    begun(paths)
    write_served(replace(read_served(paths), share=1.0), paths)

    (problem,) = verify_rollouts(paths)
    assert "says that 100.00% of the users get the candidate" in problem
    assert operations.look(paths).share == read_served(paths).share == 0.01
    assert verify_rollouts(paths) == []

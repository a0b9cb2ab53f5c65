"""The next step of a rollout, and one step of the watch."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.rollout import operations
from pipeline.rollout.decisions.decide import Step, decide
from pipeline.rollout.served import ArmName
from pipeline.rollout.states import State
from pipeline.rollout.watch import watch_rollout
from pipeline.study.rollout import Automatic
from tests.pipeline.rollout.releases import ANNA, begun, gated, kpi_sums, sums, users


def step(rollout, found, **later):
    return decide(rollout, found, found.newest + timedelta(**later))


@pytest.fixture
def canary(paths):
    return begun(paths)


def test_after_its_days_and_users_a_stage_passes(canary):
    early = step(canary, sums(canary, hours=23))
    few = step(canary, sums(canary, hours=25, candidate=150))
    passed = step(canary, sums(canary, hours=25))

    assert (early.step, early.reason) == (Step.WAIT, "waits: 0.96 of 1 day")
    assert few.step is Step.WAIT
    assert "150 of 200 users in the smaller arm" in few.reason
    assert passed.step is Step.ADVANCE
    assert passed.reason.startswith("ctr ")
    assert passed.evidence["ctr"]["comparison"]["users"] == 400


def test_proven_harm_rolls_back_at_any_time(canary):
    found = step(canary, sums(canary, hours=2, candidate=2000, lift=-0.5))

    assert found.step is Step.ROLL_BACK
    assert "harm is proven: ctr -46.9% (-55.2% to -35.9%)" in found.reason
    assert "2000 users in the smaller arm" in found.reason


def test_one_user_without_a_click_proves_nothing(canary):
    """0 of 1 against 5%: bounds beyond every float are still a reading, of too few users."""
    new = (np.eye(1, 5), np.zeros((1, 5)))
    old = (np.tile(np.eye(1, 5), (1000, 1)), np.zeros((1000, 5)))
    old[1][:50, 0] = 1
    found = sums(canary, hours=2)
    kpis = {**found.kpis, "ctr": kpi_sums(new, old, found.newest)}

    decision = step(canary, replace(found, kpis=kpis))

    assert decision.step is Step.WAIT
    assert decision.readings["ctr"].summary.startswith("ctr -100.0% (-100.0% to +inf%)")


def test_harm_that_is_not_proven_waits_for_the_margin(paths, canary):
    """The canary needs no margin; the second stage excludes a loss of 30%."""
    second, _ = watch_rollout(paths, canary, sums(canary, hours=25), now(canary, 25))

    few = step(second, sums(second, hours=30, candidate=1000, incumbent=1000, lift=-0.05))
    many = step(second, sums(second, hours=30, candidate=5000, lift=-0.05))

    assert second.stage.name == "canary-5"
    assert few.step is Step.WAIT
    assert "expected at least -30.0%" in few.reason
    assert many.step is Step.ADVANCE or "approval" in many.reason


def now(rollout, hours):
    return rollout.stage_starts[-1] + timedelta(hours=hours)


def test_errors_beyond_their_margin_roll_back(canary):
    found = sums(canary, hours=2, candidate=2000)
    m_US, y_US = users(2000, 0.05, 0, np.random.default_rng(2))
    none = (m_US, 0 * y_US)
    bad = kpi_sums((m_US, y_US), none, found.newest)

    decision = step(canary, replace(found, kpis={**found.kpis, "errors": bad}))

    assert decision.step is Step.ROLL_BACK
    assert "errors +0.0" in decision.reason


def test_a_few_errors_within_the_margin_do_not(canary):
    """0.1% more errors than the incumbent, with a margin of 0.2%: proven to be more, but tolerated."""
    found = sums(canary, hours=25, candidate=100_000, incumbent=100_000)
    m_US = np.zeros((100_000, 5))
    m_US[:, 0] = 5
    y_US = np.zeros_like(m_US)
    y_US[:500, 0] = 1
    few = kpi_sums((m_US, y_US), (m_US, 0 * y_US), found.newest)

    decision = step(canary, replace(found, kpis={**found.kpis, "errors": few}))

    assert decision.readings["errors"].high < 0
    assert decision.step is Step.ADVANCE


def test_an_hour_without_traffic_holds_and_nothing_else(canary):
    """Not even proven harm, or everything else that would go on, changes the share."""
    for found in (sums(canary, hours=25), sums(canary, hours=2, candidate=2000, lift=-0.5)):
        silent = step(canary, found, minutes=61)
        assert silent.step is Step.HOLD
        assert silent.reason == (
            "no data: the newest row of the log is 61 minutes old; expected at most 60"
        )
        assert step(canary, found, minutes=59).step is not Step.HOLD

    none = decide(canary, None, canary.stage_starts[-1] + timedelta(minutes=61))
    soon = decide(canary, None, canary.stage_starts[-1] + timedelta(minutes=1))
    assert (none.step, soon.step) == (Step.HOLD, Step.WAIT)


def test_a_hold_ends_with_its_reason(paths, canary):
    found = sums(canary, hours=2)

    held, _ = watch_rollout(paths, canary, found, found.newest + timedelta(hours=2))
    still, _ = watch_rollout(paths, held, found, found.newest + timedelta(hours=3))
    later = sums(canary, hours=6)
    resumed, decision = watch_rollout(paths, still, later, later.newest)

    assert (held.state, still.seq) == (State.HOLDING, held.seq)
    assert resumed.state is State.CANARY
    assert decision.reason.startswith("no longer so: no data")


def test_what_a_person_holds_only_a_person_resumes(paths, canary):
    operations.hold(paths, ANNA, "holidays")
    held = operations.look(paths)
    found = sums(canary, hours=25)

    waits, decision = watch_rollout(paths, held, found, found.newest)
    assert (waits.state, decision.reason) == (State.HOLDING, "held by anna: holidays")

    harmed = sums(canary, hours=25, candidate=2000, lift=-0.5)
    assert watch_rollout(paths, held, harmed, harmed.newest)[0].state is State.ROLLED_BACK


def test_sums_of_before_the_stage_do_not_advance_it(paths, canary):
    """The log has stopped before the stage began: its numbers are those of another stage."""
    found = sums(canary, hours=25)
    second, _ = watch_rollout(paths, canary, found, found.newest)
    began = second.stage_starts[-1]

    stale = sums(canary, hours=-1 / 60)
    assert stale.newest < began

    assert decide(second, stale, began + timedelta(minutes=30)).step is Step.WAIT
    assert decide(second, stale, began + timedelta(days=3)).step is Step.HOLD


def test_a_wrong_sample_ratio_holds(canary):
    found = step(canary, sums(canary, hours=25, sample_ratio=1001.0))

    assert found.step is Step.HOLD
    assert "400 users of the candidate, 10000 users of the incumbent" in found.reason
    assert "e-value 1e+03" in found.reason


def test_what_cannot_be_computed_holds(canary):
    found = sums(canary, hours=25)
    missing = replace(found, kpis={k: v for k, v in found.kpis.items() if k != "ctr"})
    m_US, y_US = users(400, 0.1, 0, np.random.default_rng(3))
    clickless = kpi_sums((m_US, y_US), (m_US, 0 * y_US), found.newest)

    absent = step(canary, missing)
    zero = step(canary, replace(found, kpis={**found.kpis, "ctr": clickless}))

    assert absent.step is Step.HOLD
    assert absent.reason == "ctr cannot be computed: the log has no sums of it"
    assert zero.step is Step.HOLD
    assert "ctr cannot be computed" in zero.reason
    assert "0 of 2000 for the incumbent" in zero.reason


def test_orders_are_compared_after_their_attribution_window(paths):
    rollout = begun(paths, guardrails=(Kpi.ORDERS_PER_IMPRESSION,), requests={})
    found = sums(rollout, hours=60)
    clicks = found.kpis["ctr"]

    young = replace(found, kpis={"orders_per_impression": clicks})
    ripe = replace(clicks, until=found.newest - timedelta(hours=24))
    old = replace(found, kpis={"orders_per_impression": ripe})
    too_soon = replace(
        sums(rollout, hours=47),
        kpis={"orders_per_impression": replace(ripe, until=now(rollout, 23))},
    )

    assert step(rollout, young).step is Step.HOLD
    assert "later ones may still have orders" in step(rollout, young).reason
    assert step(rollout, old).step is Step.ADVANCE
    assert step(rollout, too_soon).step is Step.WAIT


def test_a_harmed_signal_only_holds(paths):
    rollout = begun(paths, signals=(Kpi.CLICKS_PER_USER,))
    found = sums(rollout, hours=25)
    harmed = sums(rollout, hours=25, candidate=2000, lift=-0.5).kpis["ctr"]

    decision = step(rollout, replace(found, kpis={**found.kpis, "clicks_per_user": harmed}))

    assert decision.step is Step.HOLD
    assert "a signal is harmed: clicks_per_user -46.9%" in decision.reason


def test_a_stage_that_needs_approval_waits_for_it(paths, canary):
    found = sums(canary, hours=25)
    second, _ = watch_rollout(paths, canary, found, found.newest)
    found = sums(second, hours=25, candidate=5000)

    waits = step(second, found)
    assert waits.step is Step.WAIT
    assert waits.reason == "waits: a person's approval: paretoscope rollout approve ramp"

    approved = operations.approve(paths, "ramp", ANNA, "ok")
    assert watch_rollout(paths, approved, found, found.newest)[0].stage.name == "ramp"


def test_without_automatic_steps_people_decide(paths):
    rollout = begun(paths, automatic=Automatic(advance=False, rollback=False))

    harmed = step(rollout, sums(rollout, hours=2, candidate=2000, lift=-0.5))
    passed = step(rollout, sums(rollout, hours=25))

    assert harmed.step is Step.HOLD
    assert harmed.reason.endswith("rollout.automatic.rollback is false")
    assert passed.reason == "waits: a person's approval: paretoscope rollout approve canary-5"


def test_nothing_is_decided_before_and_after(paths):
    waiting = operations.start(paths, gated(), ANNA)
    assert decide(waiting, None, waiting.events[-1].ts).step is Step.NOTHING

    operations.approve(paths, "canary", ANNA, "ok")
    over = operations.roll_back(paths, ANNA, "enough")
    found = sums(over, hours=2, candidate=2000, lift=-0.5)
    after, decision = watch_rollout(paths, over, found, found.newest)
    assert (decision.step, after.seq) == (Step.NOTHING, over.seq)


def test_the_same_sums_are_acted_on_once(paths, canary):
    found = sums(canary, hours=25)

    once, _ = watch_rollout(paths, canary, found, found.newest)
    twice, decision = watch_rollout(paths, canary, found, found.newest)

    assert once.stage.name == twice.stage.name == "canary-5"
    assert twice.seq == once.seq
    assert decision.step is Step.WAIT


def test_every_reason_has_numbers(canary):
    few = {ArmName.CANDIDATE: 10, ArmName.INCUMBENT: 900}
    decisions = [
        step(canary, sums(canary, hours=5)),
        step(canary, sums(canary, hours=25, users=few)),
        step(canary, sums(canary, hours=5, lift=-0.6, candidate=3000)),
        step(canary, sums(canary, hours=25), hours=4),
        step(canary, sums(canary, hours=25, sample_ratio=5e4)),
        decide(canary, None, now(canary, 3)),
    ]

    assert all(any(digit.isdigit() for digit in one.reason) for one in decisions)

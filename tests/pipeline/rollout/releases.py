"""Releases and sums for tests of rollouts."""

from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.core.contracts import Kpi
from pipeline.rollout import operations
from pipeline.rollout.events import Actor
from pipeline.rollout.gates import Gate, GatedPlan, GateEvidence, Outcome
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm, ArmName
from pipeline.rollout.store import Author
from pipeline.rollout.sums import KpiSums, RolloutSums, UserSums
from pipeline.study import RolloutArm, RolloutCandidate, RolloutConfig

ANNA = Author(by=Actor.PERSON, who="anna")
STAGES = ("canary", "canary-5", "ramp", "half", "full")


def arm(preference, model="0"):
    return Arm(model=model * 64, study=None, preference_id=preference, preference=(0.7, 0.3))


def config(**changes):
    values = {"release": "spring", "candidate": RolloutCandidate(preference="p07"), **changes}
    return RolloutConfig(incumbent=RolloutArm(preference="p04"), **values)


def gated(**changes):
    """A plan whose gates were skipped."""
    plan = RolloutPlan(
        config=config(**changes), attribution_hours=24.0, candidate=arm("p07"), incumbent=arm("p04")
    )
    return GatedPlan(plan=plan, gates=tuple(evidence(gate, Outcome.SKIPPED) for gate in Gate))


def evidence(gate, outcome):
    return GateEvidence(gate=gate, outcome=outcome, reason="rollout.gates is null", numbers={})


def begun(paths, **changes):
    """A release in its first stage."""
    operations.start(paths, gated(**changes), ANNA)
    return operations.approve(paths, "canary", ANNA, "looks good")


def users(n, rate, stage, rng, impressions=5):
    """Impressions and clicks of users who differ, all in one stage."""
    m_US = np.zeros((n, len(STAGES)))
    m_US[:, stage] = impressions
    y_US = np.zeros_like(m_US)
    y_US[:, stage] = rng.binomial(impressions, rng.beta(rate * 20, (1 - rate) * 20, n))
    return m_US, y_US


def sums(rollout, *, hours, candidate=400, incumbent=10_000, lift=0.0, **changes):
    """Sums of a log until so many hours after the start of the current stage."""
    rng, stage = np.random.default_rng(1), rollout.index
    newest = rollout.stage_starts[-1] + timedelta(hours=hours)
    new, old = users(candidate, 0.1 * (1 + lift), stage, rng), users(incumbent, 0.1, stage, rng)
    clicks = kpi_sums(new, old, newest)
    none = kpi_sums((new[0], 0 * new[1]), (old[0], 0 * old[1]), newest)
    values = {
        "release": rollout.release,
        "newest": newest,
        "users": {ArmName.CANDIDATE: candidate, ArmName.INCUMBENT: incumbent},
        "kpis": {Kpi.CTR.value: clicks, **dict.fromkeys(("errors", "late", "fallback"), none)},
        "sample_ratio": 1.0,
    }
    return RolloutSums(**(values | changes))


def kpi_sums(new, old, until=datetime(2026, 11, 1, tzinfo=UTC)):
    return KpiSums(candidate=UserSums.of(*new), incumbent=UserSums.of(*old), until=until)

"""What becomes of releases whose true effect is known: simulated rollouts through the product's decisions.

    python benchmarks/rollout.py --write

A shop has 20,000 new users per day with five lists each, of which 10% are clicked; users differ (beta, 20). Up to
half of the users who do not get the candidate are compared with it. The stages are the default ones, approved
in advance; a release that is not in its last stage after 28 days is held. ``--write`` writes
``results/rollout.md``.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median

import numpy as np
from machine import described
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.rollout.decisions.decide import Step, decide
from pipeline.rollout.events import NOTHING_BEFORE
from pipeline.rollout.fold import Rollout
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm, ArmName
from pipeline.rollout.states import State
from pipeline.rollout.sums import KpiSums, RolloutSums, UserSums
from pipeline.study import RolloutArm, RolloutConfig

RESULTS = Path(__file__).parent / "results/rollout.md"

USERS, LISTS, RATE, SPREAD, LONGEST = 20_000, 5, 0.10, 20, 28
LIFTS = (0.05, 0.02, 0.0, -0.02, -0.05, -0.10, -0.20, -0.50)
REFERENCE = {
    0.05: (1.0, 0.0, 8, -1280),
    0.02: (1.0, 0.0, 8, -512),
    0.0: (0.98, 0.02, 8, 0),
    -0.02: (0.55, 0.45, 8, 427),
    -0.05: (0.0, 1.0, 4, 325),
    -0.10: (0.0, 1.0, 3, 301),
    -0.20: (0.0, 1.0, 2, 190),
    -0.50: (0.0, 1.0, 2, 300),
}
"""Share that reaches the last stage, share rolled back, median days and clicks lost, of 200 rollouts by an
independent implementation."""

START = datetime(2026, 11, 1, tzinfo=UTC)
STAGES = RolloutConfig.__dataclass_fields__["stages"].default


@dataclass(frozen=True, slots=True)
class Run:
    """A simulated rollout: how it ended, after how many days, and the clicks that it cost."""

    end: str
    days: int
    lost: float


def plan() -> RolloutPlan:
    """The default stages, with one guardrail."""
    arms = [
        Arm(model="0" * 64, study=None, preference_id=one, preference=(1.0,))
        for one in ("p1", "p0")
    ]
    config = RolloutConfig(
        release="simulated",
        candidate=RolloutArm(preference="p1"),
        incumbent=RolloutArm(preference="p0"),
        guardrails=(Kpi.CTR,),
        requests={},
    )
    return RolloutPlan(config=config, attribution_hours=24.0, candidate=arms[0], incumbent=arms[1])


def begun(of: RolloutPlan) -> Rollout:
    """A rollout in its first stage, with all stages approved."""
    return Rollout(
        plan=of,
        events=(),
        head=NOTHING_BEFORE,
        state=State.CANARY,
        index=0,
        share=of.share_of(0),
        stage_starts=(START,),
        approved=frozenset(stage.name for stage in of.stages),
    )


def of_day(users: int, rate: float, stage: int, rng: np.random.Generator) -> UserSums:
    """The sums of new users on a day of a stage: how many of them click 0, 1, … of their lists."""
    clicks = np.arange(LISTS + 1)
    chances = stats.betabinom.pmf(clicks, LISTS, rate * SPREAD, (1 - rate) * SPREAD)
    counts = rng.multinomial(users, chances / chances.sum())
    n = len(STAGES)
    vector, matrix = np.zeros((6, n)), np.zeros((3, n, n))
    vector[:3, stage] = users, users * LISTS, counts @ clicks
    matrix[:, stage, stage] = users * LISTS**2, LISTS * (counts @ clicks), counts @ clicks**2
    return UserSums(
        users=users,
        users_S=vector[0],
        m_S=vector[1],
        y_S=vector[2],
        mm_SS=matrix[0],
        my_SS=matrix[1],
        yy_SS=matrix[2],
    )


def added(one: UserSums | None, other: UserSums) -> UserSums:
    """The sums of both, whose users are different."""
    if one is None:
        return other
    names = [field.name for field in fields(UserSums)]
    return UserSums(**{name: getattr(one, name) + getattr(other, name) for name in names})


def pooled(sums: UserSums) -> UserSums:
    """The sums as if all stages were one, which ignores that rates and shares change together."""
    return UserSums(
        users=sums.users,
        users_S=sums.users_S.sum(keepdims=True),
        m_S=sums.m_S.sum(keepdims=True),
        y_S=sums.y_S.sum(keepdims=True),
        mm_SS=sums.mm_SS.sum(keepdims=True),
        my_SS=sums.my_SS.sum(keepdims=True),
        yy_SS=sums.yy_SS.sum(keepdims=True),
    )


def simulate(
    of: RolloutPlan,
    lift: float,
    rng: np.random.Generator,
    *,
    trend: float = 1.0,
    pool: bool = False,
) -> Run:
    """One rollout, a look per day; ``trend`` multiplies both arms' rate from day to day."""
    rollout, lost, rate = begun(of), 0.0, RATE
    arms: dict[ArmName, UserSums | None] = dict.fromkeys(ArmName)
    for day in range(1, LONGEST + 1):
        stage = rollout.index or 0
        users = {
            ArmName.CANDIDATE: int(USERS * rollout.share),
            ArmName.INCUMBENT: int(USERS * min(1 - rollout.share, 0.5)),
        }
        rates = {ArmName.CANDIDATE: rate * (1 + lift), ArmName.INCUMBENT: rate}
        lost -= lift * users[ArmName.CANDIDATE] * LISTS * rate
        arms = {arm: added(arms[arm], of_day(users[arm], rates[arm], stage, rng)) for arm in users}
        now = START + timedelta(days=day)
        step = decide(rollout, sums_of(arms, now, pool=pool), now).step
        if step is Step.ROLL_BACK:
            return Run("rolled back", day, lost)
        if step is Step.ADVANCE:
            rollout = replace(
                rollout,
                index=stage + 1,
                state=of.state_of(stage + 1),
                share=of.share_of(stage + 1),
                stage_starts=(*rollout.stage_starts, now),
            )
            if rollout.state is State.FULL:
                return Run("full", day, lost)
        rate *= trend
    return Run("held", LONGEST + 1, lost)


def sums_of(arms: dict[ArmName, UserSums | None], now: datetime, *, pool: bool) -> RolloutSums:
    """What the monitor would say."""
    known = {arm: pooled(sums) if pool else sums for arm, sums in arms.items() if sums is not None}
    clicks = KpiSums(
        candidate=known[ArmName.CANDIDATE], incumbent=known[ArmName.INCUMBENT], until=now
    )
    return RolloutSums(
        release="simulated",
        newest=now,
        users={arm: sums.users for arm, sums in known.items()},
        kpis={Kpi.CTR.value: clicks},
        sample_ratio=1.0,
    )


def rows(rollouts: int) -> Iterator[str]:
    """The table of outcomes by true effect, with the reference in parentheses."""
    of = plan()
    yield "| true change | reaches the last stage | rolled back | held | median days | clicks lost |"
    yield "|---|---|---|---|---|---|"
    for lift in LIFTS:
        rng = np.random.default_rng(7)
        runs = [simulate(of, lift, rng) for _ in range(rollouts)]
        ends, (full, back, days, lost) = Counter(run.end for run in runs), REFERENCE[lift]
        yield (
            f"| {lift:+.0%} | {ends['full'] / rollouts:.3f} ({full:g}) | "
            f"{ends['rolled back'] / rollouts:.3f} ({back:g}) | {ends['held'] / rollouts:.3f} | "
            f"{median(run.days for run in runs):g} ({days}) | {mean(run.lost for run in runs):,.0f} ({lost:,}) |"
        )


def trend_rows(rollouts: int) -> Iterator[str]:
    """Harmless releases while the rate of both arms falls by a tenth per day."""
    yield "| comparison | reaches the last stage | rolled back | held |"
    yield "|---|---|---|---|"
    for name, pool in (("within stages", False), ("all stages together", True)):
        rng = np.random.default_rng(8)
        runs = [simulate(plan(), 0.0, rng, trend=0.9, pool=pool) for _ in range(rollouts)]
        ends = Counter(run.end for run in runs)
        shares = " | ".join(
            f"{ends[end] / rollouts:.3f}" for end in ("full", "rolled back", "held")
        )
        yield f"| {name} | {shares} |"


def report(rollouts: int) -> str:
    """The page of results."""
    began = time.process_time()
    table, trends = list(rows(rollouts)), list(trend_rows(rollouts))
    seconds = time.process_time() - began
    return "\n".join([
        "# Simulated rollouts",
        "",
        ("`python benchmarks/rollout.py --write`: releases with a known effect on the CTR go through the "
        "product's decisions, one look per day ([rollout](../../docs/rollout.md)). 20,000 users per day, five "
        f"lists each, CTR 10% (10,000 clicks per day), {rollouts} rollouts per row. In parentheses: an independent "
        "implementation of the rule."),
        "",
        *table,
        "",
        "Harmless releases while the CTR of both arms falls by a tenth per day, as the share rises:",
        "",
        *trends,
        "",
        f"{seconds:.0f} s of CPU time on {described('numpy', 'scipy')}.",
        "",
    ])  # fmt: skip


def main() -> None:
    """Print or write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=400)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = report(options.rollouts)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

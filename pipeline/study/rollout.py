"""``rollout``: the stages by which a candidate takes over from the incumbent, and what is guarded on the way."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Kpi
from pipeline.core.errors import StudyError
from pipeline.study.experiment import NAME_PATTERN
from pipeline.study.local_path import LocalPath

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]

LARGEST_CANARY = 0.05
"""Share of the users up to which a stage is a canary."""

Margin = Annotated[float, Interval(gt=0, lt=1)]
"""Largest relative loss, such as 0.02 for 2%."""

Requests = Literal["errors", "late", "fallback"]
"""Shares of requests: answered by an error, after the deadline, or with popular items."""

_REQUESTS: dict[Requests, float] = {"errors": 0.002, "late": 0.01, "fallback": 0.01}


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutArm:
    """What is served before the first release: a preference of a study's model.

    Attributes:
        preference: Id of the preference, such as ``p07``.
        study: The study of the project whose model it is; None for this one.
    """

    preference: Annotated[str, Len(1)]
    study: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutCandidate:
    """What is to be served: a preference of a study's model, other rules, or both.

    Attributes:
        preference: Id of the preference, such as ``p07``; None for the model and preference in production.
        study: The study of the project whose model it is; None for this one.
        rules: YAML file with ``rules``, ``filters`` and ``candidates`` as in the section ``serving``: all that
            apply to the candidate's lists. None for the rules in production.
    """

    preference: Annotated[str, Len(1)] | None = None
    study: Name | None = None
    rules: LocalPath | None = None

    def __post_init__(self) -> None:
        if self.preference is None and (self.rules is None or self.study is not None):
            msg = (
                "rollout.candidate: expected a preference, such as {preference: p07}, or the rules that are to "
                "apply to the preference in production, such as {rules: rules.yaml}"
            )
            raise StudyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutStage:
    """A step of the rollout.

    Attributes:
        name: Of the stage.
        share: Share of the users who get the candidate, in steps of 0.0001.
        days: Whole days before the next stage; 0 for a dry run with simulated users.
        users: Users that each arm must have had since the start before the next stage.
        margin: Largest relative loss of a guardrail KPI that must be excluded before the next stage,
            such as 0.05 for 5%; None if it is enough that no harm is proven.
        approval: Whether a person must approve before the stage begins. The first stage always needs it.
    """

    name: Name
    share: Annotated[float, Interval(ge=0.0001, le=1)]
    days: Annotated[int, Interval(ge=0, le=365)] = 1
    users: Annotated[int, Interval(ge=50, le=1_000_000_000)] = 200
    margin: Margin | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OfflineGate:
    """Offline metrics of the candidate, paired with the incumbent's over the test sessions.

    Attributes:
        not_worse: Largest relative loss of each metric that must be excluded.
    """

    not_worse: Annotated[dict[Annotated[str, Len(1)], Margin], Len(1, 20)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CounterfactualGate:
    """A KPI of the candidate, estimated from the finished experiment's log, which must support it.

    Attributes:
        kpi: The KPI.
        not_worse: Largest relative loss that must be excluded.
    """

    kpi: Kpi = Kpi.CTR
    not_worse: Margin


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SimulationGate:
    """Simulated users of the synthetic shop, of which half get the candidate.

    Attributes:
        not_worse: Largest relative loss of each KPI that must be excluded.
        seeds: Number of simulated experiments.
        users: Users in each of them.
    """

    not_worse: Annotated[dict[Kpi, Margin], Len(1, 9)]
    seeds: Annotated[int, Interval(ge=1, le=100)] = 5
    users: Annotated[int, Interval(ge=100, le=1_000_000)] = 4000


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutGates:
    """What the candidate passes before any user gets it.

    Attributes:
        offline: Offline metrics, paired over the test sessions; None skips it, and the events say so.
        counterfactual: A KPI estimated from the finished experiment's log; None skips it.
        simulation: KPIs of simulated users of the synthetic shop; None skips it.
    """

    offline: OfflineGate | None = None
    counterfactual: CounterfactualGate | None = None
    simulation: SimulationGate | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Automatic:
    """What happens without a person.

    Attributes:
        start: A candidate that has passed its gates is proposed; otherwise ``paretoscope rollout start``
            does so. Its first stage waits for approval all the same.
        advance: The next stage begins when its conditions hold; otherwise every stage needs approval.
        rollback: Proven harm rolls back; otherwise it holds.
    """

    start: bool = False
    advance: bool = True
    rollback: bool = True


_LADDER = (
    RolloutStage(name="canary", share=0.01, days=1, users=200),
    RolloutStage(name="canary-5", share=0.05, days=1, users=1000, margin=0.3),
    RolloutStage(name="ramp", share=0.25, days=2, users=5000, margin=0.15, approval=True),
    RolloutStage(name="half", share=0.5, days=4, users=20_000, margin=0.05),
    RolloutStage(name="full", share=1.0, days=7, users=20_000),
)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutConfig:
    """The rollout of a candidate, in stages.

    Attributes:
        release: Name of the release; a new one for every candidate. A model that is trained again is a
            candidate of its own: its name ends with the model's fingerprint.
        salt: Seed of the hash that selects the candidate's users; None for the release's name.
        candidate: What is to be served.
        incumbent: What is served before the first release, of the model that the traffic plan names; None
            for ``experiment.incumbent`` of this study. Later it is what the last release left in production.
        gates: What the candidate passes before any user gets it.
        stages: In order, with rising shares, the last for all users.
        holdback: Share of the users who keep the incumbent until the rollout is settled; 0 leaves the
            last stage without a comparison.
        guardrails: KPIs that the candidate must not lower: proven harm rolls back.
        requests: Shares of requests that the candidate must not raise by more than this absolute
            difference: proven harm rolls back. They are ``errors`` (answered by an error), ``late``
            (after the deadline) and ``fallback`` (popular items); by default 0.002, 0.01 and 0.01.
        signals: KPIs whose proven harm only holds.
        no_data_minutes: Age of the newest row of the log from which there is no data.
        level: One less the error rate of rolling back a harmless release, over all looks.
        automatic: What happens without a person.
    """

    release: Name
    salt: Annotated[str, Len(1)] | None = None
    candidate: RolloutCandidate
    incumbent: RolloutArm | None = None
    gates: RolloutGates = RolloutGates()
    stages: Annotated[tuple[RolloutStage, ...], Len(3, 20)] = _LADDER
    holdback: Annotated[float, Interval(ge=0, le=0.5)] = 0.05
    guardrails: Annotated[tuple[Kpi, ...], Len(1, 9)] = (Kpi.CTR,)
    requests: dict[Requests, Annotated[float, Interval(gt=0, lt=1)]] = Field(
        default_factory=lambda: dict(_REQUESTS)
    )
    signals: tuple[Kpi, ...] = ()
    no_data_minutes: Annotated[float, Interval(ge=1, le=100_000)] = 60.0
    level: Annotated[float, Interval(ge=0.5, lt=1)] = 0.95
    automatic: Automatic = Automatic()

    def __post_init__(self) -> None:
        self._check_unique("stages", [stage.name for stage in self.stages])
        self._check_unique("guardrails and rollout.signals", [*self.guardrails, *self.signals])
        self._check_shares()

    def incumbent_arm(self, default: str | None) -> RolloutArm:
        """The incumbent; ``default`` is ``experiment.incumbent``.

        Raises:
            StudyError: if there is none.
        """
        incumbent = self.incumbent or (RolloutArm(preference=default) if default else None)
        if incumbent is None:
            msg = (
                "rollout.incumbent: required, but missing; name the preference in production there, such as "
                "{preference: p04}, or in experiment.incumbent"
            )
            raise StudyError(msg)
        return incumbent

    def _check_unique(self, key: str, names: Sequence[str]) -> None:
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            msg = f"rollout.{key}: {', '.join(repeated)} more than once; remove the others"
            raise StudyError(msg)

    def _check_shares(self) -> None:
        """Raise unless shares rise from a canary over a ramp to all users."""
        shares = [stage.share for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            msg = f"rollout.stages: the shares {shares} do not rise; expected each above the one before"
            raise StudyError(msg)
        if shares[-1] != 1:
            msg = (
                f"rollout.stages: the last share is {shares[-1]}; expected a last stage with share: 1.0, "
                "else the candidate is never released"
            )
            raise StudyError(msg)
        if shares[-2] <= LARGEST_CANARY or shares[-2] > 1 - self.holdback:
            msg = (
                f"rollout.stages: the share before the last is {shares[-2]}; expected one above "
                f"{LARGEST_CANARY} and at most {1 - self.holdback:g} (1 - rollout.holdback)"
            )
            raise StudyError(msg)
        if shares[0] > LARGEST_CANARY:
            msg = (
                f"rollout.stages: the first share is {shares[0]}; expected a canary of at most "
                f"{LARGEST_CANARY}"
            )
            raise StudyError(msg)

"""The states of a rollout and the transitions between them."""

from enum import StrEnum


class State(StrEnum):
    """Where a rollout is."""

    DRAFT = "draft"
    OFFLINE_PASSED = "offline_passed"
    SIMULATED = "simulated"
    AWAITING_APPROVAL = "awaiting_approval"
    CANARY = "canary"
    RAMP = "ramp"
    HOLDING = "holding"
    FULL = "full"
    SETTLED = "settled"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"

    @property
    def is_live(self) -> bool:
        """Whether users get the candidate, and it may still be rolled back."""
        return self in LIVE

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.OFFLINE_PASSED, State.REJECTED}),
    State.OFFLINE_PASSED: frozenset({State.SIMULATED, State.REJECTED}),
    State.SIMULATED: frozenset({State.AWAITING_APPROVAL, State.REJECTED}),
    State.AWAITING_APPROVAL: frozenset({State.CANARY, State.REJECTED}),
    State.CANARY: frozenset({State.RAMP, State.HOLDING, State.ROLLED_BACK}),
    State.RAMP: frozenset({State.FULL, State.HOLDING, State.ROLLED_BACK}),
    State.HOLDING: frozenset({State.CANARY, State.RAMP, State.ROLLED_BACK}),
    State.FULL: frozenset({State.ROLLED_BACK, State.SETTLED}),
    State.ROLLED_BACK: frozenset(),
    State.REJECTED: frozenset(),
    State.SETTLED: frozenset(),
}
"""The states that may follow each state. Within ``canary`` and ``ramp`` a rollout goes from stage to stage."""

LIVE = frozenset({State.CANARY, State.RAMP, State.HOLDING, State.FULL})
"""The states in which users get the candidate."""

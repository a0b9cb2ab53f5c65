"""Not worse than a margin: the one-sided test that every gate makes."""

import math
from dataclasses import dataclass, replace
from typing import Self

from scipy import stats

from pipeline.rollout.gates import Gate, GateEvidence, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The relative change from the incumbent to the candidate in one quantity.

    Attributes:
        name: Of the quantity.
        log_ratio: log(candidate / incumbent), above 0 where the candidate is better.
        standard_error: Of it.
        margin: Largest relative loss that must be excluded.
    """

    name: str
    log_ratio: float
    standard_error: float
    margin: float

    @property
    def reversed(self) -> Self:
        """The same change in a quantity of which less is better."""
        return replace(self, log_ratio=-self.log_ratio)

    def lower_bound(self, level: float) -> float:
        """One-sided lower bound of the relative change."""
        z = float(stats.norm.ppf(level))
        return math.expm1(self.log_ratio - z * self.standard_error)

    def passes(self, level: float) -> bool:
        """Whether a loss of more than the margin is excluded."""
        return self.lower_bound(level) > -self.margin

    def summary(self, level: float) -> str:
        """All numbers, for the reader."""
        return (
            f"{self.name} {math.expm1(self.log_ratio):+.1%}, at least {self.lower_bound(level):+.1%}; expected at "
            f"least {-self.margin:+.1%}"
        )


def evidence_of(gate: Gate, changes: list[Change], *, level: float) -> GateEvidence:
    """The evidence of a gate that passes if every change does."""
    failed = [one for one in changes if not one.passes(level)]
    return GateEvidence(
        gate=gate,
        outcome=Outcome.FAILED if failed else Outcome.PASSED,
        reason="; ".join(one.summary(level) for one in failed or changes),
        numbers={
            one.name: {
                "change": math.expm1(one.log_ratio),
                "at_least": one.lower_bound(level),
                "margin": one.margin,
            }
            for one in changes
        },
    )


def failed(gate: Gate, reason: str) -> GateEvidence:
    """The evidence of a gate that cannot be decided, and therefore fails."""
    return GateEvidence(gate=gate, outcome=Outcome.FAILED, reason=reason, numbers={})

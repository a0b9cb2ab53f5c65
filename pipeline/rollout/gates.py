"""Gates before the first user: their evidence, and the plan that only exists if all of them passed."""

from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from models.strict import STRICT, first_problem
from pipeline.artifacts.storage import StudyPaths, atomic_folder, write_json
from pipeline.core.errors import DataError, QualityError
from pipeline.rollout.plan import RolloutPlan

PLAN = "rollout_plan"
PLAN_FILE = "rollout_plan.json"
EVIDENCE_FILE = "evidence.json"

T = TypeVar("T")


class Gate(StrEnum):
    """What a candidate passes before users get it, in order."""

    OFFLINE = "offline"
    COUNTERFACTUAL = "counterfactual"
    SIMULATION = "simulation"

    @property
    def asset(self) -> str:
        """The asset with its evidence."""
        return f"candidate_gate_{self.value}"


class Outcome(StrEnum):
    """Of a gate."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GateEvidence:
    """What a gate found.

    Attributes:
        gate: Its name.
        outcome: Of the gate; it is skipped only if ``rollout.gates`` says so.
        reason: Why, with numbers.
        numbers: All numbers, as plain values.
    """

    gate: Gate
    outcome: Outcome
    reason: str
    numbers: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GatedPlan:
    """A plan with the evidence of its gates, none of which failed.

    Attributes:
        plan: Of the release.
        gates: In order.
    """

    plan: RolloutPlan
    gates: tuple[GateEvidence, ...]

    def __post_init__(self) -> None:
        failed = [
            f"{one.gate}: {one.reason}" for one in self.gates if one.outcome is Outcome.FAILED
        ]
        if failed:
            msg = (
                f"release {self.plan.config.release} does not pass: {'; '.join(failed)}. No {PLAN} is written; "
                "choose another candidate, or change rollout.gates and say why"
            )
            raise QualityError(msg)
        if [one.gate for one in self.gates] != list(Gate):
            msg = f"the gates are {[one.gate.value for one in self.gates]}; expected {[one.value for one in Gate]}"
            raise DataError(msg)


_GATED = TypeAdapter(GatedPlan)
_EVIDENCE = TypeAdapter(tuple[RolloutPlan, GateEvidence])


def write_gated_plan(gated: GatedPlan, paths: StudyPaths) -> None:
    """Write the plan of a release whose gates have passed."""
    with atomic_folder(paths.artifact(PLAN)) as folder:
        write_json(folder / PLAN_FILE, _GATED.dump_python(gated, mode="json"))


def read_gated_plan(paths: StudyPaths) -> GatedPlan:
    """The plan of the release to start.

    Raises:
        MissingArtifact: if there is none.
        DataError: if it is damaged.
    """
    return _read(_GATED, paths.require(PLAN, PLAN_FILE), PLAN)


def write_evidence(evidence: GateEvidence, plan: RolloutPlan, paths: StudyPaths) -> None:
    """Write what a gate found of a candidate."""
    with atomic_folder(paths.artifact(evidence.gate.asset)) as folder:
        write_json(folder / EVIDENCE_FILE, _EVIDENCE.dump_python((plan, evidence), mode="json"))


def read_evidence(gate: Gate, paths: StudyPaths) -> tuple[RolloutPlan, GateEvidence]:
    """What a gate found, and of which candidate.

    Raises:
        MissingArtifact: if it was not checked.
        DataError: if it is damaged.
    """
    return _read(_EVIDENCE, paths.require(gate.asset, EVIDENCE_FILE), gate.asset)


def _read(adapter: TypeAdapter[T], file: Path, asset: str) -> T:
    try:
        return adapter.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else first_problem(error)
        command = f"dagster asset materialize --select {asset}"
        raise DataError(
            f"{file} is corrupt: {problem}. Re-create it with: {command}", command
        ) from error

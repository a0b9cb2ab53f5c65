"""The steps of the gates' assets: each writes its evidence, then passes or refuses."""

import logging
import shutil
from contextlib import suppress
from functools import partial

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, QualityError
from pipeline.rollout.events import Actor
from pipeline.rollout.gates import (
    PLAN,
    Gate,
    GatedPlan,
    GateEvidence,
    Outcome,
    read_evidence,
    write_evidence,
    write_gated_plan,
)
from pipeline.rollout.operations import start
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.proposal import proposal_line
from pipeline.rollout.store import Author, RolloutRefused
from pipeline.steps.result import StepResult
from pipeline.steps.rollout_gates.counterfactual import check_counterfactual
from pipeline.steps.rollout_gates.offline import check_offline
from pipeline.steps.rollout_gates.plan import make_rollout_plan
from pipeline.steps.rollout_gates.simulation import check_simulation
from pipeline.study import Study

_AUTHOR = Author(by=Actor.SENSOR, who="rollout_plan")
_log = logging.getLogger(__name__)


def check_gate(gate: Gate, study: Study, paths: StudyPaths) -> StepResult[GateEvidence]:
    """Check the candidate at one gate. A rollout plan of before is void, and removed.

    Raises:
        StudyError: if ``rollout`` is null, or the gate cannot be applied to the study.
        QualityError: if the candidate does not pass; its evidence is written all the same.
    """
    shutil.rmtree(paths.artifact(PLAN), ignore_errors=True)
    plan = make_rollout_plan(study, paths)
    found = _evidence(gate, plan, study, paths)
    write_evidence(found, plan, paths)
    if found.outcome is Outcome.FAILED:
        msg = (
            f"candidate {plan.candidate.preference_id} fails the {gate} gate: {found.reason}. Choose another "
            f"candidate, or change rollout.gates.{gate} and say why"
        )
        raise QualityError(msg)
    return StepResult(
        asset=gate.asset,
        value=found,
        location=paths.artifact(gate.asset),
        details={"outcome": found.outcome.value, "reason": found.reason, "numbers": found.numbers},
    )


check_candidate_offline = partial(check_gate, Gate.OFFLINE)
check_candidate_counterfactual = partial(check_gate, Gate.COUNTERFACTUAL)
check_candidate_simulation = partial(check_gate, Gate.SIMULATION)


def write_rollout_plan(study: Study, paths: StudyPaths) -> StepResult[GatedPlan]:
    """Write the plan of a release whose gates have passed; propose it if ``rollout.automatic.start`` is true.

    Raises:
        MissingArtifact: if a gate has not been checked.
        DataError: if the evidence of a gate is of another candidate.
        QualityError: if a gate failed; nothing is written.
    """
    plan = make_rollout_plan(study, paths)
    gates = list[GateEvidence]()
    for gate in Gate:
        checked, found = read_evidence(gate, paths)
        if checked != plan:
            command = "dagster asset materialize --select 'candidate_gate_offline*'"
            msg = f"{gate.asset} is of another candidate, model or section rollout; run: {command}"
            raise DataError(msg, command)
        gates.append(found)
    gated = GatedPlan(plan=plan, gates=tuple(gates))
    write_gated_plan(gated, paths)
    if plan.config.automatic.start:
        with suppress(RolloutRefused):  # the line says why
            start(paths, gated, _AUTHOR)
    line = proposal_line(paths, gated)
    _log.warning(line)
    return StepResult(
        asset=PLAN,
        value=gated,
        location=paths.artifact(PLAN),
        details={
            "release": plan.config.release,
            **{f"{one.gate} gate": f"{one.outcome}: {one.reason}" for one in gates},
            "next": line,
        },
    )


def _evidence(gate: Gate, plan: RolloutPlan, study: Study, paths: StudyPaths) -> GateEvidence:
    gates = plan.config.gates
    match gate:
        case Gate.OFFLINE if gates.offline:
            return check_offline(gates.offline, plan, study, paths)
        case Gate.COUNTERFACTUAL if gates.counterfactual:
            return check_counterfactual(gates.counterfactual, plan, study, paths)
        case Gate.SIMULATION if gates.simulation:
            return check_simulation(gates.simulation, plan, study, paths)
        case _:
            reason = f"rollout.gates.{gate} is null"
            return GateEvidence(gate=gate, outcome=Outcome.SKIPPED, reason=reason, numbers={})

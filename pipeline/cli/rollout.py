"""The rollout of a candidate. What stops it needs the events only, and imports little."""

import getpass
import os
import socket
from datetime import UTC, datetime

from pipeline.artifacts.storage import StudyPaths
from pipeline.cli.context import open_project, study_file
from pipeline.cli.output import print_result
from pipeline.core.errors import StudyError
from pipeline.rollout import operations
from pipeline.rollout.events import Actor, event_dict
from pipeline.rollout.fold import Rollout
from pipeline.rollout.gates import read_gated_plan
from pipeline.rollout.served import served_dict
from pipeline.rollout.store import Author, RolloutRefused, verify_rollouts
from pipeline.rollout.text import status_lines


def rollout(*, operation: str, stage: str | None, reason: str | None, json: bool) -> int:
    """Run one operation on the rollout of the study."""
    if (stage is None) == (operation == "approve"):
        needs = "needs the name of a stage" if operation == "approve" else "takes no stage"
        raise StudyError(f"{operation} {needs}; such as: paretoscope rollout approve canary")
    _, paths = open_project()
    if operation == "verify":
        return _verify(paths, json=json)
    if operation == "watch":
        return _watch(paths, json=json)
    if operation == "preview":
        return _preview(json=json)
    why = (reason or f"paretoscope rollout {operation}").encode("utf-8", "replace").decode()
    found = _run(operation, paths, stage or "", why)
    value = {"rollout": served_dict(found.served()), "events": list(map(event_dict, found.events))}
    return print_result(value, status_lines(found, datetime.now(UTC)), json=json)


def _run(operation: str, paths: StudyPaths, stage: str, reason: str) -> Rollout:
    match operation:
        case "start":
            return _start(paths)
        case "approve":
            return operations.approve(paths, stage, _person(), reason)
        case "hold":
            return operations.hold(paths, _person(), reason)
        case "resume":
            return operations.resume(paths, _person(), reason)
        case "rollback":
            return operations.roll_back(paths, _person(), reason)
        case _:
            return operations.look(paths)


def _start(paths: StudyPaths) -> Rollout:
    """Start the release of ``rollout_plan``, if ``params.yaml`` still describes it."""
    study, _ = study_file().load()
    gated = read_gated_plan(paths)
    if study.rollout is None or not gated.plan.is_of(study.rollout):
        msg = (
            f"rollout_plan is of another section rollout than {paths.params_file.name} has now; re-create it with: "
            "dagster asset materialize --select 'candidate_gate_offline*'"
        )
        raise RolloutRefused(msg)
    return operations.start(paths, gated, _person())


def _verify(paths: StudyPaths, *, json: bool) -> int:
    """Print what is wrong with the events; returns 1 if something is."""
    problems = verify_rollouts(paths)
    lines = problems or ["all events follow from each other, and rollout.json from the last"]
    print_result({"problems": problems}, lines, json=json)
    return 1 if problems else 0


def _watch(paths: StudyPaths, *, json: bool) -> int:
    """Decide on the next step, and do it."""
    from pipeline.steps.rollout_watch import watch_release  # noqa: PLC0415 - takes a second

    now = datetime.now(UTC)
    found, decision = watch_release(paths, now)
    value = {
        "step": decision.step,
        "reason": decision.reason,
        "evidence": decision.evidence,
        "rollout": served_dict(found.served()),
    }
    lines = [f"{decision.step}: {decision.reason}", "", *status_lines(found, now)]
    return print_result(value, lines, json=json)


def _preview(*, json: bool) -> int:
    """Show what the release of ``params.yaml`` would change."""
    from pipeline.results.serialization import to_dict  # noqa: PLC0415
    from pipeline.steps.rollout_gates.preview import (  # noqa: PLC0415 - torch takes a second
        preview_lines,
        preview_release,
    )

    found = preview_release(*study_file().load())
    return print_result(to_dict(found), preview_lines(found), json=json)


def _person() -> Author:
    """Who types the command."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without names
        name = f"user {os.getuid()}"
    return Author(by=Actor.PERSON, who=f"{name}@{socket.gethostname()}")

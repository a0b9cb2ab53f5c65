"""Runs every check of the doctor."""

from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.doctor.artifacts import check_artifacts, check_raw_data
from pipeline.doctor.capacity import check_resources
from pipeline.doctor.environment import check_environment
from pipeline.doctor.finding import Finding, Status, ok, run_check
from pipeline.study import PARAMS_FILE, load_study


def run_checks(root: Path) -> list[Finding]:
    """The findings for the project at ``root``; with invalid parameters, those of the environment."""
    findings = run_check("environment", lambda: check_environment(root))
    try:
        study = load_study(root / PARAMS_FILE)
    except StudyError as error:
        fix = f"fix {PARAMS_FILE}; docs/study.md describes every key"
        return [*findings, Finding(PARAMS_FILE, Status.ERROR, str(error), fix)]
    paths = StudyPaths.of(study, root)
    return [
        *findings,
        ok(PARAMS_FILE, f"study {study.study.name}, all keys valid"),
        *run_check("raw data", lambda: check_raw_data(study, paths)),
        *run_check("artifacts", lambda: check_artifacts(study, paths)),
        *run_check("resources", lambda: check_resources(study, paths)),
    ]

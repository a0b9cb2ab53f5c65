"""Runs every check of the doctor."""

from pipeline.artifacts.project import StudyFile
from pipeline.core.errors import StudyError
from pipeline.doctor.addresses import check_addresses
from pipeline.doctor.artifacts import check_artifacts, check_raw_data
from pipeline.doctor.capacity import check_resources
from pipeline.doctor.environment import check_environment
from pipeline.doctor.finding import Finding, Status, ok, run_check


def run_checks(file: StudyFile) -> list[Finding]:
    """The findings for a study; with invalid parameters, those of the environment."""
    findings = run_check("environment", lambda: check_environment(file.root))
    try:
        study, paths = file.load()
    except StudyError as error:
        fix = f"fix {file.label}; docs/study.md describes every key"
        return [*findings, Finding(file.label, Status.ERROR, str(error), fix)]
    return [
        *findings,
        ok(file.label, f"study {study.study.name}, all keys valid"),
        *run_check("addresses", lambda: check_addresses(study)),
        *run_check("raw data", lambda: check_raw_data(study, paths)),
        *run_check("artifacts", lambda: check_artifacts(study, paths)),
        *run_check("resources", lambda: check_resources(study, paths)),
    ]

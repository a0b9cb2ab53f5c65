"""Everything the doctor looks at, in order."""

from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.doctor.artifacts import check_artifacts, check_raw_data
from pipeline.doctor.capacity import check_resources
from pipeline.doctor.environment import check_environment
from pipeline.doctor.finding import Finding, Status, ok, run_check
from pipeline.study import PARAMS_FILE, load_study


def run_checks(root: Path) -> list[Finding]:
    """Look at the project at ``root``; what depends on a study that cannot be read is left out."""
    found = run_check("environment", lambda: check_environment(root))
    try:
        study = load_study(root / PARAMS_FILE)
    except StudyError as error:
        remedy = f"correct {PARAMS_FILE}; docs/study.md explains every key"
        return [*found, Finding(PARAMS_FILE, Status.ERROR, str(error), remedy)]
    paths = StudyPaths.of(study, root)
    return [
        *found,
        ok(PARAMS_FILE, f"study {study.study.name}, every key known"),
        *run_check("raw data", lambda: check_raw_data(study, paths)),
        *run_check("artifacts", lambda: check_artifacts(study, paths)),
        *run_check("resources", lambda: check_resources(study, paths)),
    ]

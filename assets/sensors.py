"""A sensor that takes in new files of a brought log, and reports on them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import dagster as dg

from assets.jobs import ingest_and_report_job
from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.experiment.log.log_files import log_files, log_folder
from pipeline.study import PARAMS_FILE, LogSource, load_study

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job=ingest_and_report_job,
    minimum_interval_seconds=60,
    description="Every minute: if a file of experiment.log_path is new, changed or gone, takes the log in "
    "and makes the report anew. For experiment.source: files.",
)
def new_log_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run where the log's files are others than at the run before.

    The cursor holds how often that was so, and names, sizes and times of the files; a file counts as
    soon as it has its name (docs/experiment-log.md).
    """
    try:
        files = _state_of(_files())
    except USER_ERRORS as error:
        return dg.SkipReason(str(error))
    before: dict[str, Any] = json.loads(context.cursor or '{"changes": 0, "files": null}')
    if files == before["files"]:
        return dg.SkipReason("the log has no other files than when it was last taken in")
    if runs := context.instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY), limit=1):
        return dg.SkipReason(
            f"there are new files, but run {runs[0].run_id} ({runs[0].job_name}) is under way; they "
            "are taken in when it has ended"
        )
    changes = before["changes"] + 1
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{changes}-{files}")],
        cursor=json.dumps({"changes": changes, "files": files}),
    )


def _files() -> list[Path]:
    """The files of the log that the study brings.

    Raises:
        ParetoscopeError: if it brings none, or has no traffic plan to read it by.
    """
    root = find_project_root()
    study = load_study(root / PARAMS_FILE)
    if study.experiment.source is not LogSource.FILES:
        msg = f"experiment.source is {study.experiment.source}; only the files of a log are waited for"
        raise MissingArtifact(msg)
    paths = StudyPaths.of(study, root)
    paths.require("traffic_plan")
    return log_files(log_folder(study.experiment, paths))


def _state_of(files: list[Path]) -> str:
    """Names, sizes and times of change, as one short text."""
    known = [(file.name, (about := file.stat()).st_size, about.st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

"""A sensor that ingests new files of an external log, and updates the report."""

import hashlib
import json
from typing import Any

import dagster as dg

from assets.jobs import ingest_and_report_job
from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.experiment.log.log_files import LogFile
from pipeline.experiment.log.log_folder import study_log
from pipeline.study import PARAMS_FILE, LogSource, load_study

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job=ingest_and_report_job,
    minimum_interval_seconds=60,
    description="Every minute: if a file of experiment.log_path is new, changed or missing, ingests the "
    "log and updates the report. For experiment.source: files.",
)
def new_log_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Request one run when the log's files differ from those of the previous run.

    The cursor holds the number of changes, and a hash of the files' names, sizes and times. A file
    is complete when it has its final name (docs/experiment-log.md).
    """
    try:
        files = _fingerprint(_files())
    except USER_ERRORS as error:
        return dg.SkipReason(str(error))
    before: dict[str, Any] = json.loads(context.cursor or '{"changes": 0, "files": null}')
    if files == before["files"]:
        return dg.SkipReason("the log's files have not changed since the last ingestion")
    if runs := context.instance.get_runs(dg.RunsFilter(statuses=_ACTIVE), limit=1):
        return dg.SkipReason(
            f"there are new files, but run {runs[0].run_id} ({runs[0].job_name}) is active; they are "
            "ingested when it has ended"
        )
    changes = before["changes"] + 1
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{changes}-{files}")],
        cursor=json.dumps({"changes": changes, "files": files}),
    )


def _files() -> tuple[LogFile, ...]:
    """The files of the study's external log.

    Raises:
        ParetoscopeError: if the study has none, or no traffic plan.
    """
    root = find_project_root()
    study = load_study(root / PARAMS_FILE)
    if study.experiment.source is not LogSource.FILES:
        msg = f"experiment.source is {study.experiment.source}; the sensor watches files only"
        raise MissingArtifact(msg)
    paths = StudyPaths.of(study, root)
    paths.require("traffic_plan")
    return study_log(study.experiment, paths).files


def _fingerprint(files: tuple[LogFile, ...]) -> str:
    """A hash of names, sizes and times of modification."""
    known = [(file.source, (stat := file.path.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

"""The sensor of a study that ingests new files of an external log, and updates the report."""

import hashlib
import json
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from assets.resources import ROLLOUT_TAG, STUDY_TAG
from pipeline.artifacts.project import StudyFile, loaded_study
from pipeline.core.asset_graph import group_prefix
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.experiment.log.log_files import LogFile
from pipeline.experiment.log.reading.log_folder import study_log
from pipeline.study import LogSource

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def new_log_files(prefix: str, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """The sensor of the study with this prefix, which starts ``job``."""

    @dg.sensor(
        name=f"{group_prefix(prefix)}new_log_files",
        job=job,
        minimum_interval_seconds=60,
        description="Every minute: if a file of experiment.log_path is new, changed or missing, "
        "ingests the log and updates the report. For experiment.source: files.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return _request_run(context, prefix)

    return sensor


def _request_run(
    context: dg.SensorEvaluationContext, prefix: str
) -> dg.SensorResult | dg.SkipReason:
    """Request one run when the log's files differ from those of the previous run.

    The cursor holds the number of changes, and a hash of the files' names, sizes and times. A file
    is complete when it has its final name (docs/experiment-log.md).
    """
    try:
        study = loaded_study(prefix)
    except MissingArtifact as error:
        return dg.SkipReason(str(error))
    try:
        files = _fingerprint(_files(study))
    except USER_ERRORS as error:
        return dg.SkipReason(study.adapt(str(error)))
    before: dict[str, Any] = json.loads(context.cursor or '{"changes": 0, "files": null}')
    if files == before["files"]:
        return dg.SkipReason("the log's files have not changed since the last ingestion")
    if run := _active_run(context.instance, study):
        return dg.SkipReason(
            f"there are new files, but run {run.run_id} ({run.job_name}) is active; they are "
            "ingested when it has ended"
        )
    changes = before["changes"] + 1
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{prefix}{changes}-{files}")],
        cursor=json.dumps({"changes": changes, "files": files}),
    )


def _active_run(instance: dg.DagsterInstance, study: StudyFile) -> dg.DagsterRun | None:
    """A run of the study that has not ended; one that does not say its study may be of any.

    Steps of a rollout are left out: they write none of the artifacts.
    """
    name = study.name()
    runs = instance.get_runs(dg.RunsFilter(statuses=ACTIVE))
    writing = (one for one in runs if ROLLOUT_TAG not in one.tags)
    return next((one for one in writing if one.tags.get(STUDY_TAG, name) == name), None)


def _files(file: StudyFile) -> tuple[LogFile, ...]:
    """The files of a study's external log.

    Raises:
        ParetoscopeError: if the study has none, or no traffic plan.
    """
    study, paths = file.load(touched=("experiment", "compute"))
    if study.experiment.source is not LogSource.FILES:
        msg = f"experiment.source is {study.experiment.source}; the sensor watches files only"
        raise MissingArtifact(msg)
    if study.compute.warehouse is not None:
        msg = "the log is in a warehouse (compute.warehouse); the sensor watches files only"
        raise MissingArtifact(msg)
    paths.require("traffic_plan")
    return study_log(study.experiment, paths).files


def _fingerprint(files: tuple[LogFile, ...]) -> str:
    """A hash of names, sizes and times of modification."""
    known = [(file.source, (stat := file.path.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

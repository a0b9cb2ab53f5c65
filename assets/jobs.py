"""The jobs of a study, each a part of the chain, and their schedule."""

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from assets.loaded_study import LoadedStudy
from assets.resources import STUDY_TAG
from pipeline.core.asset_graph import ROLLOUT, group_prefix, resource_key

RETRAIN = "retrain"
"""The job that trains again, after the study's prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyJobs:
    """The jobs of a study; those of a further study are named after it, such as ``spring__study``.

    Attributes:
        everything: The whole chain.
        retrain: The part that trains the model, with the gates of a candidate; None if the study trains none.
        ingest_and_report: The part that follows from the log's files.
        weekly: The schedule of the whole chain, or of ``retrain`` where a rollout decides what is served.
    """

    everything: UnresolvedAssetJobDefinition
    retrain: UnresolvedAssetJobDefinition | None
    ingest_and_report: UnresolvedAssetJobDefinition
    weekly: dg.ScheduleDefinition


def study_jobs(study: LoadedStudy) -> StudyJobs:
    """The jobs and the schedule of a study."""
    everything = _job(
        "study",
        "The whole chain, from the pinned raw data to the report.",
        _selection("regression_report", study).upstream(),
        study,
    )
    retrain = _retrain_job(study) if "pareto_front" in study.graph else None
    ingest_and_report = _job(
        "ingest_and_report",
        "From the experiment's log files to the report; model and traffic plan stay as they are. "
        "The job to run during an experiment.",
        _selection("experiment_log_files", study).downstream()
        & _selection("regression_report", study).upstream(),
        study,
    )
    return StudyJobs(
        everything=everything,
        retrain=retrain,
        ingest_and_report=ingest_and_report,
        weekly=_weekly(study, retrain if retrain and study.has_rollout else everything),
    )


def _retrain_job(study: LoadedStudy) -> UnresolvedAssetJobDefinition:
    """What is served stays: the traffic plan is left as it is, and a candidate waits for a person."""
    front = _selection("pareto_front", study).upstream()
    if not study.has_rollout:
        text = "The model and its Pareto front from the pinned raw data, without an experiment."
        return _job(RETRAIN, text, front, study)
    gates = dg.AssetSelection.assets(*(key for name in ROLLOUT for key in study.keys(name)))
    text = (
        "The model from the pinned raw data, the gates of the candidate, and the plan of its rollout if it "
        "passes them. What is served stays until a person approves."
    )
    return _job(RETRAIN, text, front | gates, study)


def _weekly(study: LoadedStudy, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{group_prefix(study.prefix)}retrain_weekly",
        job=job,
        cron_schedule="0 3 * * 1",
        execution_timezone="UTC",
        description="Every Monday at 03:00 UTC, on the pinned data: the whole study; with a section rollout the job "
        "retrain, which leaves what is served as it is.",
    )


def _selection(asset: str, study: LoadedStudy) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*study.keys(asset))


def _job(
    name: str, description: str, selection: dg.AssetSelection, study: LoadedStudy
) -> UnresolvedAssetJobDefinition:
    # without overrides; the launchpad shows where to write them
    config = {"resources": {resource_key(study.prefix): {"config": {"overrides": {}}}}}
    tags = {STUDY_TAG: study.parameters.study.name} if study.parameters else {}
    return dg.define_asset_job(
        name=f"{group_prefix(study.prefix)}{name}",
        selection=selection,
        config=config,
        tags=tags,
        description=description,
    )

"""The one ``Definitions``: assets, jobs, schedules, sensors and resources of every study."""

from collections.abc import Iterable

import dagster as dg

from assets.chain import study_assets
from assets.executor import configured_executor
from assets.jobs import study_jobs
from assets.loaded_study import LoadedStudy
from assets.messages import message_sensors
from assets.resources import StudyResource, study_resource
from assets.rollout import rollout_definitions
from assets.sensors import new_log_files
from pipeline.artifacts.project import loaded_studies
from pipeline.core.asset_graph import resource_key
from pipeline.core.errors import MissingArtifact


def _studies() -> list[LoadedStudy]:
    """The studies of the project; outside one, a default study without parameters."""
    try:
        return [LoadedStudy.of(file) for file in loaded_studies()]
    except MissingArtifact:
        return [LoadedStudy.empty()]


def _definitions(study: LoadedStudy) -> dg.Definitions:
    jobs = study_jobs(study)
    resource = study_resource(study.prefix) if study.prefix else StudyResource()
    chain = dg.Definitions(
        assets=study_assets(study),
        jobs=[job for job in (jobs.everything, jobs.retrain, jobs.ingest_and_report) if job],
        schedules=[jobs.weekly],
        sensors=[new_log_files(study.prefix, jobs.ingest_and_report)],
        resources={resource_key(study.prefix): resource},
    )
    return dg.Definitions.merge(chain, rollout_definitions(study))


def build_definitions(studies: Iterable[LoadedStudy]) -> dg.Definitions:
    """Everything that Dagster shows of these studies."""
    return dg.Definitions.merge(
        *(_definitions(study) for study in studies),
        dg.Definitions(sensors=message_sensors(), executor=configured_executor()),
    )


defs = build_definitions(_studies())

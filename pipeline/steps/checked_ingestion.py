"""Ingestion of a log with the quality rules of the database, for a study and for ``validate-log``."""

from functools import partial
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.ingest import Ingestion, ingest
from pipeline.experiment.log.reading.log_folder import study_log
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.quality.expectation import CheckResult
from pipeline.quality.runner import check_experiment_log, enforce
from pipeline.study import Study


def ingest_study_log(
    study: Study, paths: StudyPaths, plan: Plan, database: Path
) -> tuple[Ingestion, list[CheckResult]]:
    """Bring a database up to date with the study's log, and check it before it replaces the old one.

    Raises:
        LogError: as :func:`pipeline.experiment.log.ingest.ingest` and
            :func:`pipeline.experiment.warehouse.ingest.ingest_warehouse` do.
        QualityError: if the database breaks a blocking rule; it then stays as it was.
    """
    section, checks = study.experiment, list[CheckResult]()
    limits = {"max_faulty_share": section.max_faulty_share}
    if study.compute.warehouse is None:
        update = partial(ingest, study_log(section, paths).files)
    else:
        from pipeline.experiment.warehouse.ingest import ingest_warehouse  # noqa: PLC0415 - files need no Ibis here

        update = partial(ingest_warehouse, study.compute.warehouse)
    result = update(
        plan,
        database,
        rules=LogRules.of(section),
        check=lambda fresh: checks.extend(enforce(check_experiment_log(fresh, limits))),
    )
    return result, checks

"""Ingestion of log files with the quality rules of the database, for a study and for ``validate-log``."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.ingest import Ingestion, ingest
from pipeline.experiment.log.log_files import LogFile
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.quality.expectation import CheckResult
from pipeline.quality.runner import check_experiment_log, enforce
from pipeline.study import ExperimentConfig


def ingest_files(
    files: Sequence[LogFile], plan: Plan, database: Path, section: ExperimentConfig
) -> tuple[Ingestion, list[CheckResult]]:
    """Bring a database up to date with files, and check it before it replaces the old one.

    Raises:
        LogError: as :func:`pipeline.experiment.log.ingest.ingest` does.
        QualityError: if the database breaks a blocking rule; it then stays as it was.
    """
    checks: list[CheckResult] = []
    limits = {"max_faulty_share": section.max_faulty_share}
    result = ingest(
        files,
        plan,
        database,
        rules=LogRules.of(section),
        check=lambda fresh: checks.extend(enforce(check_experiment_log(fresh, limits))),
    )
    return result, checks

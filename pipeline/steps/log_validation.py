"""Validate a log: what a study would make of it, without changing the study."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from pipeline.artifacts.objects.data_copies import download_data
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.experiment.design.external_variants import (
    Plan,
    check_control,
    load_plan,
    variant_plan,
    variants_of,
)
from pipeline.experiment.log.ingest import Ingestion
from pipeline.experiment.log.reading.log_folder import study_log
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.quality.expectation import CheckResult
from pipeline.results.diagnostics import LostOutcomes
from pipeline.steps.checked_ingestion import ingest_study_log
from pipeline.study import LogSource, RegressionConfig, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class LogValidation:
    """Result of a validation.

    Attributes:
        log: Number of usable impressions, and of rejected rows by reason.
        kpis: The table ``group_kpis``.
        checks: Results of the quality rules.
        lost_outcomes: The diagnostic that blocks verdicts if rows are lost.
        ignored: Files of the folder that are not read.
    """

    log: Ingestion
    kpis: pl.DataFrame
    checks: tuple[CheckResult, ...]
    lost_outcomes: LostOutcomes
    ignored: tuple[str, ...]


def validate_log(study: Study, paths: StudyPaths) -> LogValidation:
    """Ingest a log under a study's rules into a temporary database.

    Raises:
        StudyError: if ``experiment.source`` is not ``files``, or a hypothesis cannot be tested.
        ParetoscopeError: as for the ingestion of the study.
    """
    section = study.experiment
    if section.source is not LogSource.FILES:
        msg = (
            f"experiment.source = {section.source}: there is no log to validate; set source: files "
            "and log_path (docs/experiment-log.md)"
        )
        raise StudyError(msg)
    download_data(study, paths.root)
    variants = None
    if section.variants is None:
        plan = load_plan(paths)
    else:
        variants = variants_of(section, paths.root)
        check_control(variants, study.regression.advice.control)
        plan = variant_plan(variants, section)
    with TemporaryDirectory(prefix="paretoscope-") as scratch:
        database = Path(scratch) / "log.duckdb"
        log, checks = ingest_study_log(study, paths, plan, database)
        kpis = _group_kpis(database, plan)
        lost = lost_outcomes(read_row_fates(database))
    if variants is not None:
        _check_hypotheses(study.regression, variants, kpis)
    ignored = () if study.compute.warehouse else study_log(section, paths).ignored
    return LogValidation(
        log=log, kpis=kpis, checks=tuple(checks), lost_outcomes=lost, ignored=ignored
    )


def _group_kpis(database: Path, plan: Plan) -> pl.DataFrame:
    from pipeline.experiment.kpis.aggregate import aggregate  # noqa: PLC0415 - a refused log need not wait for Ibis

    return aggregate(database, plan).group_kpis


def _check_hypotheses(
    section: RegressionConfig, variants: pl.DataFrame, kpis: pl.DataFrame
) -> None:
    from pipeline.inference.hypotheses.external_variants import check_hypotheses  # noqa: PLC0415 - nor for statsmodels

    check_hypotheses(section, variants, kpis)

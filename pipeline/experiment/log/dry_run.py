"""Dry run of an ingestion: what a study would make of its log, without changing the study."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.experiment.design.external_variants import load_plan, read_variants, variant_plan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.ingest import Ingestion, ingest
from pipeline.experiment.log.log_files import log_files, log_folder
from pipeline.experiment.log.row_validation import LogRules
from pipeline.study import ExperimentConfig, LogSource


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result of a dry run.

    Attributes:
        log: Number of usable impressions, and of rejected rows by reason.
        kpis: The table ``group_kpis``.
    """

    log: Ingestion
    kpis: pl.DataFrame


def inspect_log(section: ExperimentConfig, paths: StudyPaths) -> Inspection:
    """Ingest a log under a study's rules into a temporary database.

    Raises:
        StudyError: if ``experiment.source`` is not ``files``.
        ParetoscopeError: as for the ingestion of the study.
    """
    if section.source is not LogSource.FILES:
        msg = (
            f"experiment.source = {section.source}: there is no log to validate; set source: files "
            "and log_path (docs/experiment-log.md)"
        )
        raise StudyError(msg)
    if section.variants is None:
        plan = load_plan(paths)
    else:
        plan = variant_plan(read_variants(paths.root / section.variants), section)
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as folder:
        database = Path(folder) / "log.duckdb"
        files = log_files(log_folder(section, paths))
        log = ingest(files, plan, database, rules=LogRules.of(section))
        return Inspection(log=log, kpis=aggregate(database, plan).group_kpis)

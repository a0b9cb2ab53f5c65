"""What a study would make of a log that is brought, before anything is made of it."""

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
    """What would become of a log.

    Attributes:
        log: Usable impressions, and rejected rows by reason.
        kpis: The table ``group_kpis``.
    """

    log: Ingestion
    kpis: pl.DataFrame


def inspect_log(section: ExperimentConfig, paths: StudyPaths) -> Inspection:
    """Read a log under a study's rules, and leave the study's folder as it is.

    Raises:
        StudyError: if the study brings no log.
        ParetoscopeError: as the ingestion of the study would.
    """
    if section.source is not LogSource.FILES:
        msg = (
            f"experiment.source = {section.source}: there is no log to read; set source: files and "
            "log_path (docs/experiment-log.md)"
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

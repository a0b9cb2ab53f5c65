"""The experiment's log as files: parquet in the contract of :data:`pipeline.schemas.EXPOSURES`.

A company's serving layer writes these files; so does the simulator. One file a day, complete when
it has its name.
"""

from pathlib import Path

import polars as pl

from pipeline.errors import LogError
from pipeline.schemas import EXPOSURES
from pipeline.storage import StudyPaths
from pipeline.study import ExperimentSection


def write_log(exposures: pl.DataFrame, folder: Path) -> list[Path]:
    """Write one file a day (UTC) into ``folder``, which exists; rows in order of time."""
    day = pl.from_epoch(pl.col("ts"), time_unit="ms").dt.strftime("%Y-%m-%d")
    ordered = EXPOSURES.check(exposures).sort("ts", "exposure").with_columns(day=day)
    files: list[Path] = []
    for (name,), rows in sorted(ordered.partition_by("day", as_dict=True).items()):
        file = folder / f"exposures-{name}.parquet"
        rows.drop("day").write_parquet(file)
        files.append(file)
    return files


def log_folder(section: ExperimentSection, paths: StudyPaths) -> Path:
    """Where the log's files lie: the brought folder, or the simulator's."""
    if section.log_path is not None:
        return paths.root / section.log_path
    return paths.require("experiment_log_files")


def log_files(folder: Path) -> list[Path]:
    """The log's files in order of name.

    Raises:
        LogError: if there is none.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        msg = f"no *.parquet file in {folder}; experiment.log_path must name the log's folder"
        raise LogError(msg)
    return files

"""Every table of a study as a frame, by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from pipeline.artifacts.storage import ASSET_PATHS, DATABASE, StudyPaths, read_table
from pipeline.core.asset_graph import ASSET_GRAPH
from pipeline.core.errors import MissingArtifact
from pipeline.evaluation.scoring import SCORES
from pipeline.experiment.kpis.aggregate import open_tables
from pipeline.experiment.log.database import has_rows

LISTS = "preference_lists"
LOG = "experiment_log"

_SEVERAL_FILES = {SCORES, "experiment_log_files"}
"""Assets that are not one file per table."""


def study_tables(paths: StudyPaths) -> dict[str, Callable[[], pl.DataFrame]]:
    """The tables that exist, by name, each with the function that reads it.

    ``preference_scores`` and ``preference_lists`` are those of all preferences;
    ``experiment_log`` is the ingested log, one row per impression.
    """
    found: dict[str, Callable[[], pl.DataFrame]] = {}
    for asset in ASSET_GRAPH:
        if asset not in _SEVERAL_FILES:
            for file in sorted(paths.artifact(asset).glob("*.parquet")):
                found[file.stem] = partial(read_table, file)
        elif asset == SCORES and (folders := _score_folders(paths)):
            found[SCORES] = partial(_of_preferences, folders, "targets.parquet")
            found[LISTS] = partial(_of_preferences, folders, "lists.parquet")
    if (database := paths.artifact(DATABASE)).exists():
        found[LOG] = partial(_impressions, database)
    return found


def read_study_table(paths: StudyPaths, name: str) -> pl.DataFrame:
    """One table of a study.

    Raises:
        MissingArtifact: if it does not exist, with the command that creates it or what exists.
        DataError: if its file is damaged.
    """
    tables = study_tables(paths)
    if name in tables:
        return tables[name]()
    if name == LOG:
        paths.require(DATABASE)
    elif name in ASSET_GRAPH and name not in ASSET_PATHS and not paths.artifact(name).exists():
        paths.require(name, f"{name}.parquet")
    msg = (
        f"{paths.name} has no table {name!r}; expected one of {', '.join(sorted(tables)) or 'none'}"
        f"{'' if name in ASSET_GRAPH else '. Run the step that creates it'}"
    )
    raise MissingArtifact(msg)


def _score_folders(paths: StudyPaths) -> list[Path]:
    """The folders of all preferences, each followed by its other cells."""
    return sorted(file.parent for file in paths.artifact(SCORES).rglob("targets.parquet"))


def _of_preferences(folders: list[Path], file: str) -> pl.DataFrame:
    """One file of every preference, with the preference as its first column."""
    return pl.concat(
        read_table(folder / file).select(pl.lit(folder.name).alias("preference_id"), pl.all())
        for folder in folders
    )


def _impressions(database: Path) -> pl.DataFrame:
    with open_tables(database) as connection:
        if not has_rows(connection.con):
            msg = "the log is in a warehouse (compute.warehouse), and no row leaves it; query it there"
            raise MissingArtifact(msg)
        return connection.table("impressions").to_polars()

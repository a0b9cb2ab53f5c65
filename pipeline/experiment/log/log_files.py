"""The files of the experiment log: their tables, formats and columns.

The serving endpoint, another serving system or the simulator writes them. A file is complete once it
has its final name, and the name determines its table: ``clicks…`` and ``orders…`` are events,
``users…`` user covariates, any other file has impressions. docs/experiment-log.md is the contract.
"""

from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from pipeline.datasets.io.blocks import decompressed_suffix, is_compressed
from pipeline.study import ExperimentConfig

OUTCOMES = ("clicked", "ordered", "units")
"""Outcome columns of an impression, unless clicks and orders are in separate files."""

REVENUE = "revenue"
"""Optional column of impressions or orders: revenue as an integer in the currency's smallest unit, so
that sums are exact."""

CLICK_WITHOUT_IMPRESSION = "click without impression"
ORDER_WITHOUT_CLICK = "order without click"
"""Rejection reasons of events whose impression or click is missing, which indicates lost data."""
REPEATED_CLICK = "repeated click on an impression"
"""Rejection reason of the second and later clicks on an impression."""

PRE_PERIOD_COUNTS = ("impressions", "clicks", "orders", "units", REVENUE)
"""Covariates of a user: counts and value from before the experiment."""


class LogTable(StrEnum):
    """A table of the experiment log; its files are named after it."""

    IMPRESSIONS = "impressions"
    CLICKS = "clicks"
    ORDERS = "orders"
    USERS = "users"
    CONFIRMATIONS = "shown"
    """Written by the serving endpoint to a folder of its own; not ingested."""

    @property
    def is_of_events(self) -> bool:
        """Whether its rows are outcomes of impressions."""
        return self in {LogTable.CLICKS, LogTable.ORDERS}


COLUMNS: dict[LogTable, dict[str, Any]] = {
    LogTable.IMPRESSIONS: {**IMPRESSIONS.columns, "item": pl.String, REVENUE: pl.Int64},
    LogTable.CLICKS: dict.fromkeys(("impression", "user", "item"), pl.String) | {"ts": pl.Int64},
    LogTable.ORDERS: dict.fromkeys(("impression", "user", "item"), pl.String)
    | {"ts": pl.Int64, "units": pl.Int32, REVENUE: pl.Int64},
    LogTable.USERS: {
        **dict.fromkeys(("user", "segment"), pl.String),
        **dict.fromkeys(PRE_PERIOD_COUNTS, pl.Int64),
    },
}
"""All columns of each table. ``item`` and the ``user`` of an event are read only with a column mapping
(``experiment.columns``); the log contract does not have them."""

REQUIRED: dict[LogTable, tuple[str, ...]] = {
    LogTable.IMPRESSIONS: tuple(IMPRESSIONS.columns),
    LogTable.CLICKS: ("impression", "ts"),
    LogTable.ORDERS: ("impression", "ts", "units"),
    LogTable.USERS: ("user",),
}
"""Columns that the log contract requires of each table."""


class LogFormat(Enum):
    """A file format; the value describes it to the user."""

    PARQUET = "parquet"
    CSV = "CSV (UTF-8, one header, comma, the same number of fields in every row)"
    JSON_LINES = "JSON lines (UTF-8, one object per line)"

    @property
    def is_text(self) -> bool:
        """Whether fields are text that must be parsed."""
        return self is not LogFormat.PARQUET


_FORMATS = {
    ".parquet": LogFormat.PARQUET,
    ".csv": LogFormat.CSV,
    ".jsonl": LogFormat.JSON_LINES,
    ".ndjson": LogFormat.JSON_LINES,
}

EXTERNAL_PROVENANCE = {
    "origin": "real",
    "how": "The log comes from files; impressions and outcomes were recorded by your own system.",
}
"""Provenance of a log from files, for the report."""


def write_log(impressions: pl.DataFrame, folder: Path) -> list[Path]:
    """Write impressions to an existing folder, as :func:`write_table` does."""
    return write_table(LogTable.IMPRESSIONS, IMPRESSIONS.validate(impressions), folder)


def write_table(table: LogTable, rows: pl.DataFrame, folder: Path) -> list[Path]:
    """Write one file per day (UTC) to an existing folder; rows are sorted by time."""
    day = pl.from_epoch(pl.col("ts"), time_unit="ms").dt.strftime("%Y-%m-%d")
    ordered = rows.sort("ts", "impression").with_columns(day=day)
    files: list[Path] = []
    for (name,), part in sorted(ordered.partition_by("day", as_dict=True).items()):
        file = folder / f"{table}-{name}.parquet"
        part.drop("day").write_parquet(file)
        files.append(file)
    return files


def log_folder(section: ExperimentConfig, paths: StudyPaths) -> Path:
    """The folder of the log files: ``experiment.log_path``, or the simulator's."""
    if section.log_path is not None:
        return paths.root / section.log_path
    return paths.require("experiment_log_files")


def log_files(folder: Path) -> list[Path]:
    """The log files in a folder, sorted by name.

    Raises:
        LogError: if there is none.
    """
    files = sorted(file for file in folder.glob("*") if _is_log_file(file))
    if not files:
        msg = (
            f"no log file in {folder}; expected files with the suffix {', '.join(_FORMATS)} (text "
            "files also with .gz or .zst). Set experiment.log_path to the folder of the log"
        )
        raise LogError(msg)
    return files


def _is_log_file(file: Path) -> bool:
    found = _FORMATS.get(decompressed_suffix(file))
    return found is not None and (found.is_text or not is_compressed(file))


def format_of(file: Path) -> LogFormat:
    """The format of a log file, by its name."""
    return _FORMATS[decompressed_suffix(file)]


def table_of(file: Path) -> LogTable:
    """The table of a log file, by its name."""
    for table in (LogTable.CLICKS, LogTable.ORDERS, LogTable.USERS):
        if file.name.startswith(table):
            return table
    return LogTable.IMPRESSIONS

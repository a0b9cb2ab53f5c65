"""The experiment's log as files: which there are, and what each of them holds.

A company's serving layer writes these files; so does the simulator. A file is complete when it has
its name, and its name says what it holds: ``clicks…`` and ``orders…`` are events, ``users…`` what was
known of users before, any other is of impressions. docs/experiment-log.md is the contract.
"""

from enum import Enum
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from pipeline.core.frame_contract import Contract
from pipeline.datasets.io.blocks import decompressed_suffix, is_compressed
from pipeline.study import ExperimentConfig

OUTCOMES = ("clicked", "ordered", "units")
"""What an impression's row says of what came of it, unless clicks and orders have files of their own."""

REVENUE = "revenue"
"""A column that impressions or orders may have: what the pieces brought, a whole number of the
currency's smallest unit (cents), so that sums are exact."""

CLICK_WITHOUT_IMPRESSION = "click without impression"
ORDER_WITHOUT_CLICK = "order without click"
"""Why an event is set aside that belongs to nothing that was logged: something was lost."""
FURTHER_CLICK = "repeated click on an impression"
"""Why a click is set aside that its impression was clicked without."""

LOGGED_CLICKS = Contract(
    name="clicks",
    row="one click on an exposed list",
    columns={"impression": pl.String, "ts": pl.Int64},
)

LOGGED_ORDERS = Contract(
    name="orders",
    row="one order that came of an exposed list",
    columns={"impression": pl.String, "ts": pl.Int64, "units": pl.Int32},
)


LOGGED_USERS = Contract(
    name="users",
    row="what was known of one user before the experiment",
    columns={"user": pl.String},
)

BEFORE = ("impressions", "clicks", "orders", "units", REVENUE)
"""What a user may have been shown, and have done, before the experiment."""


class LogFormat(Enum):
    """How a file of the log is written; the value says it to the user."""

    PARQUET = "parquet"
    CSV = "CSV (UTF-8, one header, comma, every row as many fields)"
    JSON_LINES = "JSON lines (UTF-8, an object a line)"

    @property
    def is_text(self) -> bool:
        """Whether every field is a text that is still to be read."""
        return self is not LogFormat.PARQUET


_FORMATS = {
    ".parquet": LogFormat.PARQUET,
    ".csv": LogFormat.CSV,
    ".jsonl": LogFormat.JSON_LINES,
    ".ndjson": LogFormat.JSON_LINES,
}


class LogTable(Enum):
    """What a file of the log holds; the value is its contract."""

    IMPRESSIONS = IMPRESSIONS
    CLICKS = LOGGED_CLICKS
    ORDERS = LOGGED_ORDERS
    USERS = LOGGED_USERS

    @property
    def is_of_events(self) -> bool:
        """Whether its rows are what came of impressions."""
        return self in {LogTable.CLICKS, LogTable.ORDERS}

    @property
    def contract(self) -> Contract:
        """Its columns."""
        return self.value


COLUMNS: dict[LogTable, dict[str, Any]] = {
    LogTable.IMPRESSIONS: {**IMPRESSIONS.columns, "item": pl.String, REVENUE: pl.Int64},
    LogTable.CLICKS: {**LOGGED_CLICKS.columns, "user": pl.String, "item": pl.String},
    LogTable.ORDERS: {
        **LOGGED_ORDERS.columns,
        "user": pl.String,
        "item": pl.String,
        REVENUE: pl.Int64,
    },
    LogTable.USERS: {
        **LOGGED_USERS.columns,
        "segment": pl.String,
        **dict.fromkeys(BEFORE, pl.Int64),
    },
}
"""All that a log may say. Only one that was not written for this project (``experiment.columns``) says
what was shown or bought (``item``), and whose an event is instead of the impression it came of."""

BROUGHT = {
    "origin": "real",
    "how": "The log was brought as files; what users saw and did was recorded by your own system.",
}
"""What a reader of the report must know about where such a log comes from."""


def write_log(impressions: pl.DataFrame, folder: Path) -> list[Path]:
    """Write one file a day (UTC) into ``folder``, which exists; rows in order of time."""
    day = pl.from_epoch(pl.col("ts"), time_unit="ms").dt.strftime("%Y-%m-%d")
    ordered = IMPRESSIONS.validate(impressions).sort("ts", "impression").with_columns(day=day)
    files: list[Path] = []
    for (name,), rows in sorted(ordered.partition_by("day", as_dict=True).items()):
        file = folder / f"impressions-{name}.parquet"
        rows.drop("day").write_parquet(file)
        files.append(file)
    return files


def log_folder(section: ExperimentConfig, paths: StudyPaths) -> Path:
    """Where the log's files lie: the brought folder, or the simulator's."""
    if section.log_path is not None:
        return paths.root / section.log_path
    return paths.require("experiment_log_files")


def log_files(folder: Path) -> list[Path]:
    """The log's files in order of name.

    Raises:
        LogError: if there is none.
    """
    files = sorted(file for file in folder.glob("*") if _is_of_the_log(file))
    if not files:
        msg = (
            f"no file in {folder} ends in {', '.join(_FORMATS)} (text files also with .gz or .zst "
            "behind); experiment.log_path must name the log's folder"
        )
        raise LogError(msg)
    return files


def _is_of_the_log(file: Path) -> bool:
    found = _FORMATS.get(decompressed_suffix(file))
    return found is not None and (found.is_text or not is_compressed(file))


def format_of(file: Path) -> LogFormat:
    """How one of the log's files is written, by its name."""
    return _FORMATS[decompressed_suffix(file)]


def table_of(file: Path) -> LogTable:
    """What a file holds, by its name."""
    for table in (LogTable.CLICKS, LogTable.ORDERS, LogTable.USERS):
        if file.name.startswith(table.contract.name):
            return table
    return LogTable.IMPRESSIONS

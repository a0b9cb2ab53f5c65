"""The files of the experiment log: their tables, formats and columns.

The serving endpoint, another serving system or the simulator writes them. A file is complete once it
has its final name. docs/experiment-log.md is the contract; :mod:`pipeline.experiment.log.reading.log_folder`
finds the files and says which table each has.
"""

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.frame_contract import Contract

OUTCOMES = ("clicked", "ordered", "units")
"""Outcome columns of an impression, unless clicks and orders are in separate files."""

REVENUE = "revenue"
"""Optional column of impressions or orders: revenue as an integer in the currency's smallest unit, so
that sums are exact."""

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


EXPLORED_COLUMNS: dict[str, Any] = {"explored": pl.Boolean, "propensity": pl.Float64}
"""Optional columns of impressions: whether the list was drawn at random, and then its probability."""

ARM = "arm"
"""Optional column of impressions: the arm that served a list outside the groups, whose ``group`` is null."""


class ArmName(StrEnum):
    """What a user outside the groups is served."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"


TIMEOUT, ERROR = "model timeout", "model error"
"""Two of the reasons for a fallback in the endpoint's log: the model was late, or failed."""

SCOPE_COLUMNS: dict[str, Any] = {**EXPLORED_COLUMNS, ARM: pl.String}
"""Optional columns that leave an impression out of the experiment."""

EVENT = "event"
"""Optional column of clicks and orders: the id that its sender gave to the event. An event that is sent
again, perhaps to another server, has the same one and counts once."""

FREE_COLUMNS = frozenset({*SCOPE_COLUMNS, EVENT})
"""Columns that some files of a table may have, and others not."""

COLUMNS: dict[LogTable, dict[str, Any]] = {
    LogTable.IMPRESSIONS: {**IMPRESSIONS.columns, "item": pl.String, REVENUE: pl.Int64}
    | SCOPE_COLUMNS,
    LogTable.CLICKS: dict.fromkeys(("impression", "user", "item", EVENT), pl.String)
    | {"ts": pl.Int64},
    LogTable.ORDERS: dict.fromkeys(("impression", "user", "item", EVENT), pl.String)
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
    CSV = "CSV (UTF-8, one header, one separator, the same number of fields in every row)"
    JSON = "JSON (UTF-8, one object per line, or an array of objects)"

    @property
    def is_text(self) -> bool:
        """Whether fields are text that must be parsed."""
        return self is not LogFormat.PARQUET


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A file of the log.

    Attributes:
        path: Where it is.
        source: Its path in the log's folder, by which messages and the database name it.
        table: Its table.
        format: Its format.
    """

    path: Path
    source: str
    table: LogTable
    format: LogFormat


LIST_COLUMNS: dict[str, Any] = {
    "session": pl.List(pl.String),
    "items": pl.List(pl.String),
    "clicked_item": pl.String,
    "model": pl.String,
}
"""Optional columns of impressions: the clicks so far, oldest first; the list that was shown, by position;
the clicked item (null without a click; in a log with files of clicks their ``item``); the version of the
model. They are not ingested; :mod:`pipeline.experiment.log.reading.shown_lists` reads them."""

DRAW_COLUMNS: dict[str, Any] = {
    "position_propensities": pl.List(pl.Float64),
    "temperature": pl.Float64,
    "candidates": pl.Int64,
}
"""Optional columns of explored impressions, which are not ingested: P(item | the items above it) of each
position, whose product is the propensity; temperature and number of candidates of the Plackett–Luce draw."""

_MODEL_DIGITS = 12

LISTED_IMPRESSIONS = Contract(
    name="listed_impressions",
    row=IMPRESSIONS.row,
    columns={**IMPRESSIONS.columns, **LIST_COLUMNS},
)
"""As ``impressions``, with what was shown."""

CLICKED_IMPRESSIONS = Contract(
    name="clicked_impressions",
    row=IMPRESSIONS.row,
    columns={
        name: dtype
        for name, dtype in IMPRESSIONS.columns.items()
        if name not in {"ordered", "units"}
    },
)
"""As ``impressions``, of a shop without orders."""

EXTERNAL_PROVENANCE = {
    "origin": "real",
    "how": "The log comes from files; impressions and outcomes were recorded by your own system.",
}
"""Provenance of a log from files, for the report."""


def write_log(impressions: pl.DataFrame, folder: Path) -> list[Path]:
    """Write impressions to an existing folder, as :func:`write_table` does.

    Those of a shop without orders have neither ``ordered`` nor ``units``; :data:`LIST_COLUMNS`,
    :data:`EXPLORED_COLUMNS` and :data:`DRAW_COLUMNS` are optional.
    """
    contract = IMPRESSIONS if OUTCOMES[1] in impressions.columns else CLICKED_IMPRESSIONS
    optional = LIST_COLUMNS | EXPLORED_COLUMNS | DRAW_COLUMNS
    listed = {name: optional[name] for name in optional if name in impressions.columns}
    contract = replace(contract, columns={**contract.columns, **listed})
    return write_table(LogTable.IMPRESSIONS, contract.validate(impressions), folder)


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


def model_version(fingerprint: str) -> str:
    """The version of a model in the log: the first digits of its checkpoint's fingerprint."""
    return fingerprint[:_MODEL_DIGITS]

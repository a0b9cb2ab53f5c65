"""``compute``: where sessions are prepared, and where the sums of the experiment are computed."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from models.strict import STRICT
from pipeline.core.errors import StudyError
from pipeline.study.experiment import ExperimentConfig, LogSource

_TABLE_NAME = re.compile(r"[^.\s`\"']+([.][^.\s`\"']+){0,2}")


def _table(name: str) -> str:
    if _TABLE_NAME.fullmatch(name) is None:
        problem = (
            "expected the name of a table or view without quotes, such as impressions or shop.impressions; for a "
            "name with spaces, dots or quotes of its own, make a view"
        )
        raise PydanticCustomError("table", "{problem}", {"problem": problem})
    return name


_Table = Annotated[str, AfterValidator(_table)]


class SessionsBackend(StrEnum):
    """An engine that prepares sessions."""

    SPARK = "spark"


class WarehouseBackend(StrEnum):
    """An engine of :mod:`ibis`; all but Spark (``pyspark``) by the name that Ibis has for it."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    BIGQUERY = "bigquery"
    DATABRICKS = "databricks"
    SNOWFLAKE = "snowflake"
    TRINO = "trino"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WarehouseConfig:
    """``compute.warehouse``: an experiment log that is in a warehouse; see docs/how-to/scale.md.

    The address, with user and password, is read from PARETOSCOPE_WAREHOUSE_URL; that of Spark is its master.

    Attributes:
        backend: The engine: ``duckdb``, ``postgres`` and ``spark`` are tested. Others start if a short test at the
            start finds their arithmetic to be exact.
        impressions: The table or view of the impressions, such as ``shop.impressions``, with the columns of
            docs/experiment-log.md.
        users: The table or view of the users' data from before the experiment; None if there is none.
    """

    backend: WarehouseBackend
    impressions: _Table
    users: _Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ComputeConfig:
    """Where sessions are prepared, and where the sums of the experiment are computed.

    Attributes:
        sessions: The engine that prepares the sessions; None for this machine. The address of Spark's master is
            read from PARETOSCOPE_SPARK_MASTER. The sessions are the same.
        warehouse: The warehouse that has the experiment log; None for log files, which this machine reads.
    """

    sessions: SessionsBackend | None = None
    warehouse: WarehouseConfig | None = None


def check_log_place(experiment: ExperimentConfig, compute: ComputeConfig) -> None:
    """Raise StudyError if a key of the log contradicts its source or its place."""
    source, of_own = experiment.source, experiment.source is LogSource.FILES
    if compute.warehouse is None and of_own != (experiment.log_path is not None):
        msg = (
            f"experiment.source = {source} and experiment.log_path = {experiment.log_path} are "
            "inconsistent: set log_path if and only if the source is 'files'"
        )
        raise StudyError(msg)
    if compute.warehouse is not None and not of_own:
        msg = (
            f"compute.warehouse has a log of your own, but experiment.source = {source}; set "
            "experiment.source: files, or compute.warehouse: null"
        )
        raise StudyError(msg)
    external = {"columns": experiment.columns, "variants": experiment.variants}
    given = [key for key, value in external.items() if value is not None]
    if given and not of_own:
        msg = (
            f"experiment.{given[0]} describes a log of your own, but experiment.source = "
            f"{source}; set source: files and log_path"
        )
        raise StudyError(msg)
    of_files = [
        key for key in ("log_path", "columns", "files", "subfolders") if getattr(experiment, key)
    ]
    if compute.warehouse is not None and of_files:
        msg = (
            f"experiment.{of_files[0]} describes log files, but compute.warehouse is set; remove one of the two. "
            "A view in the warehouse renames columns and converts times"
        )
        raise StudyError(msg)
    if compute.warehouse is not None and compute.warehouse.users == compute.warehouse.impressions:
        msg = (
            f"compute.warehouse.users = {compute.warehouse.users} is the table of impressions; name a table or view "
            "with one row per user, or null"
        )
        raise StudyError(msg)

"""``compute``: where the sums of the experiment are computed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT

_TABLE = Annotated[str, Field(pattern=r"^[^.\s]+([.][^.\s]+){0,2}$")]


class WarehouseBackend(StrEnum):
    """An engine of :mod:`ibis`, by the name that Ibis has for it."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    BIGQUERY = "bigquery"
    CLICKHOUSE = "clickhouse"
    DATABRICKS = "databricks"
    SNOWFLAKE = "snowflake"
    TRINO = "trino"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WarehouseConfig:
    """``compute.warehouse``: an experiment log that is in a warehouse; see docs/how-to/scale.md.

    The address, with user and password, is read from PARETOSCOPE_WAREHOUSE_URL.

    Attributes:
        backend: The engine: ``duckdb`` and ``postgres`` are tested. Others start if a short test at the
            start finds their arithmetic to be exact.
        impressions: The table or view of the impressions, such as ``shop.impressions``, with the columns of
            docs/experiment-log.md.
        users: The table or view of the users' data from before the experiment; None if there is none.
    """

    backend: WarehouseBackend
    impressions: _TABLE
    users: _TABLE | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ComputeConfig:
    """Where the sums of the experiment are computed.

    Attributes:
        warehouse: The warehouse that has the experiment log; None for log files, which this machine reads.
    """

    warehouse: WarehouseConfig | None = None

"""The log's table in the warehouse, with the contract's columns and the fate of every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import polars as pl
from ibis.backends import BaseBackend

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from pipeline.core.file_content import did_you_mean
from pipeline.core.labels import counted
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.log_files import COLUMNS, OUTCOMES, REQUIRED, LogTable
from pipeline.experiment.log.reasons import DUPLICATE_IMPRESSION, DUPLICATE_USER
from pipeline.experiment.log.validation.row_validation import LogRules, rejection_sql
from pipeline.experiment.log.validation.user_covariates import check_segments
from pipeline.experiment.warehouse.connection import find_table
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.experiment.warehouse.row_rules import rejection_reason
from pipeline.study.compute import WarehouseConfig

_UNREAD = {"item"}
"""Columns that only events need, which must be in the impressions here."""

_TYPES: dict[Any, tuple[str, str]] = {
    pl.String: ("string", "text"),
    pl.Boolean: ("boolean", "boolean"),
    pl.Float64: ("float64", "a floating-point number"),
    pl.Int32: ("int64", "an integer"),
    pl.Int64: ("int64", "an integer"),
}
"""The type that an engine computes with, and what it is called in messages."""

_UNITS = {
    "ts": " (ts in milliseconds since 1970 UTC)",
    "revenue": " (revenue in the smallest unit of the currency)",
}

_COVARIATES = COLUMNS[LogTable.USERS]

_OPTIONAL = set(COLUMNS[LogTable.IMPRESSIONS]) - set(IMPRESSIONS.columns) | {"ordered", "units"}


@dataclass(frozen=True, slots=True)
class StagedLog:
    """The rows of a log with their ``reason`` (null if valid), materialised in the warehouse.

    Later steps read these copies, so a table that grows meanwhile does not matter.

    Attributes:
        impressions: The columns of the contract that sums need.
        users: Covariates of users; no row if the log has none.
        columns: The columns that the log's impressions have.
    """

    impressions: Any
    users: Any
    columns: tuple[str, ...]


def stage_log(
    connection: BaseBackend, config: WarehouseConfig, plan: Plan, rules: LogRules
) -> StagedLog:
    """Copy the log within the warehouse, and find the reason of each row that is not used.

    Raises:
        LogError: if a table or a column is missing or of a wrong type, which of two duplicates comes first is
            not clear, or there are too many segments.
    """
    table, columns = _read_table(connection, LogTable.IMPRESSIONS, config.impressions)
    case, parameters = rejection_sql(LogTable.IMPRESSIONS, plan, rules, columns=columns)
    rows = table.mutate(reason=rejection_reason(table, case, parameters))
    order = ("ts", "user", "clicked", "ordered", "units", "revenue", "group")
    staged = _mark_duplicates(rows, "impression", order, DUPLICATE_IMPRESSION)
    staged = materialise(staged.select("impression", "reason", *order))
    _check_duplicates(staged, config.impressions)
    if config.users is None:
        known = {name: ibis.literal(None, _TYPES[dtype][0]) for name, dtype in _COVARIATES.items()}
        nobody = materialise(staged.limit(0).select("reason", **known))
        return StagedLog(staged, nobody, columns)
    return StagedLog(staged, _stage_users(connection, config.users, plan, rules), columns)


def _stage_users(connection: BaseBackend, name: str, plan: Plan, rules: LogRules) -> Any:
    table, columns = _read_table(connection, LogTable.USERS, name)
    case, parameters = rejection_sql(LogTable.USERS, plan, rules, columns=columns)
    rows = table.mutate(reason=rejection_reason(table, case, parameters))
    order = [column for column in _COVARIATES if column != "user"]
    staged = materialise(_mark_duplicates(rows, "user", order, DUPLICATE_USER))
    valid = staged.filter(staged.reason.isnull() | (staged.reason == DUPLICATE_USER))
    several = valid.group_by("user").agg(n=valid.segment.nunique())
    unclear = int(several.filter(several.n > 1).count().to_pyarrow().as_py())
    if unclear:
        msg = (
            f"{name} has several segments for {counted(unclear, 'user')}; which one counts would depend on the "
            "engine. Keep one row per user"
        )
        raise LogError(msg)
    check_segments(
        int(staged.filter(staged.reason.isnull()).segment.nunique().to_pyarrow().as_py())
    )
    return staged


def _read_table(connection: BaseBackend, table: LogTable, name: str) -> tuple[Any, tuple[str, ...]]:
    """A table with all columns of the contract, null where the log has none, and the names of its own."""
    key = f"compute.warehouse.{table}"
    found = find_table(connection, name, key)
    schema: Mapping[str, Any] = dict(found.schema().items())
    known = {column: dtype for column, dtype in COLUMNS[table].items() if column not in _UNREAD}
    required = [column for column in REQUIRED[table] if column not in _OPTIONAL]
    missing = [column for column in required if column not in schema]
    if missing:
        absent = ", ".join(f"{one}{did_you_mean(one, schema)}" for one in missing)
        msg = (
            f"{name} has no column {absent}; it has {', '.join(schema)}. Name a view with the columns of "
            f"docs/experiment-log.md in {key}"
        )
        if set(missing) & set(OUTCOMES):
            msg += (
                ". Tables of clicks and orders are not attributed in a warehouse: the view must have clicked, "
                "ordered and units of each impression; or export the tables to files (experiment.log_path)"
            )
        raise LogError(msg)
    columns = tuple(column for column in known if column in schema)
    if wrong := [
        f"{column} is {schema[column]}, expected {_TYPES[known[column]][1]}{_UNITS.get(column, '')}"
        for column in columns
        if not _has_type(schema[column], known[column])
    ]:
        msg = f"{name}: {'; '.join(wrong)}. Cast them in a view, and name it in {key}"
        raise LogError(msg)
    casts = {
        column: found[column].cast(_TYPES[dtype][0])
        if column in columns
        else ibis.literal(None, _TYPES[dtype][0])
        for column, dtype in known.items()
    }
    return found.select(wrong_field=ibis.literal(None, "string"), **casts), columns


def _has_type(found: Any, expected: Any) -> bool:
    match expected:
        case pl.String:
            return found.is_string()
        case pl.Boolean:
            return found.is_boolean()
        case pl.Float64:
            return found.is_numeric()
        case _:
            return found.is_integer()


def _mark_duplicates(rows: Any, key: str, order: Sequence[str], reason: str) -> Any:
    """Give every valid row but the first of its key a reason."""
    first = [ibis.asc(rows[name], nulls_first=False) for name in order]
    is_valid = rows.reason.isnull()
    number = ibis.row_number().over(group_by=[rows[key], is_valid], order_by=first)
    numbered = rows.mutate(copy=number)
    is_copy = numbered.reason.isnull() & (numbered.copy > 0)
    return numbered.mutate(reason=is_copy.ifelse(reason, numbered.reason)).drop("copy")


def _check_duplicates(staged: Any, name: str) -> None:
    """Raise if duplicates differ in user or group at the same time: engines sort text differently."""
    copies = staged.filter(staged.reason == DUPLICATE_IMPRESSION)
    first = staged.filter(staged.reason.isnull()).select("impression", "ts", of="user", was="group")
    both = copies.join(first, ["impression", "ts"])
    unclear = int(
        both.filter((both.user != both.of) | (both.group != both.was)).count().to_pyarrow().as_py()
    )
    if unclear:
        msg = (
            f"{counted(unclear, 'duplicate impression')} of {name} {'has' if unclear == 1 else 'have'} the time of "
            "the first one, and another user or group; which one counts would depend on the engine. Correct the "
            "ids of the impressions"
        )
        raise LogError(msg)

"""Map the columns of a log in another format to those of the contract.

``experiment.columns`` has the log's column names, time format and currency unit. They are translated
to SQL over a file's table ``raw``: one expression per column of the contract, null where a field has
the wrong type. Missing columns stay unknown unless they follow from others (docs/experiment-log.md).
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from pipeline.core.file_content import did_you_mean
from pipeline.experiment.log.log_files import (
    COLUMNS,
    EVENT,
    OUTCOMES,
    REQUIRED,
    LogTable,
)
from pipeline.study import LogColumns, LogTime

INTEGERS = {
    f"{sign}{size}"
    for sign in ("", "U")
    for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
}
"""DuckDB's types of integers."""

_DECIMAL = "DECIMAL(25, 6)"
_NUMBER = "-?[0-9]+([.][0-9]+)?"
_DATE_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_ZONE = "(Z| UTC| ?[+-][0-9]{2}(:?[0-9]{2})?)"
_TIME_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_TIME_NAIVE = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_MILLISECONDS = {LogTime.SECONDS: "1000", LogTime.MILLISECONDS: "1", LogTime.MICROSECONDS: "0.001"}
_TRUE = "'true', '1', 't', 'yes', 'y', '1.0'"
_FALSE = "'false', '0', 'f', 'no', 'n', '0.0'"
"""Of databases, spreadsheets and data frames with missing values."""
_ID_TYPES = "strings or integers (ids that became 1965.0 match nothing: cast them to integers)"


def quote_identifier(name: str) -> str:
    """Quote a column name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def boolean_sql(column: str) -> str:
    """SQL of a boolean from text; null unless it is one of :data:`_TRUE` and :data:`_FALSE`."""
    return (
        f"CASE WHEN lower({column}) IN ({_TRUE}) THEN true "
        f"WHEN lower({column}) IN ({_FALSE}) THEN false END"
    )


def resolve_columns(table: LogTable, columns: LogColumns) -> dict[str, str]:
    """Column names in the log by contract column.

    A contract column without a mapping is left out if the log uses its name for another column, and
    ``event`` always: in other logs it is most often the type of the event.
    """
    mapping = asdict(columns)[table]
    used = {EVENT, *filter(None, mapping.values())}
    return {
        name: mapping[name] or name for name in COLUMNS[table] if mapping[name] or name not in used
    }


def contract_columns(table: LogTable) -> dict[str, str]:
    """Columns of a file that follows the contract, which have the contract's names."""
    only_mapped = {LogTable.IMPRESSIONS: {"item"}, LogTable.USERS: set[str]()}
    return {n: n for n in COLUMNS[table] if n not in only_mapped.get(table, {"user", "item"})}


def missing_columns(
    table: LogTable, present: Mapping[str, str], columns: LogColumns, found: Collection[str] = ()
) -> list[str]:
    """Missing columns of a file: those named in the study, and required ones.

    ``present`` has the contract columns of the file, with their names in it; ``found`` all its
    columns.
    """
    mapping = asdict(columns)[table]
    problems = [
        f"{column} (experiment.columns.{table}.{name}) is missing{did_you_mean(column, found)}"
        for name, column in mapping.items()
        if column and name not in present
    ]
    required = ["user"] if table is LogTable.USERS else ["ts"]
    if table is LogTable.IMPRESSIONS:
        required += ["user", "group"]
        if any(name in present for name in ("ordered", "units", "revenue")):
            required += ["clicked"]
        if "revenue" in present and not {"ordered", "units"} & set(present):
            required += ["ordered"]
    elif table.is_of_events and "impression" not in present:
        required += ["user"]
    return problems + [
        f"{name} is missing{did_you_mean(name, found)}"
        for name in required
        if not mapping[name] and name not in present
    ]


def column_sql(
    table: LogTable,
    present: Mapping[str, str],
    types: Mapping[str, str],
    columns: LogColumns,
    *,
    time_zone: str = "UTC",
) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """SQL of every column of a file in the contract's type, and what is wrong with unsuitable columns.

    Also what is expected in a field of each column.

    ``present`` has the contract columns of the file, with their names in it; ``types`` has DuckDB's
    types of all its columns; ``time_zone`` is that of local times.
    """
    typed: dict[str, str] = {}
    problems: list[str] = []
    suitable: dict[str, str] = {}
    for name, column in present.items():
        convert = _converter(name, COLUMNS[table][name], columns, time_zone)
        sql, expected = convert(f"raw.{quote_identifier(column)}", types[column])
        suitable[column] = expected
        if sql is None:
            problems.append(f"{column} is {types[column]}, expected {expected}")
        else:
            typed[name] = sql
    return typed, problems, suitable


def with_derived_columns(table: LogTable, typed: Mapping[str, str]) -> dict[str, str]:
    """Add columns that follow from others.

    The id of an impression defaults to its user, time and item. Impressions without an order have 0
    units; impressions with units are ordered.
    """
    found = dict(typed)
    if table is not LogTable.IMPRESSIONS:
        return found
    if "impression" not in found:
        parts = [found[name] for name in ("user", "ts", "item") if name in found]
        found["impression"] = f"concat_ws(chr(31), {', '.join(parts)})"
    if "units" in typed and "ordered" in typed:
        ordered, units = typed["ordered"], typed["units"]
        found["units"] = f"CASE WHEN {units} IS NULL AND NOT {ordered} THEN 0 ELSE {units} END"
    elif "units" in typed:
        found["ordered"] = f"({typed['units']}) > 0"
    return found


_Converter = Callable[[str, str], tuple[str | None, str]]
"""Takes a quoted column and its type; returns its SQL in the contract's type (None for an unsuitable
type) and a description of the suitable types."""


def _converter(name: str, dtype: Any, columns: LogColumns, time_zone: str) -> _Converter:
    if dtype == pl.String:
        return _string
    if dtype == pl.Boolean:
        return _boolean
    if dtype == pl.Float64:
        return _float
    if name == "ts":
        return lambda column, found: _time(column, found, columns.time, time_zone)
    factor = columns.revenue_unit if name == "revenue" else 1
    target = "BIGINT" if dtype == pl.Int64 else "INTEGER"
    expected = "a number such as 1234.56" if name == "revenue" else "an integer"
    return lambda column, found: (_integer(column, found, factor, target), expected)


def _string(column: str, found: str) -> tuple[str | None, str]:
    if found == "VARCHAR":
        return column, _ID_TYPES
    is_integer = found in INTEGERS or re.fullmatch(r"DECIMAL\([0-9]+,0\)", found)
    suitable = is_integer or found == "UUID" or found.startswith("ENUM")
    return (f"CAST({column} AS VARCHAR)" if suitable else None), _ID_TYPES


def _boolean(column: str, found: str) -> tuple[str | None, str]:
    expected = "true and false, or 1 and 0"
    if found == "BOOLEAN":
        return column, expected
    if found == "VARCHAR":
        return boolean_sql(column), expected
    if _is_number(found):
        return f"CASE WHEN {column} = 1 THEN true WHEN {column} = 0 THEN false END", expected
    return None, expected


def _float(column: str, found: str) -> tuple[str | None, str]:
    is_suitable = _is_number(found) or found == "VARCHAR"
    return (f"TRY_CAST({column} AS DOUBLE)" if is_suitable else None), "a number"


def _time(column: str, found: str, time: LogTime, time_zone: str) -> tuple[str | None, str]:
    """Milliseconds; a timestamp with a zone has one meaning, whatever the setting."""
    if found in _TIME_ZONED:
        return f"epoch_us(CAST({column} AS TIMESTAMP WITH TIME ZONE)) // 1000", ""
    if time in _MILLISECONDS:
        return _numeric_time(column, found, _MILLISECONDS[time]), (
            f"a number (experiment.columns.time: {time}) or a timestamp with a zone; for dates and "
            "timestamps set iso8601, iso8601-utc or iso8601-local"
        )
    zoned = time is LogTime.ISO8601
    expected = (
        "a time with a zone, such as 2026-03-02T10:00:00Z (experiment.columns.time: iso8601); for times without set iso8601-utc or "
        "iso8601-local, for numbers ms, s or us"
        if zoned
        else f"a time without a zone, such as 2026-03-02T10:00:00 (experiment.columns.time: {time}); for times with a zone set "
        "iso8601, for numbers ms, s or us"
    )
    if found == "VARCHAR":
        pattern = _DATE_TIME + (_ZONE if zoned else "")
        target = "TIMESTAMP WITH TIME ZONE" if zoned else "TIMESTAMP"
        # Snowflake writes a space before the zone, which DuckDB does not read
        text = f"replace(replace({column}, ' +', '+'), ' -', '-')" if zoned else column
        moment = _in_zone(f"TRY_CAST({text} AS {target})", time, time_zone)
        # epoch_ms would round
        milliseconds = f"epoch_us({moment}) // 1000"
        return (
            f"CASE WHEN regexp_full_match({column}, '{pattern}') THEN {milliseconds} END",
            expected,
        )
    if zoned or found not in _TIME_NAIVE:
        return None, expected
    moment = _in_zone(f"CAST({column} AS TIMESTAMP)", time, time_zone)
    return f"epoch_us({moment}) // 1000", expected


def _in_zone(timestamp: str, time: LogTime, time_zone: str) -> str:
    return f"timezone('{time_zone}', {timestamp})" if time is LogTime.ISO8601_LOCAL else timestamp


def _numeric_time(column: str, found: str, factor: str) -> str | None:
    if found in INTEGERS and factor == "1":
        return f"TRY_CAST({column} AS BIGINT)"
    # a 32-bit float resolves seconds since 1970 to two minutes only
    exact = None if found == "FLOAT" else _decimal(column, found)
    sql = exact and f"TRY_CAST(floor({exact} * {factor}) AS BIGINT)"
    in_text = found == "VARCHAR" and factor == "1"
    return _integer_first(column, "BIGINT", sql) if sql and in_text else sql


def _integer_first(column: str, target: str, otherwise: str) -> str:
    """SQL of an integer from text, which is most often written without a point."""
    is_integer = f"regexp_full_match({column}, '-?[0-9]+')"
    return f"CASE WHEN {is_integer} THEN TRY_CAST({column} AS {target}) ELSE {otherwise} END"


def _integer(column: str, found: str, factor: int, target: str) -> str | None:
    if found in INTEGERS and factor == 1:
        return f"TRY_CAST({column} AS {target})"
    exact = _decimal(column, found)
    if exact is None:
        return None
    value = f"{exact} * {factor}"
    sql = f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS {target}) END"
    return _integer_first(column, target, sql) if found == "VARCHAR" and factor == 1 else sql


def _decimal(column: str, found: str) -> str | None:
    """A number with six decimal places."""
    if found == "VARCHAR":
        return (
            f"CASE WHEN regexp_full_match({column}, '{_NUMBER}') "
            f"THEN TRY_CAST({column} AS {_DECIMAL}) END"
        )
    return f"TRY_CAST({column} AS {_DECIMAL})" if _is_number(found) else None


def _is_number(found: str) -> bool:
    return found in INTEGERS or found in {"DOUBLE", "FLOAT"} or found.startswith("DECIMAL")


def decimal_id_sql(name: str) -> str:
    """SQL of an id such as ``12.0`` in a column of texts: another tool took the ids for numbers."""
    column = quote_identifier(name)
    return (
        f"SELECT {column} FROM raw WHERE ends_with({column}, '.0') "  # noqa: S608 - quoted
        f"AND regexp_full_match({column}, '[0-9]+\\.0') LIMIT 1"
    )


def missing_of_contract(table: LogTable, types: Mapping[str, str]) -> list[str]:
    """Missing columns of a file that follows the contract."""
    required = REQUIRED[table]
    clicked, *of_orders = OUTCOMES
    if table is LogTable.IMPRESSIONS and not any(name in types for name in of_orders):
        # the shop has no orders, or clicks and orders are in separate files
        required = [name for name in required if name not in {clicked, *of_orders}]
    return [
        f"{name} is missing{did_you_mean(name, types)}" for name in required if name not in types
    ]

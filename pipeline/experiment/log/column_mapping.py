"""How the columns of a log that was not written for this project become those of the contract.

``experiment.columns`` of a study says what the log calls them, how it tells time and in what it
counts money. Here that becomes SQL over a file's table ``raw``: an expression a column of the
contract, null where a field has the wrong type. What a log does not say stays unknown; only what
follows from the rest is filled in (docs/experiment-log.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from pipeline.experiment.log.log_files import COLUMNS, LogTable
from pipeline.study import LogColumns, LogTime

_WHOLE = {f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER")} | {
    "BIGINT",
    "UBIGINT",
    "HUGEINT",
    "UHUGEINT",
}
_EXACT = "DECIMAL(25, 6)"
_NUMBER = "-?[0-9]+([.][0-9]+)?"
_MOMENT = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_ZONE = "(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_MILLISECONDS = {LogTime.SECONDS: "1000", LogTime.MILLISECONDS: "1", LogTime.MICROSECONDS: "0.001"}
_AS_TEXT = "text or whole numbers"


def quote_identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def resolve_columns(table: LogTable, columns: LogColumns) -> dict[str, str]:
    """What a log calls the columns of the contract; those it means something else by are left out."""
    named = asdict(columns)[table.contract.name]
    taken = set(filter(None, named.values()))
    return {
        name: named[name] or name for name in COLUMNS[table] if named[name] or name not in taken
    }


def missing_columns(table: LogTable, there: Mapping[str, str], columns: LogColumns) -> list[str]:
    """What a file lacks: columns that the study names, and those nothing can be read without.

    Args:
        table: What the file holds.
        there: The columns of the contract it has, and what it calls them.
        columns: The study's.
    """
    named = asdict(columns)[table.contract.name]
    problems = [
        f"{place} (experiment.columns.{table.contract.name}.{name}) is missing"
        for name, place in named.items()
        if place and name not in there
    ]
    needed = ["user"] if table is LogTable.USERS else ["ts"]
    if table is LogTable.IMPRESSIONS:
        needed += ["user", "group"]
        if any(name in there for name in ("ordered", "units", "revenue")):
            needed += ["clicked"]
        if "revenue" in there and not {"ordered", "units"} & set(there):
            needed += ["ordered"]
    elif table.is_of_events and "impression" not in there:
        needed += ["user"]
    return problems + [
        f"{name} is missing" for name in needed if not named[name] and name not in there
    ]


def column_sql(
    table: LogTable, there: Mapping[str, str], got: Mapping[str, str], columns: LogColumns
) -> tuple[dict[str, str], list[str]]:
    """SQL of every column a file has, in the contract's type, and what is wrong with the others.

    Args:
        table: What the file holds.
        there: The columns of the contract it has, and what it calls them.
        got: DuckDB's types of all its columns.
        columns: The study's.
    """
    typed: dict[str, str] = {}
    problems: list[str] = []
    for name, place in there.items():
        dtype = COLUMNS[table][name]
        sql, expected = _reader(name, dtype, columns)(f"raw.{quote_identifier(place)}", got[place])
        if sql is None:
            problems.append(f"{place} is {got[place]}, expected {expected}")
        else:
            typed[name] = sql
    return typed, problems


def with_derived_columns(table: LogTable, typed: Mapping[str, str]) -> dict[str, str]:
    """The columns of the contract, those included that follow from the others.

    An impression without an id is the one of its user (and item) at its time. Who bought nothing has
    no units; who has units has ordered.
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


_Reader = Callable[[str, str], tuple[str | None, str]]
"""SQL of a column, given its name in SQL and its type, or None; and what types would do."""


def _reader(name: str, dtype: Any, columns: LogColumns) -> _Reader:
    if dtype == pl.String:
        return _text
    if dtype == pl.Boolean:
        return _yes_or_no
    if name == "ts":
        return lambda column, got: _time(column, got, columns.time)
    factor = columns.revenue_unit if name == "revenue" else 1
    target = "BIGINT" if dtype == pl.Int64 else "INTEGER"
    return lambda column, got: (_count(column, got, factor, target), "numbers")


def _text(column: str, got: str) -> tuple[str | None, str]:
    if got == "VARCHAR":
        return column, _AS_TEXT
    kept = got in _WHOLE or got == "UUID" or got.startswith("ENUM")
    return (f"CAST({column} AS VARCHAR)" if kept else None), _AS_TEXT


def _yes_or_no(column: str, got: str) -> tuple[str | None, str]:
    expected = "true and false, or 1 and 0"
    if got == "BOOLEAN":
        return column, expected
    if got == "VARCHAR":
        words = {"true": "true", "1": "true", "false": "false", "0": "false"}
        cases = " ".join(f"WHEN '{word}' THEN {value}" for word, value in words.items())
        return f"CASE lower({column}) {cases} END", expected
    if _is_number(got):
        return f"CASE WHEN {column} = 1 THEN true WHEN {column} = 0 THEN false END", expected
    return None, expected


def _time(column: str, got: str, time: LogTime) -> tuple[str | None, str]:
    if time in _MILLISECONDS:
        return _number_of_time(column, got, _MILLISECONDS[time]), (
            f"a number (experiment.columns.time: {time}); dates are iso8601 or iso8601-utc"
        )
    zoned = time is LogTime.ISO8601
    expected = (
        "a moment with its zone (experiment.columns.time: iso8601); without one it is iso8601-utc"
        if zoned
        else "a moment without a zone (experiment.columns.time: iso8601-utc); with one it is iso8601"
    )
    target = "TIMESTAMP WITH TIME ZONE" if zoned else "TIMESTAMP"
    if got == "VARCHAR":
        pattern = _MOMENT + (_ZONE if zoned else "")
        moment = f"TRY_CAST({column} AS {target})"
        # epoch_ms would round
        microseconds = f"epoch_us({moment})"
        return (
            f"CASE WHEN regexp_full_match({column}, '{pattern}') THEN {microseconds} // 1000 END",
            expected,
        )
    fits = (
        got == target
        if zoned
        else got in {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
    )
    return (f"epoch_us(CAST({column} AS {target})) // 1000" if fits else None), expected


def _number_of_time(column: str, got: str, factor: str) -> str | None:
    if got in _WHOLE and factor == "1":
        return f"TRY_CAST({column} AS BIGINT)"
    # of 32 bits, seconds are only known to two minutes
    exact = None if got == "FLOAT" else _exact(column, got)
    return exact and f"TRY_CAST(floor({exact} * {factor}) AS BIGINT)"


def _count(column: str, got: str, factor: int, target: str) -> str | None:
    if got in _WHOLE and factor == 1:
        return f"TRY_CAST({column} AS {target})"
    exact = _exact(column, got)
    if exact is None:
        return None
    value = f"{exact} * {factor}"
    return f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS {target}) END"


def _exact(column: str, got: str) -> str | None:
    """A number to six digits behind the point."""
    if got == "VARCHAR":
        return (
            f"CASE WHEN regexp_full_match({column}, '{_NUMBER}') "
            f"THEN TRY_CAST({column} AS {_EXACT}) END"
        )
    return f"TRY_CAST({column} AS {_EXACT})" if _is_number(got) else None


def _is_number(got: str) -> bool:
    return got in _WHOLE or got in {"DOUBLE", "FLOAT"} or got.startswith("DECIMAL")

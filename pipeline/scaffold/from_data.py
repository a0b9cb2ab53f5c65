"""A study for data that is there: its columns, variants and event types, as a template has them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from pipeline.core.errors import DataError, StudyError
from pipeline.scaffold.guess import (
    ASSIGNMENTS,
    CLICKS,
    EVENTS,
    ORDERS,
    first_rows,
    guess_columns,
    guess_control,
    guess_event_types,
    guess_time,
    separator_in,
    variants_in,
)
from pipeline.scaffold.templates import Template

_GA4 = {"user_pseudo_id", "ga_session_id", "item_id", "event_timestamp", "event_name"}


def values_from(template: Template, data: Path, control: str | None) -> dict[str, Any]:
    """What a template needs to know of the data; columns are guessed from the first rows.

    Args:
        template: The kind of study.
        data: A file or folder.
        control: The control variant of an A/B test; None to guess it.

    Raises:
        DataError: if the data cannot be read, or its columns are not recognised.
    """
    if not data.exists():
        msg = f"{data} does not exist; expected a file or a folder"
        raise DataError(msg)
    match template:
        case Template.AB_TEST:
            return _ab_test_values(data, control)
        case Template.GA4:
            return _event_values(data)
        case _:
            return {}


def _files(data: Path) -> list[Path]:
    if data.is_file():
        return [data]
    return sorted(file for file in data.iterdir() if file.is_file() and file.name[0] not in "._")


def _ab_test_values(data: Path, control: str | None) -> dict[str, Any]:
    if data.is_file():
        msg = f"{data} is a file; expected a folder with assignments, clicks and orders"
        raise DataError(msg)
    columns: dict[str, dict[str, str]] = {}
    times, variants = dict[str, str](), list[str]()
    for file in _files(data):
        table, names = _table_of(file)
        if table is None or (rows := first_rows(file)) is None:
            continue
        columns[table] = found = guess_columns(rows.columns, names, file=file)
        if (unit := guess_time(rows[found["ts"]])) is not None:
            times.setdefault(unit, file.name)
        if table == "impressions":
            variants = sorted({*variants, *variants_in(rows[found["group"]], file=file)})
    if not variants:
        msg = f"{data} has no CSV, parquet or JSON-lines file of assignments"
        raise DataError(msg)
    if control is not None and control not in variants:
        msg = (
            f"--control {control}: not a variant of the data; expected one of {', '.join(variants)}"
        )
        raise StudyError(msg)
    return {
        "variants": _flow(dict.fromkeys(variants, 1)),
        "control": _flow(control or guess_control(variants)),
        "columns": {table: _flow(one) for table, one in columns.items()},
        "time": _one_format(times, data),
    }


def _one_format(times: Mapping[str, str], data: Path) -> str:
    """The format of all times, given with a file of each; raises DataError if there are several."""
    if len(times) > 1:
        listed = ", ".join(f"those of {file} look like {unit}" for unit, file in times.items())
        msg = (
            f"{data}: the times of all files need one format (experiment.columns.time), but {listed}; "
            "export them alike"
        )
        raise DataError(msg)
    return next(iter(times), "iso8601")


def _table_of(file: Path) -> tuple[str | None, Mapping[str, Any]]:
    name = file.name.lower()
    if name.startswith("users"):
        return None, {}
    if name.startswith("clicks"):
        return "clicks", CLICKS
    return ("orders", ORDERS) if name.startswith("orders") else ("impressions", ASSIGNMENTS)


def _event_values(data: Path) -> dict[str, Any]:
    for file in _files(data):
        rows = first_rows(file)
        if rows is not None:
            return {} if set(rows.columns) >= _GA4 else {"generic": _generic(rows, file)}
    msg = f"{data} has no CSV, parquet or JSON-lines file of events"
    raise DataError(msg)


def _generic(rows: pl.DataFrame, file: Path) -> str:
    """The section ``dataset.generic`` for events of any tool."""
    found = guess_columns(rows.columns, EVENTS, file=file, optional={"session", "user"})
    if "session" in found:
        found.pop("user", None)
    elif "user" not in found:
        msg = f"{file} has neither sessions nor users; it has {', '.join(rows.columns)}"
        raise DataError(msg)
    section = {
        **found,
        "time_unit": guess_time(rows[found["time"]]) or "iso8601",
        "event_types": guess_event_types(rows[found["event_type"]]),
        **({} if (mark := separator_in(file)) == "," else {"separator": mark}),
    }
    return yaml.safe_dump(section, sort_keys=False, allow_unicode=True)


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text.removesuffix("\n").removesuffix("\n...")

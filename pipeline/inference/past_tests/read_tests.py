"""A table of past tests, of any form, as effects: one row per test, variant and metric or KPI.

Effects are within a test, so tests with other base rates are never pooled before they are compared with
their own control.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.cell_numbers import parse_numbers
from pipeline.core.errors import DataError
from pipeline.core.table_file import (
    Cell,
    CellTable,
    ReadAs,
    ReadNote,
    Rows,
    read_table,
    table_of_frame,
)
from pipeline.experiment.kpis.contracts import COUNTS
from pipeline.inference.past_tests.columns import (
    CONTROL,
    COUNT,
    NAME,
    TEST,
    TIME,
    TREATMENT,
    VARIANT,
    Form,
    NamedTable,
    PastTestsOptions,
    with_our_names,
)
from pipeline.inference.past_tests.contrasts import counted_effects, moment_effects, paired_effects
from pipeline.inference.past_tests.effects import LEAST, MOST
from pipeline.inference.past_tests.summary_rows import Effects, long_effects, wide_effects
from pipeline.results.past_tests import EffectScale, LeftOut, LeftOutReason

TESTS = Rows(one_per="test, or per test and variant or metric", most=2_000_000)

_ISO_DATE = r"^\d{4}-\d{2}-\d{2}"
_STRINGS = (TEST, VARIANT, NAME)
_INTEGERS = {COUNT, f"{COUNT}{CONTROL}", f"{COUNT}{TREATMENT}", *COUNTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTestTable:
    """A table of past tests that has passed every check.

    Attributes:
        source: Its name.
        effects: As :data:`pipeline.inference.past_tests.effects.EFFECTS`.
        kpis: Names of the KPIs.
        metrics: Names of the metrics.
        scale: What a change is.
        left_out: Rows that are not among the effects.
        notes: How the table was read.
    """

    source: str
    effects: pl.DataFrame
    kpis: tuple[str, ...]
    metrics: tuple[str, ...]
    scale: EffectScale
    left_out: tuple[LeftOut, ...]
    notes: tuple[ReadNote, ...]


def is_table(files: Sequence[Path]) -> bool:
    """Whether files are one table of past tests, and not reports of studies.

    Raises:
        DataError: if they are several files of which one is not JSON.
    """
    if len(files) > 1:
        if others := [file for file in files if file.suffix.lower() != ".json"]:
            msg = (
                f"{others[0]} is not a report.json; expected one table of past tests, or the report.json "
                "of two or more studies"
            )
            raise DataError(msg)
        return False
    return not (files[0].suffix.lower() == ".json" and _is_report(files[0]))


def _is_report(file: Path) -> bool:
    with suppress(OSError, ValueError):
        found: Any = json.loads(file.read_bytes())
        return isinstance(found, dict) and "hypotheses" in found
    return False


def read_past_tests(source: Path | pl.DataFrame, options: PastTestsOptions) -> PastTestTable:
    """Read and check a table of past tests, a frame or a file; raises :class:`DataError`."""
    cells = (
        table_of_frame(source, "the frame", TESTS)
        if isinstance(source, pl.DataFrame)
        else read_table(source, TESTS)
    )
    named = with_our_names(cells, options)
    _check_options(cells.name, named.form, options)
    rows, notes = _numbers(named)
    rows = _last(rows)
    read = {
        Form.WIDE: wide_effects,
        Form.LONG: long_effects,
        Form.COUNTS: counted_effects,
        Form.MOMENTS: moment_effects,
        Form.PAIRED_MOMENTS: paired_effects,
    }[named.form]
    found = read(cells.name, rows, options)
    effects, left_out = _usable(found)
    _check_names(cells.name, found, effects, left_out)
    return PastTestTable(
        source=cells.name,
        effects=effects,
        kpis=found.kpis,
        metrics=found.metrics,
        scale=found.scale,
        left_out=left_out,
        notes=(*named.table.notes, *notes, *found.notes),
    )


def _numbers(named: NamedTable) -> tuple[pl.DataFrame, list[ReadNote]]:
    """The table as a frame: names as strings, all other columns as numbers; without the others."""
    table = named.table
    strings = {name: _names(table, name) for name in _STRINGS if name in table.columns}
    rest = {name: cells for name, cells in table.columns.items() if name not in strings}
    plain = {name: _plain_numbers(cells) for name, cells in rest.items()}
    if all(column is not None for column in plain.values()):
        return pl.DataFrame({**strings, **plain}), []
    parsed = parse_numbers(replace(table, columns=rest), strings[TEST], _INTEGERS)
    numbers = {
        name: pl.Series(column, dtype=pl.Float64, strict=False)
        for name, column in parsed.numbers.items()
    }
    notes = list(parsed.notes)
    dates = {
        name: pl.Series([str(one) for one in rest[name]]) for name in parsed.strings if name == TIME
    }
    if ignored := tuple(name for name in parsed.strings if name not in dates):
        notes.append(ReadNote(kind=ReadAs.STRINGS_IGNORED, columns=ignored))
    return pl.DataFrame({**strings, **numbers, **dates}), notes


def _plain_numbers(cells: Sequence[Cell]) -> pl.Series | None:
    """The cells as numbers with a decimal point; None if one is written otherwise."""
    try:
        column = pl.Series(cells, strict=True)
        found = column.replace("", None) if column.dtype == pl.String else column
        numbers = found.cast(pl.Float64, strict=True)
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return None
    return numbers.fill_nan(None)


def _names(table: CellTable, column: str) -> list[str]:
    found: list[str] = []
    for row, cell in enumerate(table.columns[column], start=1):
        text = "" if cell is None else str(cell).strip()
        if not text:
            msg = f"{table.name}: row {row} has no {column}; expected a name in every row"
            raise DataError(msg)
        found.append(text)
    return found


def _last(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the last time of every test, variant and metric."""
    if TIME not in rows.columns:
        return rows
    times = rows[TIME]
    if times.dtype == pl.String and not times.str.contains(_ISO_DATE).all():
        wrong = times.filter(~times.str.contains(_ISO_DATE))[0]
        msg = f"{TIME} {wrong!r} is not a number or a date such as 2025-03-31; --time names the column"
        raise DataError(msg)
    keys = [name for name in _STRINGS if name in rows.columns]
    return rows.filter(pl.col(TIME) == pl.col(TIME).max().over(keys))


def _usable(found: Effects) -> tuple[pl.DataFrame, tuple[LeftOut, ...]]:
    """The effects with a usable estimate and error, and the others by reason."""
    error = pl.col("variance") + pl.col("shared") ** 2
    is_kpi = pl.col("name").is_in(list(found.kpis))
    reason = (
        pl.when(pl.col("reason").is_not_null())
        .then("reason")
        .when(pl.col("estimate").is_null())
        .then(pl.lit(LeftOutReason.NO_ESTIMATE.value))
        .when((pl.col("estimate").abs() > MOST) | (error > MOST**2))
        .then(pl.lit(LeftOutReason.OUT_OF_RANGE.value))
        .when(error.is_null() | (is_kpi & ~(error > LEAST**2)))
        .then(pl.lit(LeftOutReason.NO_ERROR.value))
    )
    rows = found.effects.with_columns(reason=reason)
    absent = (
        rows.select("test")
        .unique(maintain_order=True)
        .join(rows.select("name").unique(maintain_order=True), how="cross")
        .join(rows, on=["test", "name"], how="anti", maintain_order="left")
        .with_columns(reason=pl.lit(LeftOutReason.NO_ESTIMATE.value))
    )
    left = (
        pl.concat([rows.select(absent.columns), absent])
        .filter(pl.col("reason").is_not_null())
        .group_by("reason", "name", maintain_order=True)
        .agg(tests=pl.col("test").n_unique(), example=pl.col("test").first())
    )
    left_out = tuple(
        LeftOut(
            reason=LeftOutReason(row["reason"]),
            name=row["name"],
            tests=row["tests"],
            example=row["example"],
        )
        for row in left.iter_rows(named=True)
    )
    return rows.filter(pl.col("reason").is_null()).drop("reason"), left_out


def _check_options(source: str, form: Form, options: PastTestsOptions) -> None:
    """Raise :class:`DataError` if the table has nothing that an option could apply to."""
    unused = {
        f"--control {options.control}": options.control is not None
        and form not in {Form.COUNTS, Form.MOMENTS},
        "--difference": options.difference and form in {Form.WIDE, Form.LONG},
    }
    for option, wrong in unused.items():
        if wrong:
            msg = (
                f"{source}: {option} does not apply, because a row is {form.value}: its changes are "
                f"already against a control. Leave {option.split()[0]} out, or pass counts "
                "(impressions, clicks) or moments (count, mean, variance) of every variant"
            )
            raise DataError(msg)


_CAUSES = {
    LeftOutReason.NO_ESTIMATE: "it has no value in any",
    LeftOutReason.OUT_OF_RANGE: f"each is beyond ±{MOST:g}, or its standard error is",
    LeftOutReason.NO_CONTROL: "none has its control; name the control: --control VARIANT",
    LeftOutReason.ONE_VARIANT: (
        "none has two variants; expected a row of the control and one of each variant in every test"
    ),
    LeftOutReason.NOT_POSITIVE: (
        "no mean is above 0, so none has a logarithm; --difference compares means by their difference"
    ),
    LeftOutReason.ONE_USER: "none has two users",
}


def _cause(kpi: str, rows: pl.DataFrame, left_out: Sequence[LeftOut]) -> str:
    """Why a KPI has no lift: the reason of most tests."""
    found = {one.reason: one.tests for one in left_out if one.name == kpi}
    reason = max(found, key=lambda one: found[one], default=LeftOutReason.NO_ESTIMATE)
    if reason is not LeftOutReason.NO_ERROR:
        return _CAUSES[reason]
    if rows["error_known"].any():
        return f"no standard error is above {LEAST:g}; expected those of the measured lifts"
    return (
        f"none has a standard error; expected a column {kpi}_se, or {kpi}_ci_low and {kpi}_ci_high"
    )


def _check_names(
    source: str, found: Effects, effects: pl.DataFrame, left_out: Sequence[LeftOut]
) -> None:
    if not found.kpis or not found.metrics:
        what = "KPI" if not found.kpis else "metric"
        msg = (
            f"{source}: {found.form_words}, and none is a {what}; name "
            f"{'the KPI: --kpi NAME' if not found.kpis else 'the metrics: --metric NAME'}. Found "
            f"{', '.join(found.candidates) or 'no other column of numbers'}"
        )
        raise DataError(msg)
    usable = dict(effects.group_by("name").agg(pl.col("test").n_unique()).iter_rows())
    for kpi in found.kpis:
        if not usable.get(kpi):
            rows = found.effects.filter(name=kpi)
            msg = f"{source}: no test has a lift of {kpi}: {_cause(kpi, rows, left_out)}"
            raise DataError(msg)

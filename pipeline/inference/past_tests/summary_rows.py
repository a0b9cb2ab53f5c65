"""Changes and their errors as other programs report them: one row per test, or per test and metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.core.table_file import ReadAs, ReadNote
from pipeline.experiment.kpis.contracts import COUNTS
from pipeline.inference.counts.error_columns import plain_name
from pipeline.inference.past_tests.columns import (
    ERROR,
    ESTIMATE,
    HIGH,
    LOW,
    NAME,
    TEST,
    VARIANT,
    EffectColumns,
    PastTestsOptions,
    error_columns,
    is_lift,
)
from pipeline.inference.past_tests.effects import EFFECTS
from pipeline.results.past_tests import EffectScale

_NOT_METRICS = {
    *COUNTS, "n", "count", "year", "quarter", "month", "week", "day", "days", "duration", "id", "row",
}  # fmt: skip
_ROUNDED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Effects as read, with rows that may not be usable.

    Attributes:
        effects: As :data:`pipeline.inference.past_tests.effects.EFFECTS`, with a ``reason`` why a row
            is not usable, null if it may be.
        kpis: Names of the KPIs.
        metrics: Names of the metrics.
        candidates: All names that could be either.
        scale: What a change is.
        form_words: What one row of the table is.
        notes: How the table was read.
    """

    effects: pl.DataFrame
    kpis: tuple[str, ...]
    metrics: tuple[str, ...]
    candidates: tuple[str, ...]
    scale: EffectScale
    form_words: str
    notes: tuple[ReadNote, ...] = ()


def wide_effects(source: str, rows: pl.DataFrame, options: PastTestsOptions) -> Effects:
    """Of a table with columns of changes, such as ``ctr_lift``, ``ctr_lift_se`` and ``recall@20``."""
    columns = [name for name in rows.columns if name not in {TEST, VARIANT}]
    errors = error_columns(columns, columns)
    taken = {one for name in columns for one in errors[name].names()}
    candidates = [name for name in columns if name not in taken]
    kpis, metrics = select(source, candidates, options)
    if not options.metrics:
        metrics = [name for name in metrics if plain_name(name) not in _NOT_METRICS]
    check_once(source, rows, [TEST, VARIANT])
    parts = [
        _effects(
            rows.with_columns(
                name=pl.lit(name), estimate=pl.col(name), **_error(name, errors[name], options)
            ),
            source,
        )
        for name in (*kpis, *metrics)
    ]
    left = [name for name in candidates if name not in kpis and name not in metrics]
    notes = [ReadNote(kind=ReadAs.UNSELECTED_IGNORED, columns=tuple(left))] if left else []
    return Effects(
        effects=pl.concat(parts) if parts else _effects(rows.clear(), source),
        kpis=tuple(kpis),
        metrics=tuple(metrics),
        candidates=tuple(candidates),
        scale=EffectScale.AS_GIVEN,
        form_words="a row is one test",
        notes=tuple(notes),
    )


def long_effects(source: str, rows: pl.DataFrame, options: PastTestsOptions) -> Effects:
    """Of a table with one row per test and metric."""
    names = rows[NAME].unique(maintain_order=True).to_list()
    kpis, metrics = select(source, names, options)
    check_once(source, rows, [TEST, VARIANT, NAME])
    ends = {one: one for one in (ERROR, LOW, HIGH) if one in rows.columns}
    where = EffectColumns(error=ends.get(ERROR), low=ends.get(LOW), high=ends.get(HIGH))
    wanted = rows.filter(pl.col(NAME).is_in([*kpis, *metrics]))
    found = wanted.with_columns(
        name=pl.col(NAME), estimate=pl.col(ESTIMATE), **_error(ESTIMATE, where, options)
    )
    return Effects(
        effects=_effects(found, source),
        kpis=tuple(kpis),
        metrics=tuple(metrics),
        candidates=tuple(names),
        scale=EffectScale.AS_GIVEN,
        form_words="a row is one metric of one test",
    )


def select(
    source: str, candidates: Sequence[str], options: PastTestsOptions
) -> tuple[list[str], list[str]]:
    """The KPIs and metrics among the candidates; all that is not a KPI is a metric by default."""
    for name in (*options.kpis, *options.metrics):
        if name not in candidates:
            msg = f"{source} has no numbers called {name!r}; found {', '.join(candidates)}"
            raise DataError(msg)
    if both := set(options.kpis) & set(options.metrics):
        msg = f"{min(both)} is declared as metric and as KPI; declare it once"
        raise DataError(msg)
    free = [name for name in candidates if name not in options.metrics]
    kpis = list(options.kpis) or [name for name in free if _is_kpi(name)]
    metrics = list(options.metrics) or [name for name in candidates if name not in kpis]
    return kpis, metrics


def _is_kpi(name: str) -> bool:
    return is_lift(name) or plain_name(name) in set(Kpi)


def _error(name: str, where: EffectColumns, options: PastTestsOptions) -> dict[str, pl.Expr]:
    """The standard error of a change; 0 and unknown where there is no column for it."""
    if where.error:
        return {"error": pl.col(where.error), "known": pl.lit(value=True)}
    if where.low and where.high:
        z = NormalDist().inv_cdf((1 + options.ci_level) / 2)
        inside = pl.col(name).is_between(
            pl.col(where.low) - _ROUNDED, pl.col(where.high) + _ROUNDED
        )
        half = (pl.col(where.high) - pl.col(where.low)) / (2 * z)
        return {"error": pl.when(inside).then(half).otherwise(-1.0), "known": pl.lit(value=True)}
    return {"error": pl.lit(0.0), "known": pl.lit(value=False)}


def _effects(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """The rows as effects: variants of one test share the control, of about their own size."""
    if not rows.height:
        return pl.DataFrame(schema=FOUND)
    wrong = rows.filter(pl.col("error") < 0)
    if wrong.height:
        row = wrong.row(0, named=True)
        msg = (
            f"{source}: test {row[TEST]}: the error of {row['name']} is negative, or its confidence "
            "interval does not include the change; expected low ≤ change ≤ high, and a positive "
            "standard error"
        )
        raise DataError(msg)
    several = pl.len().over("test", "name") > 1
    square = pl.col("error") ** 2
    variant = pl.col(VARIANT) if VARIANT in rows.columns else pl.lit(None, dtype=pl.String)
    return rows.select(
        test=pl.col(TEST),
        variant=variant,
        name=pl.col("name"),
        estimate=pl.col("estimate").cast(pl.Float64),
        variance=pl.when(several).then(square / 2).otherwise(square),
        shared=pl.when(several).then(pl.col("error") * 0.5**0.5).otherwise(0.0),
        error_known=pl.col("known"),
        reason=pl.lit(None, dtype=pl.String),
    )


FOUND = {**EFFECTS, "reason": pl.String}
"""Columns of a table of effects before those without a use are left out, which have a reason."""


def check_once(source: str, rows: pl.DataFrame, keys: Sequence[str]) -> None:
    """Raise :class:`DataError` if a key occurs in two rows."""
    known = [key for key in keys if key in rows.columns]
    twice = rows.filter(rows.select(known).is_duplicated())
    if twice.height:
        found = " / ".join(map(str, twice.select(known).row(0)))
        msg = (
            f"{source}: {found} occurs {twice.filter(pl.col(TEST) == twice[TEST][0]).height} times; "
            "expected one row per test. Name the column that distinguishes them: --variant COLUMN, "
            "or --time COLUMN"
        )
        raise DataError(msg)

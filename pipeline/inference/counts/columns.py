"""What the columns of a table of group counts are."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.core.table_file import CellTable, ReadAs, ReadNote
from pipeline.experiment.kpis.contracts import COUNTS, TERMS, USER_SUMS
from pipeline.inference.counts.error_columns import (
    STANDARD_ERROR,
    ErrorColumns,
    columns_of,
    error_columns,
    plain_name,
)

GROUP, SHARE = "group", "share"

CONTROLS = ("control", "baseline", "original")
"""Names of the control, in any case, where none is declared."""

OUR_NAMES = (GROUP, *COUNTS, SHARE)
"""The columns that can be mapped from other names."""

REQUIRED = (GROUP, "impressions", "clicks")

AMOUNTS = ("units", "revenue")
"""Totals that are net of returns and refunds, so that they may be negative."""

SUM_COLUMNS = {f"{kpi}_{name}": (kpi, name) for kpi in Kpi for name in USER_SUMS}
"""KPI and sum of the columns of per-user sufficient statistics, such as ``ctr_sum_mm``."""

INTEGERS = (
    {*COUNTS, *SUM_COLUMNS}
    - {"revenue"}
    - {f"{kpi}_{name}" for kpi in Kpi if kpi.needs_revenue for name in ("sum_my", "sum_yy")}
)
"""Columns whose numbers have no decimals."""

SYNONYMS = {"exposures": "impressions", "views": "impressions"} | dict.fromkeys(
    ("variant", "variation", "arm"), GROUP
)
"""Column names of other platforms, read where the table lacks ours."""

_UNCERTAINTY = re.compile(
    r"(.+?)_(?:sd|std|var|variance|ci|moe|n|count|p|p_?value|(?:ci_?)?(?:low|high|lower|upper)(?:_.*)?)",
    re.IGNORECASE,
)
_SAME = 1e-3
"""A column within this relative distance of a KPI's rate in every group is that rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsOptions:
    """How a table of counts is read.

    Attributes:
        columns: The table's column by our name, such as ``{"impressions": "views"}``.
        metrics: The columns that are offline metrics; none for every numeric column that is nothing
            else.
        one_trial_per_user: Every user has one trial, so that trials are independent.
        error_correlation: Correlation of the errors of two groups' metrics with known standard
            errors, in [0, 1): 0 if they are measured on different data, high on the same sessions.
    """

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: tuple[str, ...] = ()
    one_trial_per_user: bool = False
    error_correlation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricColumns:
    """The offline metrics of a table, the columns of their errors, and what is not read."""

    metrics: tuple[str, ...]
    errors: Mapping[str, ErrorColumns]
    notes: tuple[ReadNote, ...]


def with_our_names(table: CellTable, options: CountsOptions) -> CellTable:
    """The table with our names of the counts.

    A declared column comes first, then ours, in any case, then a name of another platform.

    Raises:
        DataError: if a declared column is missing, or a required one is not found.
    """
    chosen = _declared(table, options)
    plain = {plain_name(name): name for name in reversed(list(table.columns))}
    for name in (*OUR_NAMES, *SUM_COLUMNS):
        if name not in chosen and name in plain:
            chosen[name] = name if name in table.columns else plain[name]
    for theirs, ours in SYNONYMS.items():
        if theirs in plain and ours not in chosen:
            chosen[ours] = plain[theirs]
    if missing := [name for name in REQUIRED if name not in chosen]:
        msg = (
            f"{table.name} has no column {', '.join(missing)}; expected the columns group, "
            "impressions and clicks, and one per offline metric; found "
            f"{', '.join(map(str.strip, table.columns))}. Name yours: "
            + " ".join(f"--{name} COLUMN" for name in missing)
        )
        raise DataError(msg)
    used = set(chosen.values())
    double = [c for c in table.columns if c not in used and _meaning(c)]
    rest = {c: cells for c, cells in table.columns.items() if c not in used and c not in double}
    notes = [
        ReadNote(kind=ReadAs.NAME, columns=(theirs,), value=ours)
        for ours, theirs in chosen.items()
        if theirs != ours
    ]
    if double:
        notes.append(ReadNote(kind=ReadAs.DUPLICATE_IGNORED, columns=tuple(double)))
    ours = {name: table.columns[theirs] for name, theirs in chosen.items()}
    stripped = {name.strip(): cells for name, cells in rest.items()}
    return replace(table, columns={**ours, **stripped}, notes=(*table.notes, *notes))


def _declared(table: CellTable, options: CountsOptions) -> dict[str, str]:
    for ours, theirs in options.columns.items():
        if ours not in (*OUR_NAMES, *SUM_COLUMNS):
            msg = f"{ours!r} is not a column of counts; expected one of {', '.join(OUR_NAMES)}"
            raise DataError(msg)
        if theirs not in table.columns:
            msg = (
                f"{table.name} has no column {theirs!r}, declared as {ours}; found "
                f"{', '.join(table.columns)}"
            )
            raise DataError(msg)
    return dict(options.columns)


def _meaning(column: str) -> str | None:
    """Our name of a column that is a count, a sum or a share under any name."""
    name = plain_name(column)
    name = SYNONYMS.get(name, name)
    return name if name in (*OUR_NAMES, *SUM_COLUMNS) else None


def is_a_count(column: str) -> bool:
    """Whether a column is a count, or a sum over users."""
    return column in COUNTS or column in SUM_COLUMNS


def metric_columns(
    numbers: Mapping[str, Sequence[float | int | None]],
    groups: Sequence[str],
    options: CountsOptions,
    source: str,
) -> MetricColumns:
    """The offline metrics among the columns that are neither counts nor sums.

    Columns that describe another one, such as ``auc_se``, and those with the rate of a KPI, are not
    metrics.

    Raises:
        DataError: if errors are given twice, without their metric, or for some groups only; or a
            declared metric is missing.
    """
    other = [name for name in numbers if not is_a_count(name) and name != SHARE]
    errors = error_columns(other, groups, source)
    taken = {name for one in errors.values() for name in columns_of(one)}
    rest = [name for name in other if name not in taken]
    rates = [name for name in rest if _is_a_rate(name, numbers)]
    described = [name for name in rest if name not in rates and _describes(name, rest)]
    metrics = [name for name in rest if name not in rates and name not in described]
    ignored = {ReadAs.KPI_IGNORED: rates, ReadAs.UNCERTAINTY_IGNORED: described}
    if options.metrics:
        if absent := [name for name in options.metrics if name not in rest]:
            msg = f"{source} has no numeric column {absent[0]!r}; found {', '.join(rest)}"
            raise DataError(msg)
        left = [name for name in metrics if name not in options.metrics]
        metrics, ignored = list(options.metrics), {ReadAs.UNSELECTED_IGNORED: left}
    notes = (ReadNote(kind=kind, columns=tuple(names)) for kind, names in ignored.items() if names)
    return MetricColumns(
        metrics=tuple(metrics),
        errors={name: one for name, one in errors.items() if name in metrics},
        notes=tuple(notes),
    )


def _describes(name: str, names: Collection[str]) -> bool:
    """Whether a column is an uncertainty of another one, in a form that is not read."""
    found = _UNCERTAINTY.fullmatch(name)
    return bool(found) and found[1] in names


def _is_a_rate(name: str, numbers: Mapping[str, Sequence[float | int | None]]) -> bool:
    """Whether a column is a KPI, by its name (or that of its error), or by its values."""
    bare = plain_name(name)
    error = STANDARD_ERROR.fullmatch(bare)
    uncertain = _UNCERTAINTY.fullmatch(bare)
    if {bare, error and error[1], uncertain and uncertain[1]} & set(Kpi):
        return True
    return any(
        _same_as_ratio(numbers[name], numbers[successes], numbers[trials])
        for trials, successes in TERMS.values()
        if {trials, successes} <= set(numbers)
    )


def _same_as_ratio(
    values: Sequence[float | int | None],
    successes: Sequence[float | int | None],
    trials: Sequence[float | int | None],
) -> bool:
    """Whether values are a ratio, as a fraction or in percent."""
    rows = list(zip(values, successes, trials, strict=True))
    if not all(value and y and m for value, y, m in rows):
        return False
    shares = [float(value or 0) * float(m or 0) / float(y or 1) for value, y, m in rows]
    return any(all(abs(one / unit - 1) < _SAME for one in shares) for unit in (1, 100))

"""What the columns of a table of past tests are: its form, and the names of its columns."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.core.errors import DataError
from pipeline.core.table_file import CellTable, ReadAs, ReadNote
from pipeline.experiment.kpis.contracts import COUNTS
from pipeline.inference.counts.columns import SYNONYMS
from pipeline.inference.counts.error_columns import plain_name
from pipeline.results.past_tests import EffectScale

TEST, VARIANT, NAME, TIME = "test", "variant", "metric-name", "time"
ESTIMATE, ERROR, LOW, HIGH = "estimate", "standard-error", "ci-low", "ci-high"
COUNT, MEAN, VARIANCE = "count", "mean", "variance"
CONTROL, TREATMENT = "-control", "-variant"

MOMENTS = (COUNT, MEAN, VARIANCE)
PAIRED_MOMENTS = tuple(one + side for one in MOMENTS for side in (CONTROL, TREATMENT))

MEANINGS = {
    TEST: "the tests' names",
    VARIANT: "the variants' names",
    NAME: "the names of metrics and KPIs, in a table with one row for each",
    TIME: "the time of the row; the last of a test is read",
    ESTIMATE: "the changes, in a table with one row per metric",
    ERROR: "the standard errors of the changes, in such a table",
    LOW: "the lower ends of their confidence intervals",
    HIGH: "the upper ends of their confidence intervals",
    COUNT: "the users of a variant",
    MEAN: "their mean",
    VARIANCE: "their variance",
    **{f"{one}{CONTROL}": f"the control's {one}, in a row with both" for one in MOMENTS},
    **{f"{one}{TREATMENT}": f"the variant's {one}, in a row with both" for one in MOMENTS},
    **dict.fromkeys(COUNTS, "these counts of a variant"),
}
"""The columns that can be mapped from other names, and what they have."""

_OF_NAMES = {*MOMENTS, *PAIRED_MOMENTS}
"""Columns of a table that has one of names."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    TEST: (
        "test_id", "test_name", "experiment", "experiment_id", "experiment_name", "ab_test", "exp",
    ),
    VARIANT: ("variant_id", "variation", "variation_id", "group", "arm", "treatment"),
    NAME: ("metric_name", "metric", "metric_id", "kpi", "measure"),
    TIME: ("time_since_start", "day", "date", "timestamp"),
    ESTIMATE: ("effect", "delta", "lift", "difference", "diff", "change", "value"),
    ERROR: ("standard_error", "se", "stderr", "std_err", "std_error"),
    LOW: ("ci_low", "ci_lower", "low", "lower", "lo"),
    HIGH: ("ci_high", "ci_upper", "high", "upper", "hi"),
    COUNT: ("n", "users"),
    MEAN: ("average", "avg"),
    VARIANCE: ("var",),
    "impressions": tuple(name for name, ours in SYNONYMS.items() if ours == "impressions"),
    **{
        f"{one}{CONTROL}": tuple(f"{short}_{side}" for short in names for side in ("c", "control"))
        for one, names in {COUNT: ("count", "n"), MEAN: ("mean",), VARIANCE: ("variance", "var")}.items()
    },
    **{
        f"{one}{TREATMENT}": tuple(
            f"{short}_{side}" for short in names for side in ("t", "treatment", "variant")
        )
        for one, names in {COUNT: ("count", "n"), MEAN: ("mean",), VARIANCE: ("variance", "var")}.items()
    },
}  # fmt: skip
"""Names of other programs, read where the table lacks ours."""


class Form(StrEnum):
    """What one row of the table is."""

    WIDE = "one test, with columns of changes and their errors"
    LONG = "the change of one metric in one test"
    COUNTS = "the counts and metrics of one variant in one test"
    MOMENTS = "count, mean and variance of one metric of one variant in one test"
    PAIRED_MOMENTS = "count, mean and variance of one metric of a variant and its control"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTestsOptions:
    """How a table of past tests is read.

    Attributes:
        columns: The table's column by our name, such as ``{"test": "experiment"}``.
        kpis: The KPIs: names of columns, or values of the column of names.
        metrics: The metrics, likewise; none for all that is not a KPI.
        control: The variant that others are compared with; None for the first of each test, or the
            one that is called control.
        ci_level: Level of the confidence intervals in the table.
        difference: Whether a change of counts or means is a difference, not the logarithm of a ratio.
    """

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    kpis: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    control: str | None = None
    ci_level: float = 0.95
    difference: bool = False

    @property
    def scale(self) -> EffectScale:
        """What a change of counts or means is."""
        return EffectScale.DIFFERENCE if self.difference else EffectScale.LOG_RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTable:
    """A table with our names of the columns that its form needs.

    Attributes:
        form: What one row is.
        table: The cells.
    """

    form: Form
    table: CellTable


def with_our_names(table: CellTable, options: PastTestsOptions) -> NamedTable:
    """The table with our names, and its form.

    Raises:
        DataError: if a declared column is missing, or there is no column of tests.
    """
    chosen = _declared(table, options)
    plain = {plain_name(name): name for name in reversed(list(table.columns))}
    for ours in MEANINGS:
        if ours in _OF_NAMES and NAME not in chosen:  # `users` is then a count of its own
            continue
        for theirs in (plain_name(ours), *_SYNONYMS.get(ours, ())):
            if ours not in chosen and theirs in plain and plain[theirs] not in chosen.values():
                chosen[ours] = plain[theirs]
    if TEST not in chosen:
        msg = (
            f"{table.name} has no column of tests; found {', '.join(table.columns)}. Name yours: "
            "--test COLUMN"
        )
        raise DataError(msg)
    form = _form(chosen)
    needed = {ours: theirs for ours, theirs in chosen.items() if ours in _needed(form)}
    notes = [
        ReadNote(kind=ReadAs.NAME, columns=(theirs,), value=ours)
        for ours, theirs in needed.items()
        if plain_name(theirs) != plain_name(ours)
    ]
    cells = {ours: table.columns[theirs] for ours, theirs in needed.items()}
    cells |= {name: cell for name, cell in table.columns.items() if name not in needed.values()}
    renamed = replace(table, columns=cells, notes=(*table.notes, *notes))
    return NamedTable(form=form, table=renamed)


def _declared(table: CellTable, options: PastTestsOptions) -> dict[str, str]:
    for ours, theirs in options.columns.items():
        if ours not in MEANINGS:
            msg = f"{ours!r} is not a column of past tests; expected one of {', '.join(MEANINGS)}"
            raise DataError(msg)
        if theirs not in table.columns:
            found = ", ".join(table.columns)
            msg = f"{table.name} has no column {theirs!r}, declared as {ours}; found {found}"
            raise DataError(msg)
    return dict(options.columns)


def _form(chosen: Mapping[str, str]) -> Form:
    def all_of(names: Iterable[str]) -> bool:
        return all(name in chosen for name in names)

    if NAME in chosen:
        if all_of(PAIRED_MOMENTS):
            return Form.PAIRED_MOMENTS
        if all_of((VARIANT, *MOMENTS)):
            return Form.MOMENTS
        if ESTIMATE in chosen:
            return Form.LONG
    if VARIANT in chosen and len([name for name in COUNTS if name in chosen]) > 1:
        return Form.COUNTS
    return Form.WIDE


def _needed(form: Form) -> set[str]:
    """Our names of the columns that a form has."""
    return {TEST, VARIANT} | {
        Form.WIDE: set[str](),
        Form.LONG: {NAME, TIME, ESTIMATE, ERROR, LOW, HIGH},
        Form.COUNTS: {TIME, *COUNTS},
        Form.MOMENTS: {NAME, TIME, *MOMENTS},
        Form.PAIRED_MOMENTS: {NAME, TIME, *PAIRED_MOMENTS},
    }[form]


_ENDS = {
    "error": ("se", "stderr", "std_err", "std_error", "standard_error"),
    "low": ("ci_low", "ci_lower", "ci_lo", "low", "lower", "lo"),
    "high": ("ci_high", "ci_upper", "ci_hi", "high", "upper", "hi"),
}
_EFFECT_END = re.compile(r"_(?:lift|delta|change|effect|diff|difference)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectColumns:
    """Where the errors of one change are: a standard error, or both ends of an interval."""

    error: str | None = None
    low: str | None = None
    high: str | None = None

    @property
    def known(self) -> bool:
        """Whether there is an error."""
        return bool(self.error or (self.low and self.high))

    def names(self) -> set[str]:
        """All columns."""
        return {name for name in (self.error, self.low, self.high) if name}


def error_columns(names: Iterable[str], columns: Iterable[str]) -> dict[str, EffectColumns]:
    """The columns of errors of the changes in columns ``names``, such as ``ctr_lift_se`` or ``ctr_se``."""
    plain = {plain_name(one): one for one in columns}
    return {name: _error_columns(name, plain) for name in names}


def _error_columns(name: str, plain: Mapping[str, str]) -> EffectColumns:
    """Those of one change, among the columns by their plain names."""
    bare = plain_name(name)
    stems = dict.fromkeys((bare, _EFFECT_END.sub("", bare)))
    found = {
        end: next(
            (
                plain[f"{stem}_{last}"]
                for stem in stems
                for last in lasts
                if f"{stem}_{last}" in plain
            ),
            None,
        )
        for end, lasts in _ENDS.items()
    }
    before = next((plain[f"se_{stem}"] for stem in stems if f"se_{stem}" in plain), None)
    return EffectColumns(error=found["error"] or before, low=found["low"], high=found["high"])


def is_lift(name: str) -> bool:
    """Whether a column is a KPI's change by its name."""
    return plain_name(name).endswith("_lift") or plain_name(name).startswith("lift_")

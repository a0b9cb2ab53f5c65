"""A table of group counts, converted to the tables that hypotheses are tested on.

One row per group: ``group``, ``impressions``, ``clicks``, optionally ``orders``, ``units``,
``revenue``, ``users`` and the planned ``share`` of the users; and one column per offline metric, such
as ``recall@20`` or ``od@20``. ``auc_se``, ``auc_cov_GROUP`` or ``auc_r1`` to ``auc_rR`` are the errors
of the metric ``auc``. The per-user sufficient statistics of a KPI are optional: ``ctr_users``,
``ctr_sum_mm``, ``ctr_sum_my`` and ``ctr_sum_yy`` (see
:func:`pipeline.experiment.kpis.group_kpis.group_counts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.cell_numbers import Number, parse_numbers
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.core.table_file import ReadAs, ReadNote, read_table, table_of_frame
from pipeline.experiment.kpis.contracts import GROUP_KPIS, TERMS
from pipeline.experiment.kpis.group_kpis import ratio_standard_error
from pipeline.inference.counts import metrics
from pipeline.inference.counts.checks import check_counts, check_shares, group_names
from pipeline.inference.counts.columns import (
    GROUP,
    INTEGERS,
    SHARE,
    CountsOptions,
    is_a_count,
    metric_columns,
    with_our_names,
)
from pipeline.inference.counts.metric_errors import MetricErrors, metric_errors
from pipeline.inference.counts.user_sums import KpiUserSums, complete_user_sums
from pipeline.results.family import Floats

_INT64 = 1 << 63
_INT128 = 1 << 127


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsTable:
    """A table of group counts that has passed every check.

    Attributes:
        groups: Their names, in the order of the rows.
        counts: One number per group by column: counts, and sums as given.
        shares: Planned shares of the users; None if unknown.
        sums: Per-user sufficient statistics.
        values: Offline metrics by column; nan where undefined.
        errors: Of the metrics.
        notes: How the table was read.
    """

    groups: tuple[str, ...]
    counts: Mapping[str, Sequence[Number]]
    shares: Floats | None
    sums: KpiUserSums
    values: Mapping[str, Floats]
    errors: MetricErrors
    notes: tuple[ReadNote, ...]

    @property
    def cutoff(self) -> int | None:
        """The k of all metrics at k; None where they differ, or one of them has none."""
        return metrics.common_cutoff(list(self.values))

    @property
    def users(self) -> Floats | None:
        """The users of each group: ``users``, or those with an impression; None if unknown."""
        found = self.counts.get("users", self.counts.get("ctr_users"))
        return None if found is None else np.array(found, dtype=np.float64)

    @property
    def users_unknown(self) -> tuple[Kpi, ...]:
        """The KPIs whose per-user sufficient statistics are not known."""
        return tuple(self.sums.missing)

    def offline_metrics(self) -> pl.DataFrame:
        """The table of that name."""
        return metrics.offline_metrics(self.values, self.groups, self.errors)

    def covariance(self) -> pl.DataFrame | None:
        """The table ``offline_metric_covariance``; None if no errors are known."""
        return metrics.covariance_table(self.errors, list(self.values), self.groups)

    def replicates(self) -> pl.DataFrame | None:
        """The table ``offline_metric_replicates``; None without replicates."""
        return metrics.replicates_table(self.errors, list(self.values), self.groups)

    def group_kpis(self) -> pl.DataFrame:
        """The table ``group_kpis``; where per-user sums are unknown, every trial counts as a user.

        Numbers beyond 64 bits are 128-bit integers, or floats with a relative error of 1e-16.
        """
        tables = [
            pl.DataFrame(
                {
                    "group": self.groups,
                    "preference_id": self.groups,
                    "kpi": [kpi.value] * len(self.groups),
                    "trials": _series(self.counts[TERMS[kpi][0]]),
                    "successes": _series(self.counts[TERMS[kpi][1]]),
                    **{name: _series(values) for name, values in sums.items()},
                }
            )
            for kpi, sums in self.sums.known.items()
        ]
        table = pl.concat(tables, how="vertical_relaxed").with_columns(
            rate=pl.when(pl.col("trials") > 0).then(pl.col("successes") / pl.col("trials"))
        )
        known = ~pl.col("kpi").is_in(_amounts(self.users_unknown))
        table = table.with_columns(standard_error=pl.when(known).then(ratio_standard_error()))
        return table.select(list(GROUP_KPIS.columns)).sort("kpi", "group")


def _amounts(kpis: Sequence[Kpi]) -> list[str]:
    return [kpi.value for kpi in kpis if not kpi.is_binary]


def _series(values: Sequence[Number]) -> pl.Series:
    """Integers of 64 bits, else of 128, else floats."""
    if all(isinstance(value, int) for value in values):
        largest = max(map(abs, values), default=0)
        if largest < _INT128:
            return pl.Series(values, dtype=pl.Int64 if largest < _INT64 else pl.Int128)
    return pl.Series([float(value) for value in values], dtype=pl.Float64)


def read_counts(source: Path | pl.DataFrame, options: CountsOptions) -> CountsTable:
    """Read and check a table of counts, a frame or a file; raises :class:`DataError`."""
    cells = (
        table_of_frame(source, "the frame")
        if isinstance(source, pl.DataFrame)
        else read_table(source)
    )
    table = with_our_names(cells, options)
    groups = group_names(table)
    rest = {name: column for name, column in table.columns.items() if name != GROUP}
    parsed = parse_numbers(replace(table, columns=rest), groups, INTEGERS)
    numbers, name = parsed.numbers, table.name
    if wrong := [column for column in parsed.strings if is_a_count(column) or column == SHARE]:
        msg = f"{name}: {wrong[0]} is {list(rest[wrong[0]])}; expected numbers"
        raise DataError(msg)
    counts = check_counts({c: v for c, v in numbers.items() if is_a_count(c)}, groups, name)
    found = metric_columns(numbers, groups, options, name)
    sums = complete_user_sums(counts, groups, one_trial=options.one_trial_per_user, source=name)
    errors = metric_errors(
        found.errors, numbers, groups, correlation=options.error_correlation, source=name
    )
    shares = check_shares(numbers[SHARE], groups, name) if SHARE in numbers else None
    notes = [*table.notes, *parsed.notes, *found.notes, *_error_notes(errors)]
    if parsed.strings:
        notes.append(ReadNote(kind=ReadAs.STRINGS_IGNORED, columns=parsed.strings))
    if sums.one_trial_per_user:
        notes.append(ReadNote(kind=ReadAs.ONE_TRIAL_PER_USER))
    return CountsTable(
        groups=tuple(groups),
        counts=counts,
        shares=shares,
        sums=sums,
        values={column: _floats(numbers[column]) for column in found.metrics},
        errors=errors,
        notes=tuple(notes),
    )


def _error_notes(errors: MetricErrors) -> list[ReadNote]:
    return [
        ReadNote(
            kind=ReadAs.METRIC_ERRORS,
            columns=tuple(name for name, one in errors.methods.items() if one == method),
            value=method,
        )
        for method in dict.fromkeys(errors.methods.values())
    ]


def _floats(values: Sequence[Number | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values])

"""The columns with the errors of offline metrics: ``auc_se``, ``auc_cov_GROUP``, ``auc_r1`` to ``auc_rR``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError

STANDARD_ERROR = re.compile(r"(.+)_(?:se|stderr|std_?err(?:or)?|standard_error)", re.IGNORECASE)
"""The name of a standard error; the first group is its metric."""

_REPLICATE = re.compile(r"(.+)_r([1-9][0-9]*)")
_COVARIANCE = "_cov_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorColumns:
    """Where the errors of one metric are.

    Attributes:
        standard_error: A column.
        covariance: One column per group.
        replicates: Columns of bootstrap replicates, in their order.
    """

    standard_error: str | None = None
    covariance: Mapping[str, str] = field(default_factory=dict[str, str])
    replicates: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """A name in lower case, without spaces and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def columns_of(errors: ErrorColumns) -> Iterator[str]:
    """All columns of a metric's errors."""
    if errors.standard_error:
        yield errors.standard_error
    yield from errors.covariance.values()
    yield from errors.replicates


def error_columns(
    names: Sequence[str], groups: Sequence[str], source: str
) -> dict[str, ErrorColumns]:
    """The columns of errors by metric.

    Raises:
        DataError: if errors are given twice, without their metric, or for some groups only.
    """
    found: dict[str, ErrorColumns] = {}
    for name, metric in _standard_errors(names, source):
        found[metric] = ErrorColumns(standard_error=name)
    for metric, covariance in _covariances(names, groups, source).items():
        found[metric] = replace(found.get(metric, ErrorColumns()), covariance=covariance)
    for metric, replicates in _replicates(names, source).items():
        found[metric] = replace(found.get(metric, ErrorColumns()), replicates=replicates)
    for metric, one in found.items():
        if sum(map(bool, (one.standard_error, one.covariance, one.replicates))) > 1:
            msg = (
                f"{source}: the errors of {metric} are given twice, in "
                f"{' and '.join(list(columns_of(one))[:2])}; keep one"
            )
            raise DataError(msg)
    return found


def _standard_errors(names: Sequence[str], source: str) -> Iterator[tuple[str, str]]:
    for name in names:
        found = STANDARD_ERROR.fullmatch(name)
        base = found[1] if found else name[3:] if name.casefold().startswith("se_") else None
        if base is None or (found is None and base not in names):
            continue
        if base in names:
            yield name, base
        elif plain_name(base) not in set(Kpi):
            msg = (
                f"{source}: {name} has the standard errors of {base}, but there is no column {base}; "
                "add or rename it"
            )
            raise DataError(msg)


def _covariances(
    names: Sequence[str], groups: Sequence[str], source: str
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in names:
        metric, separator, group = name.partition(_COVARIANCE)
        if separator and metric in names and group in groups:
            found.setdefault(metric, {})[group] = name
    for metric, columns in found.items():
        if missing := [group for group in groups if group not in columns]:
            msg = (
                f"{source}: the covariance of {metric} has no column "
                f"{metric}{_COVARIANCE}{missing[0]}; expected one per group"
            )
            raise DataError(msg)
    return found


def _replicates(names: Sequence[str], source: str) -> dict[str, tuple[str, ...]]:
    numbered: dict[str, dict[int, str]] = {}
    for name in names:
        if found := _REPLICATE.fullmatch(name):
            numbered.setdefault(found[1], {})[int(found[2])] = name
    replicates: dict[str, tuple[str, ...]] = {}
    for metric, columns in numbered.items():
        if sorted(columns) != list(range(1, len(columns) + 1)) or len(columns) < 2:
            continue  # such as an R², val_r2
        if metric not in names:
            msg = (
                f"{source}: {columns[1]} to {columns[len(columns)]} are replicates of {metric}, but "
                f"there is no column {metric}; add or rename it"
            )
            raise DataError(msg)
        replicates[metric] = tuple(columns[number] for number in sorted(columns))
    return replicates

"""Errors of a table's offline metrics: standard errors, covariances or bootstrap replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from pipeline.core.cell_numbers import Number
from pipeline.core.errors import DataError
from pipeline.inference.counts.error_columns import ErrorColumns
from pipeline.results.family import Floats

_ROUND_OFF = 1e-6
"""Relative size of a negative eigenvalue, or of an asymmetry, that rounding explains."""

GIVEN, INDEPENDENT, CORRELATED, REPLICATES = "given", "independent", "correlated", "bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricErrors:
    """The errors of the groups' metrics, by column; a metric without an entry has unknown errors.

    Attributes:
        matrices: Covariance of the groups' errors, G x G, from standard errors or as given.
        replicates: Bootstrap replicates, R x G.
        methods: How each covariance is known: given, independent, correlated or bootstrap.
    """

    matrices: Mapping[str, Floats] = field(default_factory=dict[str, Floats])
    replicates: Mapping[str, Floats] = field(default_factory=dict[str, Floats])
    methods: Mapping[str, str] = field(default_factory=dict[str, str])

    def covariances(self) -> dict[str, Floats]:
        """The covariance of every metric whose errors are known."""
        drawn = {
            name: np.atleast_2d(np.cov(replicates_RG, rowvar=False))
            for name, replicates_RG in self.replicates.items()
        }
        return {**self.matrices, **drawn}

    def with_replicates(self, replicates: Mapping[str, Floats]) -> Self:
        """With the replicates of further metrics."""
        return replace(
            self,
            replicates={**self.replicates, **replicates},
            methods={**self.methods, **dict.fromkeys(replicates, REPLICATES)},
        )


def metric_errors(
    columns: Mapping[str, ErrorColumns],
    numbers: Mapping[str, Sequence[Number | None]],
    groups: Sequence[str],
    *,
    correlation: float,
    source: str,
) -> MetricErrors:
    """The errors of the metrics.

    Args:
        columns: Where they are, by metric.
        numbers: The table's columns.
        groups: Their names, in the order of the rows.
        correlation: Of the errors of two groups with standard errors.
        source: Of the table, for messages.

    Raises:
        DataError: if an error is missing, negative or infinite, or a covariance is none.
    """
    errors = MetricErrors()
    for metric, one in columns.items():
        if one.standard_error:
            (error_G,) = _arrays([one.standard_error], numbers, groups, source)
            matrix_GG = with_correlation(error_G, correlation)
            method = CORRELATED if correlation else INDEPENDENT
        elif one.covariance:
            names = [one.covariance[group] for group in groups]
            matrix_GG, method = np.stack(_arrays(names, numbers, groups, source), axis=1), GIVEN
            _check_covariance(matrix_GG, metric, source)
        else:
            drawn_RG = np.stack(_arrays(one.replicates, numbers, groups, source))
            errors = errors.with_replicates({metric: drawn_RG})
            continue
        errors = replace(
            errors,
            matrices={**errors.matrices, metric: matrix_GG},
            methods={**errors.methods, metric: method},
        )
    return errors


def with_correlation(error_G: Floats, correlation: float) -> Floats:
    """The covariance of errors of which any two have the same correlation."""
    matrix_GG = correlation * np.outer(error_G, error_G)
    np.fill_diagonal(matrix_GG, error_G**2)
    return matrix_GG


def _arrays(
    names: Sequence[str],
    numbers: Mapping[str, Sequence[Number | None]],
    groups: Sequence[str],
    source: str,
) -> list[Floats]:
    signed = len(names) > 1
    for name in names:
        for row, (group, value) in enumerate(zip(groups, numbers[name], strict=True), start=1):
            number = float("nan") if value is None else float(value)
            if not np.isfinite(number) or (number < 0 and not signed):
                msg = (
                    f"{source}: {name} is {'missing' if value is None else value} in row {row} "
                    f"(group {group}); expected {'a number' if signed else 'a number of 0 or more'} "
                    "for every group, or no such column"
                )
                raise DataError(msg)
    return [np.array(numbers[name], dtype=np.float64) for name in names]


def _check_covariance(matrix_GG: Floats, metric: str, source: str) -> None:
    """Check that a matrix is symmetric, and that its eigenvalues are not negative."""
    size = float(np.abs(matrix_GG).max())
    symmetric = np.abs(matrix_GG - matrix_GG.T).max() <= _ROUND_OFF * size
    if not symmetric or np.linalg.eigvalsh(matrix_GG).min() < -_ROUND_OFF * size:
        problem = "has a negative eigenvalue" if symmetric else "is not symmetric"
        msg = (
            f"{source}: the covariance of {metric} in {metric}_cov_… {problem}; expected the "
            "covariance matrix of its errors, rows and columns in the same order of groups"
        )
        raise DataError(msg)

"""The effects of past tests on one metric and one KPI, with the covariance of their errors.

A test has C contrasts, each of one variant with the control. They share the control's errors, so they
are correlated. Where metric and KPI are measured on the same users, their errors are correlated as well.

Shape suffixes: E tests with the same number of contrasts, C contrasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.results.family import Floats

EFFECTS = {
    "test": pl.String,
    "variant": pl.String,
    "name": pl.String,
    "estimate": pl.Float64,
    "variance": pl.Float64,
    "shared": pl.Float64,
    "error_known": pl.Boolean,
}
"""Columns of a table of effects: one row per test, variant and metric (or KPI).

``variance`` is that of the variant's own errors, ``shared`` the standard deviation of those of the
control: the covariance of two contrasts i and j of one test is ``shared_i · shared_j``.
"""

LEAST, MOST = 1e-15, 1e15
"""Least standard error of a KPI, and largest size of a change or of an error, that are computed with.

Powers of numbers beyond them leave the range of floating point, or vanish.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedTests:
    """All tests with the same number of contrasts.

    Attributes:
        delta_EC: Measured changes of the metric.
        lift_EC: Measured changes of the KPI.
        delta_noise_ECC: Covariance of the errors of the metric's changes.
        lift_noise_ECC: Covariance of the errors of the KPI's changes.
        cross_noise_ECC: Covariance of the errors of both if they were perfectly correlated.
        tests: Names of the tests; empty where they are not known.
    """

    delta_EC: Floats
    lift_EC: Floats
    delta_noise_ECC: Floats
    lift_noise_ECC: Floats
    cross_noise_ECC: Floats
    tests: tuple[str, ...] = ()

    @property
    def between_CC(self) -> Floats:
        """Correlation of the contrasts' true deviations, those of variants being independent."""
        c = self.delta_EC.shape[1]
        return (np.eye(c) + 1) / 2

    def without(self, row: int) -> "StackedTests":
        """The tests without one."""
        sides = (
            self.delta_EC,
            self.lift_EC,
            self.delta_noise_ECC,
            self.lift_noise_ECC,
            self.cross_noise_ECC,
        )
        delta, lift, *noises = (np.delete(one, row, axis=0) for one in sides)
        return StackedTests(
            delta_EC=delta,
            lift_EC=lift,
            delta_noise_ECC=noises[0],
            lift_noise_ECC=noises[1],
            cross_noise_ECC=noises[2],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEffects:
    """One metric and one KPI over all tests that measured both.

    Attributes:
        rows: One row per contrast: ``test``, ``variant``, and of both ``delta`` and ``lift`` the
            estimate and its standard error (``delta_error``, ``lift_error``).
        blocks: The same, by the number of contrasts of a test.
        tests: Number of tests.
        errors_known: Whether all errors of the metric are known.
    """

    rows: pl.DataFrame
    blocks: tuple[StackedTests, ...]
    tests: int
    errors_known: bool

    @property
    def contrasts(self) -> int:
        """Number of contrasts."""
        return self.rows.height


def pair(effects: pl.DataFrame, metric: str, kpi: str) -> PairedEffects:
    """The contrasts for which both are known, of a table with the columns :data:`EFFECTS`."""
    keys = ["test", "variant"]
    rows = (
        effects.filter(name=metric)
        .join(
            effects.filter(name=kpi),
            on=keys,
            suffix="_kpi",
            nulls_equal=True,
            maintain_order="left",
        )
        .with_columns(contrasts=pl.len().over("test"))
    )
    blocks = [_block(of_size) for _, of_size in sorted(_by_size(rows), key=lambda one: one[0])]
    return PairedEffects(
        rows=rows.select(
            *keys,
            delta="estimate",
            lift="estimate_kpi",
            delta_error=_error("variance", "shared"),
            lift_error=_error("variance_kpi", "shared_kpi"),
        ),
        blocks=tuple(blocks),
        tests=rows["test"].n_unique(),
        errors_known=bool(rows["error_known"].all()),
    )


def _by_size(rows: pl.DataFrame) -> Sequence[tuple[int, pl.DataFrame]]:
    parts = rows.partition_by("contrasts", as_dict=True, maintain_order=True)
    return [(int(key[0]), part) for key, part in parts.items()]


def _error(variance: str, shared: str) -> pl.Expr:
    return (pl.col(variance) + pl.col(shared) ** 2).sqrt()


def _block(rows: pl.DataFrame) -> StackedTests:
    # tests of one size are stacked, in the same order for all metrics
    ordered = rows.sort("test", "variant")
    c = int(rows["contrasts"][0])

    def stacked(column: str) -> Floats:
        return ordered[column].to_numpy().reshape(-1, c)

    own, own_kpi = stacked("variance"), stacked("variance_kpi")
    shared, shared_kpi = stacked("shared"), stacked("shared_kpi")
    return StackedTests(
        delta_EC=stacked("estimate"),
        lift_EC=stacked("estimate_kpi"),
        delta_noise_ECC=_covariance(own, shared, shared),
        lift_noise_ECC=_covariance(own_kpi, shared_kpi, shared_kpi),
        cross_noise_ECC=_covariance(np.sqrt(own * own_kpi), shared, shared_kpi),
        tests=tuple(ordered["test"].to_list()[::c]),
    )


def _covariance(own_EC: Floats, first_EC: Floats, second_EC: Floats) -> Floats:
    c = own_EC.shape[1]
    return own_EC[:, :, None] * np.eye(c) + first_EC[:, :, None] * second_EC[:, None, :]

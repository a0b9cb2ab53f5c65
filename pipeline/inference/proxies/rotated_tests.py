"""Past tests that measured all metrics and a KPI, as uncorrelated contrasts and as variants."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.inference.past_tests.effects import StackedTests, pair
from pipeline.inference.past_tests.residuals import diagonal
from pipeline.inference.proxies.latent_effects import MeasuredEffects
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TestsOfSize:
    """All tests with the same number of variants besides the control.

    Attributes:
        metrics_MEC: Measured changes of the metrics.
        metric_roots_MECC: Cholesky factors of their errors' covariances.
        kpi_EC: Measured lifts.
        kpi_root_ECC: Cholesky factor of their errors' covariance.
        between_root_CC: Cholesky factor of the correlation of true effects of one test.
    """

    metrics_MEC: Floats
    metric_roots_MECC: Floats
    kpi_EC: Floats
    kpi_root_ECC: Floats
    between_root_CC: Floats

    @property
    def tests(self) -> int:
        """Number of tests."""
        return self.kpi_EC.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedTests:
    """The tests of one KPI.

    Attributes:
        measured: Contrasts that are not correlated, in the order of ``blocks``. That is exact where the
            variants of a test have the same size; else their errors keep a small correlation.
        blocks: The variants, by their number in a test.
        test_K: Number of the test of each contrast.
    """

    measured: MeasuredEffects
    blocks: tuple[TestsOfSize, ...]
    test_K: np.ndarray

    @property
    def tests(self) -> int:
        """Number of tests."""
        return sum(one.tests for one in self.blocks)

    def variants(self, contrasts_NK: Floats) -> list[Floats]:
        """Effects of variants against their control, N by E by C of each block."""
        found: list[Floats] = []
        first = 0
        for one in self.blocks:
            e, c = one.kpi_EC.shape
            rotated_NEC = contrasts_NK[..., first : first + e * c].reshape(-1, e, c)
            found.append(rotated_NEC @ one.between_root_CC.T)
            first += e * c
        return found


def rotate(
    effects: pl.DataFrame, metrics: Sequence[str], kpi: str, correlation: float
) -> RotatedTests:
    """The tests of a table with the columns :data:`pipeline.inference.past_tests.effects.EFFECTS`.

    Args:
        effects: Effects of variants that measured all the names.
        metrics: At least one.
        kpi: The KPI.
        correlation: Of the errors of a metric and the KPI.
    """
    by_metric = [pair(effects, metric, kpi).blocks for metric in metrics]
    blocks = tuple(_of_size(same) for same in zip(*by_metric, strict=True))
    sides = [_contrasts(same) for same in zip(*by_metric, strict=True)]
    values_KD, errors_KD = (np.concatenate([one[side] for one in sides]) for side in (0, 1))
    counts = [c for one in blocks for c in [one.kpi_EC.shape[1]] * one.tests]
    return RotatedTests(
        measured=MeasuredEffects(
            values_KD=values_KD,
            errors_KD=errors_KD,
            correlation=correlation,
            used_K=np.ones(len(values_KD), dtype=bool),
        ),
        blocks=blocks,
        test_K=np.repeat(np.arange(len(counts)), counts),
    )


def _of_size(same: Sequence[StackedTests]) -> TestsOfSize:
    kpi = same[0]
    return TestsOfSize(
        metrics_MEC=np.stack([one.delta_EC for one in same]),
        metric_roots_MECC=np.stack([_root(one.delta_noise_ECC) for one in same]),
        kpi_EC=kpi.lift_EC,
        kpi_root_ECC=_root(kpi.lift_noise_ECC),
        between_root_CC=np.asarray(np.linalg.cholesky(kpi.between_CC), dtype=np.float64),
    )


def _root(noise_ECC: Floats) -> Floats:
    """Cholesky factors; 0 where there are no errors."""
    c = noise_ECC.shape[-1]
    size = diagonal(noise_ECC).max(axis=-1)[:, None, None]
    unit = np.where(size > 0, noise_ECC / np.where(size > 0, size, 1.0), 0.0) + 1e-12 * np.eye(c)
    return np.linalg.cholesky(unit) * np.sqrt(size)


def _contrasts(same: Sequence[StackedTests]) -> tuple[Floats, Floats]:
    """Values and standard errors of contrasts without correlation, K by D."""
    turn_CC = np.linalg.inv(np.linalg.cholesky(same[0].between_CC))
    sides = [(one.delta_EC, one.delta_noise_ECC) for one in same]
    sides.append((same[0].lift_EC, same[0].lift_noise_ECC))
    values = [(measured_EC @ turn_CC.T).ravel() for measured_EC, _ in sides]
    errors = [np.sqrt(diagonal(turn_CC @ noise @ turn_CC.T)).ravel() for _, noise in sides]
    return np.stack(values, axis=1), np.stack(errors, axis=1)

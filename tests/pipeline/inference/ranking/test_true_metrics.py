"""Joint regression calibration: what is expected of the true metrics, given noisy ones."""

import numpy as np
import pytest

from pipeline.inference.ranking.true_metrics import true_metrics


def test_without_error_the_true_metrics_are_the_measured_ones_in_standard_deviations():
    rng = np.random.default_rng(1)
    metrics_GK = rng.normal(size=(6, 3)) * [1, 10, 0.01] + [0, 5, 1]

    expected_GK, left_K = true_metrics(metrics_GK, np.zeros((3, 3)))

    standard = (metrics_GK - metrics_GK.mean(axis=0)) / metrics_GK.std(axis=0, ddof=1)
    assert expected_GK == pytest.approx(standard, abs=1e-4)
    assert left_K == pytest.approx(np.zeros(3), abs=1e-5)


def test_one_metric_shrinks_by_its_reliability():
    metric_G1 = np.array([[1.0], [2.0], [4.0], [9.0]])
    variance = metric_G1.var(ddof=1)

    expected_G1, left = true_metrics(metric_G1, np.array([[0.25 * variance]]))

    # reliability .75: E ξ = .75 x, Var ξ given x = .75 - .75² of the measured variance
    standard = (metric_G1 - metric_G1.mean()) / np.sqrt(variance)
    assert expected_G1 == pytest.approx(0.75 * standard, rel=1e-5)
    assert left == pytest.approx([0.75 - 0.75**2], rel=1e-5)


def test_a_sharp_metric_tells_the_noise_of_one_that_correlates_with_it():
    """Equal to the regression of the true metric on both measured ones, on many groups."""
    rng = np.random.default_rng(2)
    truth_G = rng.normal(size=200_000)
    sharp_G = truth_G + 0.5 * rng.normal(size=truth_G.size)
    noisy_G = truth_G + rng.normal(size=truth_G.size)
    error_KK = np.diag([0.25, 1.0])

    expected_GK, left_K = true_metrics(np.column_stack([sharp_G, noisy_G]), error_KK)

    design = np.column_stack([sharp_G, noisy_G])
    weights, *_ = np.linalg.lstsq(design, truth_G, rcond=None)
    unit = noisy_G.std(ddof=1)
    assert np.corrcoef(expected_GK[:, 1], design @ weights)[0, 1] == pytest.approx(1, abs=1e-3)
    remaining = (truth_G - design @ weights).var() / unit**2
    assert left_K[1] == pytest.approx(remaining, rel=0.02)


def test_a_metric_whose_spread_is_less_than_its_error_is_expected_to_be_constant():
    metric_G1 = np.array([[1.0], [2.0], [3.0], [4.0]])

    expected_G1, left = true_metrics(metric_G1, np.array([[10.0]]))

    assert expected_G1 == pytest.approx(np.zeros((4, 1)))
    assert left == pytest.approx([0.0])

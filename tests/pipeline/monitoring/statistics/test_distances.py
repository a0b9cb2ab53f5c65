"""Distances against the golden numbers, by hand, and without drift."""

import numpy as np
import pytest

from pipeline.monitoring.statistics.distances import (
    expected_stability,
    jensen_shannon,
    population_stability,
    rank_biased_overlap,
    stability_p_value,
)

REFERENCE, CURRENT = np.array([100, 200, 300, 250, 150]), np.array([120, 180, 260, 280, 160])


def test_golden_numbers_of_an_independent_implementation():
    assert population_stability(REFERENCE, CURRENT) == pytest.approx(
        0.015522920965248363, abs=1e-12
    )
    assert stability_p_value(REFERENCE, CURRENT) == pytest.approx(0.10071753200923945, abs=1e-12)
    assert jensen_shannon(REFERENCE, CURRENT) == pytest.approx(0.0027970422366190443, abs=1e-12)
    assert [expected_stability(10, n, n) for n in (200, 1_000, 100_000)] == pytest.approx(
        [0.09, 0.018, 0.00018], abs=1e-12
    )
    assert expected_stability(3000, 20_000, 20_000) == pytest.approx(0.2999, abs=1e-12)
    assert rank_biased_overlap([1, 2, 3, 4, 5], [2, 1, 3, 6, 4]) == pytest.approx(
        0.750555, abs=1e-12
    )
    assert rank_biased_overlap([1, 2, 3], [1, 2, 3]) == pytest.approx(1.0, abs=1e-12)


def test_an_empty_bin_is_finite():
    assert 0 < population_stability(np.array([10, 0]), np.array([5, 5])) < 10
    assert jensen_shannon(np.array([10, 0]), np.array([0, 10])) == 1


def test_without_drift_the_psi_is_that_of_its_null():
    """Means and rejections of 2,000 pairs of samples from one distribution."""
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    pairs = [(rng.multinomial(20_000, shares), rng.multinomial(500, shares)) for _ in range(2000)]

    psi = np.array([population_stability(*pair) for pair in pairs])
    rejected = np.mean([stability_p_value(*pair) < 0.05 for pair in pairs])

    assert psi.mean() == pytest.approx(expected_stability(10, 20_000, 500), rel=0.06)
    assert rejected == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("ab", "cd", 0.0),
        ("ab", "ba", 0.9),  # 1 · .81 + .1/.9 · (0 · .9 + 1 · .81)
        ("abc", "ab", 1.0),  # cut to the shorter one
        ("", "", 1.0),
        ("a", "", 0.0),
    ],
)
def test_overlap_by_hand(one, other, expected):
    assert rank_biased_overlap(one, other) == pytest.approx(expected, abs=1e-12)

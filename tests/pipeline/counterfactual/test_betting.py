"""Betting intervals: the grid of the original against the bisection, and coverage at any time."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.counterfactual.betting import betting_interval


def on_a_grid(y, alpha=0.05, grid=1001):
    """The capital of every mean of a grid, as Waudby-Smith & Ramdas (2024) write it."""
    t = np.arange(1, len(y) + 1)
    mu = (0.5 + np.cumsum(y)) / (t + 1)
    s2 = (0.25 + np.cumsum((y - mu) ** 2)) / (t + 1)
    previous = np.concatenate([[0.25], s2[:-1]])
    bet = np.sqrt(2 * np.log(2 / alpha) / (previous * t * np.log(1 + t)))
    m = np.linspace(0, 1, grid)[1:-1]
    up, down = np.minimum(bet[:, None], 0.5 / m), np.minimum(bet[:, None], 0.5 / (1 - m))
    rising = 0.5 * np.exp(np.log1p(up * (y[:, None] - m)).cumsum(0))
    falling = 0.5 * np.exp(np.log1p(-down * (y[:, None] - m)).cumsum(0))
    kept = m[(np.maximum(rising, falling) < 1 / alpha).all(0)]
    return kept.min(), kept.max()


def test_500_coins_give_the_golden_interval():
    y = (np.random.default_rng(1).random(500) < 0.1).astype(float)

    low, high = betting_interval(y, bound=1.0)

    assert on_a_grid(y) == (pytest.approx(0.048), pytest.approx(0.124))
    assert 0.047 < low <= 0.048  # between two points of the grid
    assert 0.124 <= high < 0.125


@pytest.mark.parametrize("seed", range(3))
def test_the_bisection_gives_the_ends_of_the_grid(seed):
    y = np.random.default_rng(seed).beta(0.5, 2, 300)

    low, high = betting_interval(y, bound=1.0)

    assert (low, high) == pytest.approx(on_a_grid(y), abs=1e-3)


def test_the_interval_scales_with_the_bound():
    y = np.random.default_rng(3).random(200)

    assert betting_interval(7 * y, bound=7.0) == pytest.approx(
        tuple(7 * np.array(betting_interval(y, bound=1.0)))
    )


def test_the_interval_covers_at_small_samples_and_skewed_values():
    """Nominal 95%, of a mean of 0.1 with 100 users: a normal interval covers less."""
    found = [
        betting_interval((np.random.default_rng(seed).random(100) < 0.1).astype(float), bound=1.0)
        for seed in range(200)
    ]

    assert np.mean([low <= 0.1 <= high for low, high in found]) >= 0.95


def test_values_beyond_the_bound_are_refused():
    with pytest.raises(DataError, match="values from 0 to 3; expected 0 to the bound 2"):
        betting_interval(np.array([0.0, 3.0]), bound=2.0)

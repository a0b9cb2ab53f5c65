"""The position-based click model of simulated users: examination by position, click by relevance."""

import numpy as np
from numpy.typing import NDArray

from pipeline.study import InjectedFaults

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_CLICK = -1
_POSITION_DECAY = 0.6
_FURTHER_UNITS = 0.15
_NOVELTY_HALF_LIFE_DAYS = 3.0

UNITS_PER_ORDER = 1 + _FURTHER_UNITS
"""Expected number of units per order."""


def examination(positions: int) -> Floats:
    """Probability that position k (from 0) is examined: ``(1 + k)^-0.6`` for every user."""
    return (1.0 + np.arange(positions, dtype=np.float64)) ** -_POSITION_DECAY


def first_click(attraction: Floats, rng: np.random.Generator) -> Ints:
    """Draw the position that each user clicks, or :data:`NO_CLICK`.

    A user scans the list from the top, examines position k with probability ``examination(k)``, clicks
    an examined item with probability ``attraction[user, k]``, and stops at the first click.
    """
    probability = examination(attraction.shape[1]) * attraction
    clicked = rng.random(attraction.shape) < probability
    return np.where(clicked.any(axis=1), clicked.argmax(axis=1), NO_CLICK)


def first_click_probability(attraction: Floats) -> Floats:
    """Probability that :func:`first_click` returns each position; users × positions."""
    probability = examination(attraction.shape[1]) * attraction
    none_before = np.cumprod(1 - probability, axis=1)
    first = np.ones_like(probability[:, :1])
    return probability * np.concatenate([first, none_before[:, :-1]], axis=1)


def carry_over_effect(faults: InjectedFaults, *, day: Ints, shown: Ints) -> Floats:
    """Change of the click log odds by carry-over and novelty, at a first weight of 1.

    ``day`` counts from 0; ``shown`` is the number of lists shown to the user before.
    """
    novelty = faults.novelty * 0.5 ** (day / _NOVELTY_HALF_LIFE_DAYS)
    return novelty + faults.carry_over * np.log2(1.0 + shown)


def units_bought(ordered: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """Draw the units of each impression: 0 without an order, otherwise 1 + Poisson(0.15)."""
    return np.where(ordered, 1 + rng.poisson(_FURTHER_UNITS, len(ordered)), 0)

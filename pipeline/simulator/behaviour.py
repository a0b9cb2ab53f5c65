"""How a simulated user answers a list: position decides what is seen, relevance what is clicked."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_CLICK = -1
_POSITION_DECAY = 0.6
_FURTHER_UNITS = 0.15


def examination(positions: int) -> Floats:
    """Probability that position k (from 0) is looked at: ``(1 + k)^-0.6``, the same for all."""
    return (1.0 + np.arange(positions, dtype=np.float64)) ** -_POSITION_DECAY


def first_click(attraction: Floats, rng: np.random.Generator) -> Ints:
    """The position each user clicks, or :data:`NO_CLICK`.

    A user goes through the list from the top, looks at position k with probability
    ``examination(k)``, clicks what is looked at with probability ``attraction[user, k]``, and stops
    at the first click.
    """
    chance = examination(attraction.shape[1]) * attraction
    clicked = rng.random(attraction.shape) < chance
    return np.where(clicked.any(axis=1), clicked.argmax(axis=1), NO_CLICK)


def units_bought(ordered: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """Units of each exposure: 0 without an order, else 1 and a few more now and then."""
    return np.where(ordered, 1 + rng.poisson(_FURTHER_UNITS, len(ordered)), 0)

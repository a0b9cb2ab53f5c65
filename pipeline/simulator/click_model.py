"""How a simulated user answers a list: position decides what is seen, relevance what is clicked."""

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

UNITS_AN_ORDER = 1 + _FURTHER_UNITS
"""Expected units of an order."""


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


def first_click_chances(attraction: Floats) -> Floats:
    """The exact probability that :func:`first_click` finds each position; users × positions."""
    chance = examination(attraction.shape[1]) * attraction
    none_before = np.cumprod(1 - chance, axis=1)
    return chance * np.concatenate([np.ones_like(chance[:, :1]), none_before[:, :-1]], axis=1)


def carry_over_effect(faults: InjectedFaults, *, day: Ints, shown: Ints) -> Floats:
    """What carry-over and novelty add to the log odds of a click at the end of the groups.

    Args:
        faults: How strong they are.
        day: Of the experiment, from 0.
        shown: Lists the user was shown before.
    """
    fresh = faults.novelty * 0.5 ** (day / _NOVELTY_HALF_LIFE_DAYS)
    return fresh + faults.carry_over * np.log2(1.0 + shown)


def units_bought(ordered: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """Units of each impression: 0 without an order, else 1 and a few more now and then."""
    return np.where(ordered, 1 + rng.poisson(_FURTHER_UNITS, len(ordered)), 0)

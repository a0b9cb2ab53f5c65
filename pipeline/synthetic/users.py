"""The synthetic shop's users: tastes that differ, and that stay with a user over visits."""

from dataclasses import dataclass

import numpy as np

from pipeline.study import SyntheticConfig
from pipeline.synthetic.catalogue import Ints

FAVOURITES = 3
"""Categories a user starts visits in."""


@dataclass(frozen=True, slots=True)
class Shoppers:
    """The users, as arrays over user numbers 0 … U-1.

    Attributes:
        favourites: Categories each user likes, U × 3, the first the most.
        curiosity: Per cent of an average user's readiness to click (100 is average).
        thrift: Per cent of an average user's readiness to order (100 is average).
        categories: Of the shop.
    """

    favourites: Ints
    curiosity: Ints
    thrift: Ints
    categories: int

    @property
    def size(self) -> int:
        """Number of users."""
        return len(self.curiosity)

    def start_category(self, user: Ints, rng: np.random.Generator) -> Ints:
        """The category each user's visit starts in: the favourites in ratio 3 : 2 : 1."""
        ticket = rng.integers(0, 6, len(user))
        choice = np.where(ticket < 3, 0, np.where(ticket < 5, 1, 2))
        return self.favourites[user, choice]


def make_shoppers(synthetic: SyntheticConfig, n_users: int, rng: np.random.Generator) -> Shoppers:
    """Draw ``n_users`` users of the shop."""
    return Shoppers(
        favourites=rng.integers(0, synthetic.categories, (n_users, FAVOURITES)),
        curiosity=rng.integers(40, 161, n_users),
        thrift=rng.integers(30, 171, n_users),
        categories=synthetic.categories,
    )

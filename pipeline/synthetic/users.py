"""The synthetic shop's users, whose tastes differ and persist over sessions."""

from dataclasses import dataclass

import numpy as np

from pipeline.study import SyntheticConfig
from pipeline.synthetic.catalogue import Ints

FAVOURITES = 3
"""Categories in which a user starts sessions."""


@dataclass(frozen=True, slots=True)
class ShopUsers:
    """The users, as arrays over user numbers 0 … U-1.

    Attributes:
        favourites: Categories each user likes, U × 3, the first the most.
        curiosity: Propensity to click, in percent of an average user's.
        thrift: Propensity to order, in percent of an average user's.
        categories: Number of categories of the shop.
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
        """The category in which each user's session starts: the favourites in ratio 3 : 2 : 1."""
        ticket = rng.integers(0, 6, len(user))
        choice = np.where(ticket < 3, 0, np.where(ticket < 5, 1, 2))
        return self.favourites[user, choice]


def make_users(synthetic: SyntheticConfig, n_users: int, rng: np.random.Generator) -> ShopUsers:
    """Draw ``n_users`` users of the shop."""
    return ShopUsers(
        favourites=rng.integers(0, synthetic.categories, (n_users, FAVOURITES)),
        curiosity=rng.integers(40, 161, n_users),
        thrift=rng.integers(30, 171, n_users),
        categories=synthetic.categories,
    )

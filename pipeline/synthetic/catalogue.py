"""The synthetic shop's items: categories, popularity, appeal, quality and related items.

Everything is integer arithmetic on bounded numbers, so that the same seed gives the same bytes on
any processor. *Appeal* makes users click an item, *quality* makes them order it. The two are
negatively correlated, so that clicks and orders are conflicting objectives in this shop.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pipeline.study import SyntheticConfig

Ints = NDArray[np.int64]

APPEAL_LEVELS = 100
QUALITY_LEVELS = 100
_TASTE_DIMENSIONS = 6
_POPULARITY_SCALE = 1_000_000


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items, as arrays over item numbers 0 … I-1.

    Attributes:
        category: Category of each item.
        appeal: How likely an impression of the item leads to a click, 0 … 99.
        quality: How likely a click on the item leads to an order, 0 … 99.
        popularity: Zipf weight of each item in category pages and on the start page.
        neighbours: Related items of each item, I × K, none of them the item itself.
        neighbour_weight: Weight of each related item, I × K.
    """

    category: Ints
    appeal: Ints
    quality: Ints
    popularity: Ints
    neighbours: Ints
    neighbour_weight: Ints

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.category)


def make_catalogue(synthetic: SyntheticConfig, rng: np.random.Generator) -> Catalogue:
    """Draw the shop's items."""
    category = _categories(synthetic, rng)
    appeal = rng.integers(0, APPEAL_LEVELS, synthetic.items)
    independent = rng.integers(0, QUALITY_LEVELS, synthetic.items)
    quality = (2 * (QUALITY_LEVELS - 1 - appeal) + 3 * independent) // 5
    popularity = _popularity(appeal, rng)
    features = rng.integers(-50, 51, (synthetic.items, _TASTE_DIMENSIONS))
    features += rng.integers(-120, 121, (synthetic.categories, _TASTE_DIMENSIONS))[category]
    neighbours = _nearest(features, min(synthetic.neighbours, synthetic.items - 1))
    return Catalogue(
        category=category,
        appeal=appeal,
        quality=quality,
        popularity=popularity,
        neighbours=neighbours,
        neighbour_weight=(10 + appeal)[neighbours] ** 2,
    )


def _categories(synthetic: SyntheticConfig, rng: np.random.Generator) -> Ints:
    """A random category for each item; an empty category takes an item of the largest one."""
    category = rng.integers(0, synthetic.categories, synthetic.items)
    for absent in np.setdiff1d(np.arange(synthetic.categories), category):
        category[np.argmax(category == np.bincount(category).argmax())] = absent
    return category


def _popularity(appeal: Ints, rng: np.random.Generator) -> Ints:
    """Zipf weights (exponent 1) over a random order of the items, tilted by appeal."""
    rank = rng.permutation(len(appeal)) + 1
    return _POPULARITY_SCALE * (50 + appeal) // (rank + 10)


def _nearest(features: Ints, k: int) -> Ints:
    """The k nearest other items of each item by squared distance; ties go to the lower number."""
    tree = KDTree(features)
    distance, _ = tree.query(features, k + 1)  # the item itself is one of them
    # all items at most that far, of which those as far as the last one may be more than are wanted
    found = tree.query_ball_point(features, np.sqrt(np.rint(distance[:, k] ** 2) + 0.5))
    nearest = np.empty((len(features), k), dtype=np.int64)
    for item, near in enumerate(found):
        others = np.array([other for other in near if other != item])
        apart = ((features[others] - features[item]) ** 2).sum(axis=1)
        nearest[item] = others[np.lexsort((others, apart))][:k]
    return nearest

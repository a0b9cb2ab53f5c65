"""How users browse the synthetic shop: the rules that the log and the simulator share.

From the current item, a user takes one of four steps: to a related item, an item of the same
category, an item seen before in the session, or any item. How often each is taken depends on the
session's intent. Orders follow clicks: more often on items of high quality, with the intent to buy,
and when the item is seen again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.catalogue import QUALITY_LEVELS, Catalogue, Ints

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BROWSE, BUY = 0, 1
RELATED, CATEGORY, RETURN, ANYWHERE = range(4)

STEP_PERCENT = np.array([[60, 20, 8, 12], [50, 16, 28, 6]], dtype=np.int64)
"""Percent of steps by kind (related, category, return, anywhere), one row per intent."""

CONTINUE_PERCENT = np.array([82, 88], dtype=np.int64)
"""Probability that a session continues after a click, in percent, one number per intent."""

BUY_SESSIONS_PERCENT = 35

ORDER_SCALE = 1_000_000
"""Order probabilities are integers in parts per million."""


@dataclass(frozen=True, slots=True)
class WeightedDraw:
    """Exact draws from rows of integer weights, with one uniform integer per draw."""

    cumulative: Ints

    @classmethod
    def over(cls, weights: Ints) -> "WeightedDraw":
        """A draw over ``weights`` (R × K, each row with a positive sum)."""
        return cls(cumulative=np.cumsum(weights, axis=1))

    def columns(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """For each row, a column drawn by the row's weights."""
        cumulative = self.cumulative[rows]
        ticket = rng.integers(0, cumulative[:, -1])
        return (cumulative <= ticket[:, None]).sum(axis=1)


@dataclass(frozen=True, slots=True)
class CategoryPages:
    """Items sorted by category, for draws by popularity within a category or from all items."""

    items: Ints
    cumulative: Ints
    first: Ints
    last: Ints

    @classmethod
    def of(cls, catalogue: Catalogue) -> "CategoryPages":
        """The pages of a catalogue."""
        items = np.argsort(catalogue.category, kind="stable")
        cumulative = np.concatenate([[0], np.cumsum(catalogue.popularity[items])])
        sorted_category = catalogue.category[items]
        numbers = np.arange(catalogue.category.max() + 1)
        return cls(
            items=items,
            cumulative=cumulative,
            first=cumulative[np.searchsorted(sorted_category, numbers, side="left")],
            last=cumulative[np.searchsorted(sorted_category, numbers, side="right")],
        )

    def draw_in(self, categories: Ints, rng: np.random.Generator) -> Ints:
        """One item of each category, by popularity."""
        ticket = rng.integers(self.first[categories], self.last[categories])
        return self._at(ticket)

    def draw_anywhere(self, n: int, rng: np.random.Generator) -> Ints:
        """``n`` items of the catalogue, by popularity."""
        return self._at(rng.integers(0, self.cumulative[-1], n))

    def _at(self, ticket: Ints) -> Ints:
        return self.items[np.searchsorted(self.cumulative, ticket, side="right") - 1]


@dataclass(frozen=True, slots=True)
class Shop:
    """A catalogue with the tables from which the users' steps are drawn."""

    catalogue: Catalogue
    pages: CategoryPages
    related: WeightedDraw
    ways: WeightedDraw

    @classmethod
    def open(cls, catalogue: Catalogue) -> "Shop":
        """The shop that sells ``catalogue``."""
        return cls(
            catalogue=catalogue,
            pages=CategoryPages.of(catalogue),
            related=WeightedDraw.over(catalogue.neighbour_weight),
            ways=WeightedDraw.over(STEP_PERCENT),
        )

    def next_click(
        self, seen: Ints, length: Ints, intent: Ints, *, rng: np.random.Generator
    ) -> Ints:
        """Draw the next item of each session.

        Args:
            seen: S × T items clicked so far, in order; row s is filled up to ``length[s]``.
            length: Number of clicks so far, at least 1.
            intent: ``BROWSE`` or ``BUY``.
            rng: The source of randomness.
        """
        rows = np.arange(len(length))
        current = seen[rows, length - 1]
        way = self.ways.columns(intent, rng)
        column = self.related.columns(current, rng)
        earlier = rng.integers(0, length)
        choices = np.stack(
            [
                self.catalogue.neighbours[current, column],
                self.pages.draw_in(self.catalogue.category[current], rng),
                seen[rows, earlier],
                self.pages.draw_anywhere(len(length), rng),
            ]
        )
        return choices[way, rows]

    def next_click_probability(
        self, seen: Ints, length: Ints, intent: Ints, *, items: Ints
    ) -> Floats:
        """The exact probability that :meth:`next_click` draws each of ``items`` (S × K)."""
        rows = np.arange(len(length))
        current = seen[rows, length - 1]
        share = STEP_PERCENT[intent] / STEP_PERCENT.sum(axis=1)[intent][:, None]
        category = self.catalogue.category
        popularity = self.catalogue.popularity[items]
        weight = self.catalogue.neighbour_weight[current]
        is_neighbour = self.catalogue.neighbours[current][:, None, :] == items[:, :, None]
        related = (is_neighbour * weight[:, None, :]).sum(axis=2) / weight.sum(axis=1)[:, None]
        page_total = (self.pages.last - self.pages.first)[category[current]][:, None]
        page = (category[items] == category[current][:, None]) * popularity / page_total
        filled = np.arange(seen.shape[1]) < length[:, None]
        times = ((seen[:, None, :] == items[:, :, None]) & filled[:, None, :]).sum(axis=2)
        ways = [related, page, times / length[:, None], popularity / self.pages.cumulative[-1]]
        return np.einsum("vw,wvk->vk", share, np.stack(ways))

    def order_rate_ppm(self, item: Ints, intent: Ints, again: Flags, thrift: Ints) -> Ints:
        """Probability that a click on ``item`` leads to an order, in parts per million.

        Args:
            item: Items clicked.
            intent: Intent of the session.
            again: Whether the session has clicked the item before.
            thrift: Propensity to order, in percent of an average user's.
        """
        quality = self.catalogue.quality[item]
        by_quality = 2_000 + 120_000 * quality**3 // (QUALITY_LEVELS - 1) ** 3
        by_intent = np.where(intent == BUY, 250, 20)
        chance = by_quality * by_intent // 100 * np.where(again, 2, 1) * thrift // 100
        return np.minimum(chance, ORDER_SCALE * 9 // 10)

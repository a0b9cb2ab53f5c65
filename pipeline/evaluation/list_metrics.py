"""Beyond accuracy: what the lists for the test sessions show of the catalogue.

Each test session is asked for one list, before its last click. The mean over lists of a list's own
value is a ratio like the metrics of targets; what looks at all lists together is no ratio, and its
error comes from leaving out groups of sessions.
"""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.core.contracts import DAY_MS, Metric

_GROUPS = 20
"""Of sessions, that the jackknife leaves out one after another."""

Lists = NDArray[np.int64]
"""Items shown; S × k."""


class Catalogue:
    """What is known of the items, from the train split and the model.

    Attributes:
        clicks_I: Clicks of each item in train.
        cold_I: Whether that is at most ``cold_item_clicks``.
        category_I: Number of each item's category; None if the shop names none.
        available_I: When each item became available, milliseconds UTC, nan where unknown; None if
            the shop says of none.
    """

    def __init__(
        self,
        clicks_I: NDArray[np.int64],
        embedding_ID: NDArray[np.float32],
        attributes: pl.DataFrame,
        *,
        cold_item_clicks: int,
    ) -> None:
        self.clicks_I = clicks_I
        self.category_I = _category_numbers(attributes["category"])
        available = attributes["available_since"]
        everywhere_unknown = available.null_count() == len(available)
        self.available_I = None if everywhere_unknown else available.cast(pl.Float64).to_numpy()
        self.cold_I = clicks_I <= cold_item_clicks
        known_I = np.maximum(clicks_I, 1)
        self._information_I = -np.log2(known_I / known_I.sum())
        self._percentile_I = (rankdata(clicks_I) - 0.5) / len(clicks_I)
        length_I1 = np.linalg.norm(embedding_ID, axis=1, keepdims=True)
        self._direction_ID = embedding_ID / np.maximum(length_I1, 1e-12)

    def popularity_percentile_S(self, lists_SK: Lists) -> NDArray[np.float64]:
        """Mean share of the catalogue that is less popular than an item shown, ties half.

        ``popularity_percentile``; in [0, 1], lower is less popular.
        """
        return self._percentile_I[lists_SK].mean(axis=1)

    def novelty_S(self, lists_SK: Lists) -> NDArray[np.float64]:
        """Mean self-information -log2 p of the items shown, p their share of the train clicks.

        ``novelty``; bits, in [0, ∞), higher is more novel (Zhou et al., PNAS 2010). An item without
        a click counts as one with one.
        """
        return self._information_I[lists_SK].mean(axis=1)

    def diversity_S(self, lists_SK: Lists) -> NDArray[np.float64]:
        """Mean of 1 - cosine over the pairs of a list's items, by the model's embeddings.

        ``intra_list_diversity``; in [0, 2], higher is more diverse (Ziegler et al., WWW 2005); 0
        for a list of one.
        """
        k = lists_SK.shape[1]
        if k < 2:
            return np.zeros(len(lists_SK))
        # Σ over ordered pairs of u·v is |Σ u|² - Σ |u|²; an embedding of 0 has length 0.
        found_SKD = self._direction_ID[lists_SK].astype(np.float64)
        all_pairs_S = (found_SKD.sum(axis=1) ** 2).sum(axis=1)
        cosines_S = all_pairs_S - (found_SKD**2).sum(axis=(1, 2))
        return 1 - cosines_S / (k * (k - 1))


def category_diversity_S(category_I: NDArray[np.int64], lists_SK: Lists) -> NDArray[np.float64]:
    """Share of the pairs of a list's items that are of two categories.

    ``category_diversity``; in [0, 1], higher is more diverse; 0 for a list of one.
    """
    k = lists_SK.shape[1]
    if k < 2:
        return np.zeros(len(lists_SK))
    # In a sorted row, an item is alike to as many before it as it is places behind its run's first.
    sorted_SK = np.sort(category_I[lists_SK], axis=1)
    starts_SK = np.ones_like(sorted_SK, dtype=np.bool_)
    starts_SK[:, 1:] = sorted_SK[:, 1:] != sorted_SK[:, :-1]
    place_K = np.arange(k)
    first_SK = np.maximum.accumulate(np.where(starts_SK, place_K, 0), axis=1)
    return 1 - (place_K - first_SK).sum(axis=1) / (k * (k - 1) / 2)


def freshness_terms(
    available_I: NDArray[np.float64], lists_SK: Lists, asked_S: NDArray[np.int64], days: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Items of each list that were available for at most so many days, and items of known age.

    ``freshness`` is the ratio of their sums; in [0, 1], higher is fresher.

    Args:
        available_I: When items became available, milliseconds UTC, nan where unknown.
        lists_SK: The items shown.
        asked_S: When each list was asked for, milliseconds UTC.
        days: For which an item is fresh.
    """
    age_SK = asked_S[:, None] - available_I[lists_SK]
    fresh_S = (age_SK <= days * DAY_MS).sum(axis=1)
    return fresh_S.astype(np.float64), np.isfinite(age_SK).sum(axis=1).astype(np.float64)


def _category_numbers(category: pl.Series) -> NDArray[np.int64] | None:
    """A number a category; an item without one has a number of its own."""
    if category.null_count() == len(category):
        return None
    number = category.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
    return np.where(number > 0, number, -np.arange(len(number)) - 1)


def coverage(shown_I: NDArray[np.int64]) -> float:
    """``catalogue_coverage``: share of the catalogue in at least one list; in (0, 1], higher is wider."""
    return float(np.mean(shown_I > 0))


def gini(shown_I: NDArray[np.int64]) -> float:
    """``gini_index``: Gini index of how often each item is shown; in [0, 1), 0 is evenly.

    ``Σ_i (2i - I - 1) x_(i) / (I Σ x)``, x_(i) in ascending order.
    """
    ascending = np.sort(shown_I)
    n = len(ascending)
    place = 2 * np.arange(1, n + 1) - n - 1
    return float((place * ascending).sum() / (n * ascending.sum()))


MEANS: Mapping[Metric, Callable[[Catalogue, Lists], NDArray[np.float64]]] = {
    Metric.POPULARITY_PERCENTILE: Catalogue.popularity_percentile_S,
    Metric.NOVELTY: Catalogue.novelty_S,
    Metric.INTRA_LIST_DIVERSITY: Catalogue.diversity_S,
}
"""Means over lists."""

OF_ALL_LISTS: Mapping[Metric, Callable[[NDArray[np.int64]], float]] = {
    Metric.CATALOGUE_COVERAGE: coverage,
    Metric.GINI_INDEX: gini,
}
"""Functions of how often each item is shown."""


def jackknife(
    statistic: Callable[[NDArray[np.int64]], float], lists_SK: Lists, n_items: int
) -> tuple[float, NDArray[np.float64]]:
    """A statistic of all lists, and its values without each group of them.

    With fewer sessions than groups, each session is a group; with one, there is nothing to leave
    out, and the values are empty.
    """
    shown_I = np.bincount(lists_SK.ravel(), minlength=n_items)
    groups = min(_GROUPS, len(lists_SK))
    if groups < 2:
        return statistic(shown_I), np.empty(0)
    without = [
        statistic(shown_I - np.bincount(lists_SK[group::groups].ravel(), minlength=n_items))
        for group in range(groups)
    ]
    return statistic(shown_I), np.array(without)

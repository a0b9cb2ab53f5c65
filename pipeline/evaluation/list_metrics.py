"""Offline metrics beyond accuracy: how the recommendation lists use the catalogue.

Every test session gets one list, before its last click. A metric that is a mean over lists is a
ratio, like the metrics of targets; one of all lists together (coverage, Gini) is not, and its
standard error comes from a jackknife over groups of sessions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.core.contracts import DAY_MS, Metric
from pipeline.evaluation.ranking_metrics import RatioTerms

_JACKKNIFE_GROUPS = 20

Lists = NDArray[np.int64]
"""Recommended items; S × k."""


class Catalogue:
    """What is known about the items of a catalogue; what is not given or all null is unknown.

    Attributes:
        n_items: Items of the catalogue.
        known: Which of the arguments of :meth:`__init__` are known.
    """

    def __init__(
        self,
        n_items: int,
        *,
        train_clicks: NDArray[np.int64] | None = None,
        embedding: NDArray[np.float32] | None = None,
        category: pl.Series | None = None,
        available_since: pl.Series | None = None,
    ) -> None:
        """Derive what the metrics read; each argument has one entry per item.

        Args:
            n_items: Items of the catalogue.
            train_clicks: Clicks of each item in train.
            embedding: Embedding of each item; only its direction is used.
            category: Category of each item; null where unknown.
            available_since: When each item became available, milliseconds UTC; null where unknown.
        """
        self.n_items = n_items
        known: set[str] = set()
        if train_clicks is not None:
            known.add("train_clicks")
            clicks_I = np.maximum(train_clicks, 1)
            self.information_I = -np.log2(clicks_I / clicks_I.sum())
            self.percentile_I = (rankdata(train_clicks) - 0.5) / n_items
        if embedding is not None:
            known.add("embedding")
            length_I1 = np.linalg.norm(embedding, axis=1, keepdims=True)
            self.direction_ID = embedding / np.maximum(length_I1, 1e-12)
        if category is not None and category.null_count() < n_items:
            known.add("category")
            self.category_I = _category_codes(category)
        if available_since is not None and available_since.null_count() < n_items:
            known.add("available_since")
            self.available_I = available_since.cast(pl.Float64).to_numpy()
        self.known = frozenset(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationLists:
    """One recommendation list per session.

    Attributes:
        catalogue: What is known about the items.
        items_SK: The recommended items, as indices of the catalogue.
        ts_S: When each list was requested, milliseconds UTC; read by freshness only.
        fresh_days: An item is fresh for this many days after it became available.
    """

    catalogue: Catalogue
    items_SK: Lists
    ts_S: NDArray[np.int64]
    fresh_days: float


def popularity_percentile(lists: RecommendationLists) -> RatioTerms:
    """``popularity_percentile``: mean share of the catalogue that is less popular than a recommended item.

    In [0, 1], lower is less popular; ties count half.
    """
    return _mean(lists.catalogue.percentile_I[lists.items_SK].mean(axis=1))


def novelty(lists: RecommendationLists) -> RatioTerms:
    """``novelty``: mean self-information -log2 p of the recommended items, p their share of train clicks.

    Bits, in [0, ∞), higher is more novel (Zhou et al., PNAS 2010). An item without a click counts
    as one with one.
    """
    return _mean(lists.catalogue.information_I[lists.items_SK].mean(axis=1))


def intra_list_diversity(lists: RecommendationLists) -> RatioTerms:
    """``intra_list_diversity``: mean of 1 - cosine over the pairs of a list's items, by their embeddings.

    In [0, 2], higher is more diverse (Ziegler et al., WWW 2005); 0 for a list of one item.
    """
    n_lists, k = lists.items_SK.shape
    if k < 2:
        return _mean(np.zeros(n_lists))
    # Σ over ordered pairs of u·v is |Σ u|² - Σ |u|²; an embedding of 0 has length 0.
    found_SKD = lists.catalogue.direction_ID[lists.items_SK].astype(np.float64)
    all_pairs_S = (found_SKD.sum(axis=1) ** 2).sum(axis=1)
    cosines_S = all_pairs_S - (found_SKD**2).sum(axis=(1, 2))
    return _mean(1 - cosines_S / (k * (k - 1)))


def category_diversity(lists: RecommendationLists) -> RatioTerms:
    """``category_diversity``: mean share of the pairs of a list's items that differ in category.

    In [0, 1], higher is more diverse; 0 for a list of one item. An item without a category differs
    from every other.
    """
    n_lists, k = lists.items_SK.shape
    if k < 2:
        return _mean(np.zeros(n_lists))
    # In a sorted row, an item equals as many items before it as its distance to its run's start.
    sorted_SK = np.sort(lists.catalogue.category_I[lists.items_SK], axis=1)
    starts_SK = np.ones_like(sorted_SK, dtype=np.bool_)
    starts_SK[:, 1:] = sorted_SK[:, 1:] != sorted_SK[:, :-1]
    place_K = np.arange(k)
    first_SK = np.maximum.accumulate(np.where(starts_SK, place_K, 0), axis=1)
    return _mean(1 - (place_K - first_SK).sum(axis=1) / (k * (k - 1) / 2))


def freshness(lists: RecommendationLists) -> RatioTerms:
    """``freshness``: share of the recommended items of known age that became available recently.

    In [0, 1], higher is fresher. Recently is within ``fresh_days`` before the request.
    """
    age_SK = lists.ts_S[:, None] - lists.catalogue.available_I[lists.items_SK]
    fresh_S = (age_SK <= lists.fresh_days * DAY_MS).sum(axis=1)
    return fresh_S.astype(np.float64), np.isfinite(age_SK).sum(axis=1).astype(np.float64)


def coverage(count_I: NDArray[np.int64]) -> float:
    """``catalogue_coverage``: share of the catalogue in at least one list; in (0, 1], higher is wider."""
    return float(np.mean(count_I > 0))


def gini(count_I: NDArray[np.int64]) -> float:
    """``gini_index``: Gini index of how often each item is recommended; in [0, 1), 0 is evenly.

    ``Σ_i (2i - I - 1) x_(i) / (I Σ x)``, x_(i) in ascending order.
    """
    n = len(count_I)
    ascending = np.sort(count_I[count_I > 0])  # the others, often nearly all items, add nothing
    place = 2 * np.arange(n - len(ascending) + 1, n + 1) - n - 1
    return float((place * ascending).sum() / (n * ascending.sum()))


ListMetric = Callable[[RecommendationLists], RatioTerms]

LIST_METRICS: Mapping[Metric, ListMetric] = {
    Metric.POPULARITY_PERCENTILE: popularity_percentile,
    Metric.NOVELTY: novelty,
    Metric.INTRA_LIST_DIVERSITY: intra_list_diversity,
    Metric.CATEGORY_DIVERSITY: category_diversity,
    Metric.FRESHNESS: freshness,
}
"""Means over lists."""

REQUIRED_ATTRIBUTE: Mapping[Metric, str] = {
    Metric.POPULARITY_PERCENTILE: "train_clicks",
    Metric.NOVELTY: "train_clicks",
    Metric.INTRA_LIST_DIVERSITY: "embedding",
    Metric.CATEGORY_DIVERSITY: "category",
    Metric.FRESHNESS: "available_since",
}
"""The attribute of items that a metric reads."""

COUNT_METRICS: Mapping[Metric, Callable[[NDArray[np.int64]], float]] = {
    Metric.CATALOGUE_COVERAGE: coverage,
    Metric.GINI_INDEX: gini,
}
"""Functions of how often each item is recommended."""


def jackknife(
    statistic: Callable[[NDArray[np.int64]], float], lists_SK: Lists, n_items: int
) -> tuple[float, NDArray[np.float64]]:
    """A statistic of all lists, and its values without each of 20 groups of sessions.

    With fewer than 20 sessions, each is a group; with one, the second array is empty.
    """
    count_I = np.bincount(lists_SK.ravel(), minlength=n_items)
    groups = min(_JACKKNIFE_GROUPS, len(lists_SK))
    if groups < 2:
        return statistic(count_I), np.empty(0)
    without = [
        statistic(count_I - np.bincount(lists_SK[group::groups].ravel(), minlength=n_items))
        for group in range(groups)
    ]
    return statistic(count_I), np.array(without)


def _mean(value_S: NDArray[np.float64]) -> RatioTerms:
    return value_S, np.ones_like(value_S)


def _category_codes(category: pl.Series) -> NDArray[np.int64]:
    """A code per category; each item without one has a code that no other has."""
    code = category.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
    return np.where(code > 0, code, -np.arange(len(code)) - 1)

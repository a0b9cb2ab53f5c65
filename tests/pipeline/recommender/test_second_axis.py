"""Re-ranked lists, against values by hand and another library."""

import numpy as np
import polars as pl
import pytest
import pyversity

from pipeline.core.errors import DataError
from pipeline.recommender.second_axis import NO_ITEM, AxisReranker
from pipeline.study import AxisKind, SecondAxis

ITEMS = 60


def reranker(kind, levels=(0.0, 0.5), *, embedding=None, clicks=None, since=None, candidates=100):
    unknown = pl.Series([None] * ITEMS, dtype=pl.Int64)
    return AxisReranker.of(
        SecondAxis(kind=kind, levels=levels, candidates=candidates),
        embedding_ID=np.ones((ITEMS, 2), dtype=np.float32) if embedding is None else embedding,
        train_clicks_I=np.ones(ITEMS, dtype=np.int64) if clicks is None else np.array(clicks),
        available_since=unknown if since is None else pl.Series(since, dtype=pl.Int64),
    )


def random_candidates(rng, rows, n):
    items = np.stack([rng.permutation(ITEMS)[:n] for _ in range(rows)])
    scores = -np.sort(-rng.normal(size=(rows, n)).astype(np.float32), axis=1)
    return items, scores


def listed(axis, items, scores, level, k):
    """The items of one list."""
    one = np.array([items]), np.array([scores], dtype=np.float32)
    return axis.lists(*one, np.array([level]), k=k)[0].tolist()


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_diversity_is_the_maximal_marginal_relevance_of_another_library(weight):
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(ITEMS, 6)).astype(np.float32)
    axis = reranker(AxisKind.DIVERSITY, (0.0, weight), embedding=embedding)
    items, scores = random_candidates(rng, 150, 40)

    order = axis.rank(items, scores, level=weight, k=10)

    for row in range(150):
        low, high = scores[row].min(), scores[row].max()
        relevance = (scores[row].astype(np.float64) - low) / (high - low)
        expected = pyversity.diversify(
            embedding[items[row]], relevance, 10, strategy="mmr", diversity=weight
        ).indices.tolist()
        others = [n for n in range(40) if n not in expected]  # in the order of their scores
        assert order[row].tolist() == expected + others


def test_novelty_by_hand():
    """Of 16 train clicks, the items have 8, 4, 2, 2: 1, 2, 3 and 3 bits."""
    axis = reranker(AxisKind.NOVELTY, clicks=[8, 4, 2, 2] + [0] * (ITEMS - 4))
    # relevance 1, 0.75, 0.25, 0; of the bits only differences count: 0, 1/2, 1, 1
    scores = [4.0, 3.0, 1.0, 0.0]

    # halves of 1 + 0, 0.75 + 0.5, 0.25 + 1, 0 + 1: the second and third tie, and keep their order
    assert listed(axis, [0, 1, 2, 3], scores, 0.5, 4) == [1, 2, 0, 3]
    assert listed(axis, [0, 1, 2, 3], scores, 0.5, 2) == [1, 2]


def test_freshness_prefers_what_came_last_and_unknown_ages_are_the_oldest():
    axis = reranker(AxisKind.FRESHNESS, (0.0, 1.0), since=[10, 30, None, 20] + [None] * (ITEMS - 4))

    # new: 0, 1, 0, 1/2; equal ones keep their order
    assert listed(axis, [0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0], 1.0, 4) == [1, 3, 0, 2]


def test_freshness_without_any_age_is_refused():
    with pytest.raises(DataError, match="freshness needs available_since"):
        reranker(AxisKind.FRESHNESS)


@pytest.mark.parametrize("kind", [AxisKind.DIVERSITY, AxisKind.NOVELTY])
def test_the_neutral_level_changes_nothing_and_other_rows_do_not_matter(kind):
    rng = np.random.default_rng(1)
    embedding = rng.normal(size=(ITEMS, 6)).astype(np.float32)
    axis = reranker(kind, embedding=embedding, clicks=rng.integers(0, 50, ITEMS))
    items, scores = random_candidates(rng, 30, 20)
    levels = np.array([0.0, 0.5] * 15)

    together = axis.lists(items, scores, levels, k=8)

    np.testing.assert_array_equal(together[::2], items[::2, :8])
    for row in range(30):
        assert listed(axis, items[row], scores[row], levels[row], 8) == together[row].tolist()
    assert (together[1::2] != items[1::2, :8]).any(axis=1).mean() > 0.9


def test_only_the_candidates_are_re_ranked():
    axis = reranker(AxisKind.NOVELTY, (0.0, 1.0), clicks=range(1, ITEMS + 1), candidates=3)

    # items with fewer clicks are more novel; 0 is not among the three best
    assert listed(axis, [9, 8, 7, 0, 1], [5.0, 4.0, 3.0, 2.0, 1.0], 1.0, 5) == [7, 8, 9, 0, 1]


def test_shorter_lists_are_padded():
    axis = reranker(AxisKind.LIST_LENGTH, (2.0, 4.0))

    assert listed(axis, [5, 6, 7, 8], [4.0, 3.0, 2.0, 1.0], 2.0, 4) == [5, 6, NO_ITEM, NO_ITEM]
    assert listed(axis, [5, 6, 7, 8], [4.0, 3.0, 2.0, 1.0], 4.0, 4) == [5, 6, 7, 8]


def test_equal_scores_keep_their_order():
    axis = reranker(AxisKind.NOVELTY)

    assert listed(axis, [3, 1, 2], [1.0, 1.0, 1.0], 0.5, 3) == [3, 1, 2]

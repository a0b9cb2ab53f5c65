"""Metrics of recommendation lists, on lists a reader can count."""

from math import log2, sqrt

import numpy as np
import polars as pl
import pytest

from pipeline.evaluation.list_metrics import (
    Catalogue,
    RecommendationLists,
    category_diversity,
    coverage,
    freshness,
    gini,
    intra_list_diversity,
    jackknife,
    novelty,
    popularity_percentile,
)

# four items with 8, 4, 4 and 0 clicks in train; the embeddings of 0 and 1 point the same way
CLICKS = np.array([8, 4, 4, 0])
EMBEDDING = np.array([[1, 0], [3, 0], [0, 2], [0, 0]], dtype=np.float32)
HOUR = 3_600_000


CATALOGUE = Catalogue(4, train_clicks=CLICKS, embedding=EMBEDDING)


def lists(catalogue, items, ts=None, fresh_days=1):
    items_SK = np.array(items)
    ts_S = np.zeros(len(items_SK), dtype=np.int64) if ts is None else np.array(ts)
    return RecommendationLists(
        catalogue=catalogue, items_SK=items_SK, ts_S=ts_S, fresh_days=fresh_days
    )


def mean_of(metric, catalogue, items):
    """The value of each list, whose denominator is 1."""
    values, ones = metric(lists(catalogue, items))
    assert (ones == 1).all()
    return values


def test_popularity_percentile_is_the_share_of_less_popular_items():
    # below item 0 are three of four items and half of itself, below item 3 half of itself
    assert mean_of(popularity_percentile, CATALOGUE, [[0], [3]]) == pytest.approx(
        [3.5 / 4, 0.5 / 4]
    )
    # items 1 and 2 tie: one below, and half of the two
    assert mean_of(popularity_percentile, CATALOGUE, [[1, 2], [0, 3]]) == pytest.approx(
        [2 / 4, 2 / 4]
    )


def test_novelty_is_the_mean_self_information():
    # 17 clicks, for the item without any counts as one with one
    expected = [(log2(17 / 8) + log2(17 / 4)) / 2, log2(17 / 1)]

    assert mean_of(novelty, CATALOGUE, [[0, 1]]) == pytest.approx(expected[:1])
    assert mean_of(novelty, CATALOGUE, [[3]]) == pytest.approx(expected[1:])


@pytest.mark.parametrize(
    ("shown", "diversity"),
    [
        ([0, 1], 0),  # the same direction
        ([0, 2], 1),  # a right angle
        ([0, 1, 2], (0 + 1 + 1) / 3),
        ([0, 3], 1),  # an embedding of 0 is like no other
        ([0], 0),
    ],
)
def test_diversity_is_the_mean_distance_of_the_pairs(shown, diversity):
    assert mean_of(intra_list_diversity, CATALOGUE, [shown]) == pytest.approx(
        [diversity], abs=1e-12
    )


def test_opposite_embeddings_are_as_far_apart_as_can_be():
    embedding = np.array([[1.0, 1], [-2, -2]])
    catalogue = Catalogue(2, embedding=embedding)

    assert mean_of(intra_list_diversity, catalogue, [[0, 1]]) == pytest.approx([2])


@pytest.mark.parametrize(
    ("shown", "diversity"),
    [
        ([0, 1, 2], 1 / 3 + 1 / 3),  # a, a, b: two of three pairs differ
        ([0, 2, 1], 1 / 3 + 1 / 3),
        ([0, 1], 0),
        ([0, 3], 1),
        ([3, 4], 1),  # items without a category are alike to none
        ([0, 1, 2, 5], 4 / 6),  # two a and two b
        ([2], 0),
    ],
)
def test_category_diversity_is_the_share_of_pairs_that_differ(shown, diversity):
    catalogue = Catalogue(6, category=pl.Series(["a", "a", "b", None, None, "b"]))

    assert mean_of(category_diversity, catalogue, [shown]) == pytest.approx([diversity])


def test_freshness_counts_items_of_known_age_alone():
    catalogue = Catalogue(4, available_since=pl.Series([0, 20 * HOUR, None, 50 * HOUR]))
    items, requested = [[0, 1, 2], [0, 1, 3]], np.array([24, 48]) * HOUR

    fresh, known = freshness(lists(catalogue, items, requested, fresh_days=1))

    # after a day item 0 is fresh still; what will become available is fresh, too
    assert fresh.tolist() == [2, 1]
    assert known.tolist() == [2, 3]


def test_attributes_that_are_all_null_are_unknown():
    nothing = pl.Series([None] * 4, dtype=pl.String)
    catalogue = Catalogue(4, train_clicks=CLICKS, category=nothing, available_since=nothing)

    assert catalogue.known == {"train_clicks"}


def test_coverage_is_the_share_of_items_shown_at_all():
    assert coverage(np.array([5, 0, 1, 0])) == 2 / 4


@pytest.mark.parametrize(
    ("shown", "index"),
    [
        ([3, 3, 3], 0),
        ([0, 0, 6], 2 / 3),  # one item of n has all: (n - 1) / n
        ([1, 3], (3 - 1) / (2 * 4)),
        ([2, 0, 1], (-2 * 0 + 0 * 1 + 2 * 2) / (3 * 3)),
    ],
)
def test_gini_is_0_for_even_use_and_highest_where_one_item_has_all(shown, index):
    assert gini(np.array(shown)) == pytest.approx(index)


def test_gini_is_the_mean_difference_over_twice_the_mean():
    shown = np.random.default_rng(0).integers(0, 50, 40)

    mean_difference = np.abs(shown[:, None] - shown[None]).mean()
    assert gini(shown) == pytest.approx(mean_difference / (2 * shown.mean()))


def test_each_group_of_sessions_is_left_out_once():
    lists = np.array([[0, 1], [0, 2], [0, 3]])

    value, without = jackknife(coverage, lists, n_items=5)

    assert value == 4 / 5
    assert without.tolist() == [3 / 5, 3 / 5, 3 / 5]


def test_a_session_alone_leaves_nothing_to_leave_out():
    value, without = jackknife(coverage, np.array([[0, 1]]), n_items=4)

    assert value == 2 / 4
    assert without.size == 0


def test_the_jackknifes_error_is_the_spread_of_redrawn_sessions():
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, 201)

    def draw():
        return rng.choice(200, size=(800, 5), p=share / share.sum())

    drawn = [gini(np.bincount(draw().ravel(), minlength=200)) for _ in range(300)]
    errors = []
    for _ in range(40):
        _, without = jackknife(gini, draw(), n_items=200)
        errors.append(sqrt(19 / 20 * ((without - without.mean()) ** 2).sum()))

    # twenty groups know it to 1/sqrt(38), 16% each; the mean of forty to 3%
    assert np.mean(errors) == pytest.approx(np.std(drawn), rel=0.15)

"""The shop's items: appeal against quality, neighbours by distance, no empty category."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.study import SyntheticConfig
from pipeline.synthetic.catalogue import APPEAL_LEVELS, QUALITY_LEVELS, _nearest, make_catalogue

WORLD = SyntheticConfig(items=2000, categories=10)
FIELDS = ("category", "appeal", "quality", "popularity", "neighbours", "neighbour_weight")


@pytest.fixture(scope="module")
def catalogue():
    return make_catalogue(WORLD, np.random.default_rng(1))


def test_the_same_seed_gives_the_same_items_and_another_seed_others(catalogue):
    again = make_catalogue(WORLD, np.random.default_rng(1))
    other = make_catalogue(WORLD, np.random.default_rng(2))

    for name in FIELDS:
        assert getattr(again, name).tobytes() == getattr(catalogue, name).tobytes()
        assert getattr(other, name).tobytes() != getattr(catalogue, name).tobytes()


def test_all_numbers_are_integers_so_that_every_processor_agrees(catalogue):
    assert {getattr(catalogue, name).dtype for name in FIELDS} == {np.dtype(np.int64)}


def test_appeal_and_quality_stay_on_their_scales(catalogue):
    assert set(np.unique(catalogue.appeal)) == set(range(APPEAL_LEVELS))
    assert catalogue.quality.min() >= 0
    assert catalogue.quality.max() < QUALITY_LEVELS


def test_appeal_and_quality_pull_apart_as_planted(catalogue):
    # quality = (2 (99 - appeal) + 3 u) / 5 with u as spread as appeal and independent of it,
    # so the correlation is -2 / sqrt(2² + 3²); its standard error is (1 - r²) / sqrt(n)
    planted = -2 / np.sqrt(13)

    found = np.corrcoef(catalogue.appeal, catalogue.quality)[0, 1]

    assert abs(found - planted) < 4 * (1 - planted**2) / np.sqrt(WORLD.items)


def test_popularity_falls_like_zipf_and_rises_with_appeal(catalogue):
    # weight = 10⁶ (50 + appeal) / (rank + 10): undo the tilt, and the ranks 1 … n come out
    rank = 1_000_000 * (50 + catalogue.appeal) / catalogue.popularity - 10

    assert np.allclose(np.sort(rank), np.arange(1, WORLD.items + 1), atol=0.1)


@given(
    features=st.lists(
        st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=12
    ).map(np.array),
    k=st.integers(1, 2),
)
@settings(max_examples=80)
def test_neighbours_are_the_nearest_of_the_slow_way(features, k):
    found = _nearest(features, k)

    for item, row in enumerate(features):
        others = [other for other in range(len(features)) if other != item]
        nearest = sorted(others, key=lambda other: (((features[other] - row) ** 2).sum(), other))
        assert found[item].tolist() == nearest[:k]


def test_an_item_has_other_items_as_neighbours_each_once(catalogue):
    numbers = np.arange(WORLD.items)[:, None]

    assert catalogue.neighbours.shape == (WORLD.items, WORLD.neighbours)
    assert not (catalogue.neighbours == numbers).any()
    assert all(len(set(row)) == len(row) for row in catalogue.neighbours.tolist())


def test_neighbours_of_great_appeal_weigh_more_by_the_square(catalogue):
    expected = [[(10 + catalogue.appeal[n]) ** 2 for n in row] for row in catalogue.neighbours[:5]]

    assert catalogue.neighbour_weight[:5].tolist() == expected


def test_most_neighbours_are_of_the_items_own_category(catalogue):
    own = catalogue.category[:, None] == catalogue.category[catalogue.neighbours]

    # items near each other in taste share a category far oftener than one pair in ten does
    assert own.mean() > 0.5


@given(
    items=st.integers(50, 80),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40)
def test_every_category_has_an_item_however_few_there_are(items, share, seed):
    categories = 2 + round(share * (items - 2))
    world = SyntheticConfig(items=items, categories=categories)

    made = make_catalogue(world, np.random.default_rng(seed))

    assert set(made.category.tolist()) == set(range(categories))
    assert made.size == items


def test_there_are_never_more_neighbours_than_other_items():
    made = make_catalogue(SyntheticConfig(items=50, neighbours=80), np.random.default_rng(0))

    assert made.neighbours.shape == (50, 49)

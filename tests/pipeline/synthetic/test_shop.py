"""The rules of the shop: draws follow their probabilities, and orders follow quality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipeline.study import SyntheticConfig
from pipeline.synthetic.catalogue import QUALITY_LEVELS, Catalogue, make_catalogue
from pipeline.synthetic.shop import BROWSE, BUY, STEP_PERCENT, CategoryPages, Shop, WeightedDraw

DRAWS = 60_000
THRIFT = st.integers(30, 170)
INTENT = st.sampled_from([BROWSE, BUY])


@pytest.fixture(scope="module")
def shop():
    world = SyntheticConfig(items=60, categories=4, neighbours=8)
    return Shop.open(make_catalogue(world, np.random.default_rng(7)))


def _tiny():
    """Four items in two categories, small enough to reckon by hand."""
    return Catalogue(
        category=np.array([0, 0, 1, 1]),
        appeal=np.array([0, 0, 0, 0]),
        quality=np.array([0, 33, 66, 99]),
        popularity=np.array([1, 3, 4, 2]),
        neighbours=np.array([[1, 2], [0, 2], [3, 1], [2, 0]]),
        neighbour_weight=np.array([[3, 1], [1, 1], [1, 1], [1, 1]]),
    )


def _fits(counts, chances):
    """Whether counts come from these chances: chi-square, rare cells pooled, p above 1 in 1000."""
    counts, expected = np.asarray(counts), np.asarray(chances) * np.sum(counts)
    assert counts[expected == 0].sum() == 0
    rare = expected < 5
    observed = [*counts[~rare], counts[rare].sum()]
    hoped = [*expected[~rare], expected[rare].sum()]
    if hoped[-1] == 0:
        observed, hoped = observed[:-1], hoped[:-1]
    return chisquare(observed, hoped).pvalue > 1e-3


def test_a_column_is_drawn_by_its_weight_in_its_row():
    weights = np.array([[1, 2, 3, 4], [0, 5, 0, 5]])
    rng = np.random.default_rng(1)

    for row, weight in enumerate(weights):
        drawn = WeightedDraw.over(weights).columns(np.full(DRAWS, row), rng)
        assert _fits(np.bincount(drawn, minlength=4), weight / weight.sum())


def test_a_category_page_shows_its_own_items_by_popularity():
    pages = CategoryPages.of(_tiny())
    rng = np.random.default_rng(2)

    first = pages.draw_in(np.zeros(DRAWS, dtype=np.int64), rng)
    second = pages.draw_in(np.ones(DRAWS, dtype=np.int64), rng)
    anywhere = pages.draw_anywhere(DRAWS, rng)

    assert _fits(np.bincount(first, minlength=4), [1 / 4, 3 / 4, 0, 0])
    assert _fits(np.bincount(second, minlength=4), [0, 0, 4 / 6, 2 / 6])
    assert _fits(np.bincount(anywhere, minlength=4), [1 / 10, 3 / 10, 4 / 10, 2 / 10])


@pytest.mark.parametrize(
    ("intent", "related", "category", "back", "anywhere"),
    [(BROWSE, 0.60, 0.20, 0.08, 0.12), (BUY, 0.50, 0.16, 0.28, 0.06)],
    ids=["browse", "buy"],
)
def test_next_click_probability_is_the_sum_over_the_four_ways(
    intent, related, category, back, anywhere
):
    shop = Shop.open(_tiny())

    # seen 3, then 0 twice: item 0 is in view, in category 0, with neighbours 1 (3/4) and 2 (1/4)
    found = shop.next_click_probability(
        np.array([[3, 0, 0, -1]]), np.array([3]), np.array([intent]), items=np.array([[0, 1, 2, 3]])
    )

    expected = [
        category * 1 / 4 + back * 2 / 3 + anywhere * 1 / 10,
        related * 3 / 4 + category * 3 / 4 + anywhere * 3 / 10,
        related * 1 / 4 + anywhere * 4 / 10,
        back * 1 / 3 + anywhere * 2 / 10,
    ]
    assert found[0] == pytest.approx(expected)


@given(
    seen=st.lists(st.integers(0, 59), min_size=1, max_size=6),
    spare=st.integers(0, 3),
    intent=INTENT,
)
@settings(max_examples=80)
def test_probabilities_over_all_items_sum_to_one(shop, seen, spare, intent):
    row = np.array([[*seen, *[-1] * spare]])

    chances = shop.next_click_probability(
        row, np.array([len(seen)]), np.array([intent]), items=np.arange(60)[None, :]
    )

    assert chances.sum() == pytest.approx(1)
    assert (chances > 0).all()  # "anywhere" reaches every item


@pytest.mark.parametrize("intent", [BROWSE, BUY], ids=["browse", "buy"])
@pytest.mark.parametrize(
    "seen", [[5], [5, 9, 5], [1, 2, 3, 4, 59]], ids=["first", "returned", "five-items"]
)
def test_clicks_are_drawn_as_often_as_their_probability_says(shop, seen, intent):
    row, length = np.array([seen]), np.array([len(seen)])
    chances = shop.next_click_probability(
        row, length, np.array([intent]), items=np.arange(60)[None, :]
    )

    drawn = shop.next_click(
        np.repeat(row, DRAWS, axis=0),
        np.repeat(length, DRAWS),
        np.full(DRAWS, intent),
        rng=np.random.default_rng([len(seen), intent]),
    )

    assert _fits(np.bincount(drawn, minlength=60), chances[0])


def test_the_test_of_frequencies_would_notice_the_wrong_intent(shop):
    """So that the test above cannot pass by being blind."""
    row, length = np.array([[1, 2, 3, 4, 59]]), np.array([5])
    chances = shop.next_click_probability(
        row, length, np.array([BUY]), items=np.arange(60)[None, :]
    )

    drawn = shop.next_click(
        np.repeat(row, DRAWS, axis=0),
        np.repeat(length, DRAWS),
        np.full(DRAWS, BROWSE),
        rng=np.random.default_rng(3),
    )

    assert not _fits(np.bincount(drawn, minlength=60), chances[0])


def test_every_visitor_walks_by_their_own_row_and_intent(shop):
    seen, length = np.array([[5, -1, -1], [1, 2, 3]]), np.array([1, 3])
    intent, items = np.array([BROWSE, BUY]), np.arange(60)

    together = shop.next_click_probability(seen, length, intent, items=np.tile(items, (2, 1)))

    for visitor in range(2):
        one = slice(visitor, visitor + 1)
        alone = shop.next_click_probability(
            seen[one], length[one], intent[one], items=items[None, :]
        )
        assert np.array_equal(together[visitor], alone[0])


def test_the_ways_of_each_intent_are_shares_of_a_hundred():
    assert STEP_PERCENT.sum(axis=1).tolist() == [100, 100]


def _chance(quality, intent, *, again, thrift):
    """The order chance of one click on an item of this quality, in parts per million."""
    catalogue = _tiny()
    catalogue.quality[0] = quality
    found = Shop.open(catalogue).order_rate_ppm(
        np.array([0]), np.array([intent]), np.array([again]), np.array([thrift])
    )
    return int(found[0])


@pytest.mark.parametrize(
    ("quality", "intent", "again", "thrift", "expected"),
    [
        (0, BROWSE, False, 100, 2_000 * 20 // 100),
        (99, BROWSE, False, 100, (2_000 + 120_000) * 20 // 100),
        (99, BROWSE, True, 100, (2_000 + 120_000) * 20 // 100 * 2),
        (99, BUY, False, 100, (2_000 + 120_000) * 250 // 100),
        (33, BUY, False, 50, (2_000 + 120_000 // 27) * 250 // 100 // 2),  # 33 / 99 = 1 / 3, cubed
        (99, BUY, True, 170, 900_000),  # 1,037,000 parts per million are more than a chance can be
    ],
)
def test_order_chance_by_hand(quality, intent, again, thrift, expected):
    assert _chance(quality, intent, again=again, thrift=thrift) == expected


@given(
    quality=st.integers(0, QUALITY_LEVELS - 2), intent=INTENT, again=st.booleans(), thrift=THRIFT
)
@settings(max_examples=80)
def test_order_chance_never_falls_with_quality(quality, intent, again, thrift):
    better = _chance(quality + 1, intent, again=again, thrift=thrift)

    assert better >= _chance(quality, intent, again=again, thrift=thrift)
    assert 0 < better <= 900_000


@given(quality=st.integers(0, QUALITY_LEVELS - 1), again=st.booleans(), thrift=THRIFT)
@settings(max_examples=40)
def test_order_chance_rises_with_the_intent_to_buy(quality, again, thrift):
    browsing = _chance(quality, BROWSE, again=again, thrift=thrift)

    assert _chance(quality, BUY, again=again, thrift=thrift) > browsing


@given(quality=st.integers(0, QUALITY_LEVELS - 1), intent=INTENT, thrift=st.integers(30, 140))
@settings(max_examples=40)
def test_order_chance_rises_with_seeing_the_item_again(quality, intent, thrift):
    once = _chance(quality, intent, again=False, thrift=thrift)

    assert _chance(quality, intent, again=True, thrift=thrift) > once

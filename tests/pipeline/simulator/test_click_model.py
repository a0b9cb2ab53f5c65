"""The click model: examination, first click and units."""

from math import exp, prod, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.simulator.click_model import (
    NO_CLICK,
    UNITS_PER_ORDER,
    examination,
    first_click,
    first_click_probability,
    units_bought,
)

USERS = 200_000


def cascade(attraction):
    """Exact probability of a first click at each position, then of no click."""
    p = [a * (1 + k) ** -0.6 for k, a in enumerate(attraction)]
    first = [c * prod(1 - before for before in p[:k]) for k, c in enumerate(p)]
    return [*first, prod(1 - c for c in p)]


def test_examination_probabilities():
    # 1, 1 / 2^0.6, 1 / 3^0.6, 1 / 2^1.2
    assert examination(4) == pytest.approx([1, 0.659754, 0.517282, 0.435275], abs=5e-7)


@pytest.mark.parametrize(
    "attraction",
    [[0.5], [1.0, 1.0], [0.3, 0.6, 0.2, 0.9], [0.0, 0.8, 0.0, 0.1]],
    ids=["one-item", "all-certain", "four-items", "some-unattractive"],
)
def test_first_clicks_have_the_cascade_probabilities(attraction):
    found = first_click(np.tile(attraction, (USERS, 1)), np.random.default_rng(3))

    positions = [*range(len(attraction)), NO_CLICK]
    for position, p in zip(positions, cascade(attraction), strict=True):
        error = sqrt(p * (1 - p) / USERS)  # 0 where the outcome is certain
        assert (found == position).mean() == pytest.approx(p, abs=4 * error)


def test_exact_probabilities_equal_the_cascade():
    rows = [[0.3, 0.6, 0.2, 0.9], [0.0, 1.0, 0.0, 0.1]]

    found = first_click_probability(np.array(rows))

    for probabilities, attraction in zip(found, rows, strict=True):
        assert probabilities == pytest.approx(cascade(attraction)[:-1])


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, 0.4, 1.0]), min_size=3, max_size=3), min_size=1, max_size=20
    ),
    seed=st.integers(0, 1000),
)
def test_only_attractive_items_are_clicked_and_none_below_a_certain_one(rows, seed):
    attraction = np.array(rows)

    clicks = first_click(attraction, np.random.default_rng(seed))

    for user, position in enumerate(clicks):
        if position == NO_CLICK:
            assert attraction[user, 0] < 1  # the first item is always examined
        else:
            assert attraction[user, position] > 0
            assert position == 0 or attraction[user, 0] < 1


def test_an_order_has_one_unit_or_more():
    units = units_bought(np.ones(USERS, dtype=np.bool_), np.random.default_rng(4))

    assert units.min() == 1
    assert UNITS_PER_ORDER == 1 + 0.15
    assert units.mean() == pytest.approx(UNITS_PER_ORDER, abs=4 * sqrt(0.15 / USERS))
    assert (units == 1).mean() == pytest.approx(exp(-0.15), abs=4 * sqrt(0.12 / USERS))


def test_no_unit_without_an_order():
    ordered = np.array([False, True, False, True])

    units = units_bought(ordered, np.random.default_rng(4))

    assert (units > 0).tolist() == ordered.tolist()

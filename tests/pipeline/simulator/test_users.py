"""What stays with users: tastes that drift and are learned, and lists that were shown before."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.users import UserState
from pipeline.study import PlantedFaults, SimulatorConfig
from pipeline.synthetic.users import ShopUsers

N = 6000


def people(**simulator):
    """Users who like the categories 0, 1 and 2 of ten; all served under (0.25, 0.75)."""
    shoppers = ShopUsers(
        favourites=np.tile([0, 1, 2], (N, 1)),
        curiosity=np.full(N, 100),
        thrift=np.full(N, 100),
        categories=10,
    )
    preference = np.tile([0.25, 0.75], (N, 1))
    return UserState.of(shoppers, preference, SimulatorConfig(**simulator), opening_ts=0)


EVERYONE = np.arange(N)


def test_a_click_on_a_list_makes_its_category_the_favourite_and_the_least_liked_goes():
    found = people(learning=1.0)

    found.learn(np.array([0, 1, 2, 3]), np.array([7, 2, 1, 0]), np.random.default_rng(1))

    assert found.shoppers.favourites[:5].tolist() == [
        [7, 0, 1],
        [2, 0, 1],
        [1, 0, 2],
        [0, 1, 2],
        [0, 1, 2],  # did not click
    ]


def test_as_many_learn_as_the_study_says():
    found = people(learning=0.3)

    found.learn(EVERYONE, np.full(N, 9), np.random.default_rng(2))

    learned = (found.shoppers.favourites[:, 0] == 9).mean()
    assert learned == pytest.approx(0.3, abs=4 * sqrt(0.3 * 0.7 / N))


@pytest.mark.parametrize("days", [0.5, 3.0])
def test_a_favourite_is_exchanged_with_a_chance_that_grows_with_the_days(days):
    found = people(drift=0.2)
    rng = np.random.default_rng(3)

    found.arrive(EVERYONE, np.full(N, round(days * DAY_MS)), rng)

    # one of ten exchanges finds the category that was there
    moved = (1 - 0.8**days) * 0.9
    changed = (found.shoppers.favourites != [0, 1, 2]).mean()
    assert changed == pytest.approx(moved, abs=4 * sqrt(moved / N / 3))
    fresh = found.shoppers.favourites[:, 0]
    assert chisquare(np.bincount(fresh[fresh > 0], minlength=10)[1:]).pvalue > 1e-3


def test_days_are_counted_from_the_last_visit():
    found = people(drift=1 - 1e-12)
    found.arrive(EVERYONE, np.full(N, DAY_MS), np.random.default_rng(4))
    before = found.shoppers.favourites.copy()

    found.arrive(EVERYONE, np.full(N, DAY_MS), np.random.default_rng(5))

    assert (found.shoppers.favourites == before).all()


def test_those_it_is_made_of_stay_as_they_are():
    found = people(learning=1.0)
    copied = UserState.of(found.shoppers, found.preference, found.rules, opening_ts=0)

    copied.learn(EVERYONE, np.full(N, 9), np.random.default_rng(1))

    assert (found.shoppers.favourites == [0, 1, 2]).all()


def test_the_pull_of_earlier_lists_and_of_the_first_day_by_hand():
    faults = PlantedFaults(carry_over=0.5, novelty=0.8)
    found = people(faults=faults)
    for _ in range(3):
        found.see(np.array([1]))

    pull = found.pull(np.array([0, 1, 1]), np.array([0, 0, 6]))

    # a quarter of: 0.8 on day 0 and 0.2 two half-lives of three days later; log2(1 + 3) = 2
    assert pull == pytest.approx([0.25 * 0.8, 0.25 * (0.8 + 1.0), 0.25 * (0.2 + 1.0)])


@pytest.mark.parametrize(
    ("rules", "remember"),
    [
        ({}, False),
        ({"weekdays": (1, 2, 3, 4, 5, 6, 7)}, False),
        ({"faults": PlantedFaults(novelty=1.0)}, False),
        ({"learning": 0.1}, True),
        ({"drift": 0.1}, True),
        ({"faults": PlantedFaults(carry_over=-0.1)}, True),
    ],
)
def test_only_users_who_remember_must_come_in_order(rules, remember):
    assert replace(people(), rules=SimulatorConfig(**rules)).remember == remember

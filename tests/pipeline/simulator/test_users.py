"""The state of users: drift and learning of tastes, and effects of earlier lists."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.users import UserState
from pipeline.study import InjectedFaults, SimulatorConfig
from pipeline.synthetic.users import ShopUsers

N = 6000


def users(**simulator):
    """Users who like the categories 0, 1 and 2 of ten; all served under (0.25, 0.75)."""
    tastes = ShopUsers(
        favourites=np.tile([0, 1, 2], (N, 1)),
        curiosity=np.full(N, 100),
        thrift=np.full(N, 100),
        categories=10,
    )
    preference = np.tile([0.25, 0.75], (N, 1))
    return UserState.of(tastes, preference, SimulatorConfig(**simulator), opening_ts=0)


EVERYONE = np.arange(N)


def test_a_clicked_category_becomes_the_favourite_and_replaces_the_last_one():
    found = users(learning=1.0)

    found.learn(np.array([0, 1, 2, 3]), np.array([7, 2, 1, 0]), np.random.default_rng(1))

    assert found.tastes.favourites[:5].tolist() == [
        [7, 0, 1],
        [2, 0, 1],
        [1, 0, 2],
        [0, 1, 2],
        [0, 1, 2],  # did not click
    ]


def test_the_share_of_learning_users_is_the_studys():
    found = users(learning=0.3)

    found.learn(EVERYONE, np.full(N, 9), np.random.default_rng(2))

    learned = (found.tastes.favourites[:, 0] == 9).mean()
    assert learned == pytest.approx(0.3, abs=4 * sqrt(0.3 * 0.7 / N))


@pytest.mark.parametrize("days", [0.5, 3.0])
def test_the_probability_of_drift_grows_with_the_days(days):
    found = users(drift=0.2)
    rng = np.random.default_rng(3)

    found.arrive(EVERYONE, np.full(N, round(days * DAY_MS)), rng)

    # one in ten replacements draws the same category
    moved = (1 - 0.8**days) * 0.9
    changed = (found.tastes.favourites != [0, 1, 2]).mean()
    assert changed == pytest.approx(moved, abs=4 * sqrt(moved / N / 3))
    fresh = found.tastes.favourites[:, 0]
    assert chisquare(np.bincount(fresh[fresh > 0], minlength=10)[1:]).pvalue > 1e-3


def test_days_are_counted_from_the_last_session():
    found = users(drift=1 - 1e-12)
    found.arrive(EVERYONE, np.full(N, DAY_MS), np.random.default_rng(4))
    before = found.tastes.favourites.copy()

    found.arrive(EVERYONE, np.full(N, DAY_MS), np.random.default_rng(5))

    assert (found.tastes.favourites == before).all()


def test_the_given_tastes_are_not_modified():
    found = users(learning=1.0)
    copied = UserState.of(found.tastes, found.preference, found.rules, opening_ts=0)

    copied.learn(EVERYONE, np.full(N, 9), np.random.default_rng(1))

    assert (found.tastes.favourites == [0, 1, 2]).all()


def test_the_effects_of_carry_over_and_novelty():
    faults = InjectedFaults(carry_over=0.5, novelty=0.8)
    found = users(faults=faults)
    for _ in range(3):
        found.count_list(np.array([1]))

    effect = found.click_effect(np.array([0, 1, 1]), np.array([0, 0, 6]))

    # a quarter of: 0.8 on day 0 and 0.2 two half-lives of three days later; log2(1 + 3) = 2
    assert effect == pytest.approx([0.25 * 0.8, 0.25 * (0.8 + 1.0), 0.25 * (0.2 + 1.0)])


@pytest.mark.parametrize(
    ("rules", "has_memory"),
    [
        ({}, False),
        ({"weekdays": (1, 2, 3, 4, 5, 6, 7)}, False),
        ({"faults": InjectedFaults(novelty=1.0)}, False),
        ({"learning": 0.1}, True),
        ({"drift": 0.1}, True),
        ({"faults": InjectedFaults(carry_over=-0.1)}, True),
    ],
)
def test_only_users_with_memory_must_be_simulated_in_order(rules, has_memory):
    assert replace(users(), rules=SimulatorConfig(**rules)).has_memory == has_memory

"""The shop's users: tastes inside their ranges, starts by favourites in ratio 3 : 2 : 1."""

import numpy as np
from scipy.stats import chisquare

from pipeline.study import SyntheticConfig
from pipeline.synthetic.users import ShopUsers, make_users

WORLD = SyntheticConfig(items=100, categories=8)


def test_the_same_seed_gives_the_same_users_and_another_seed_others():
    one, again, other = (make_users(WORLD, 50, np.random.default_rng(s)) for s in (1, 1, 2))

    for name in ("favourites", "curiosity", "thrift"):
        assert np.array_equal(getattr(one, name), getattr(again, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))


def test_users_are_average_on_average_and_stay_in_range():
    n = 20_000
    users = make_users(WORLD, n, np.random.default_rng(3))

    assert users.size == n
    assert set(np.unique(users.favourites)) == set(range(WORLD.categories))
    # uniform on 40 … 160 and on 30 … 170: mean 100, variance (levels² - 1) / 12
    for found, low, high in ((users.curiosity, 40, 160), (users.thrift, 30, 170)):
        error = np.sqrt(((high - low + 1) ** 2 - 1) / 12 / n)
        assert (found.min(), found.max()) == (low, high)
        assert abs(found.mean() - 100) < 4 * error


def test_visits_start_in_the_favourites_in_ratio_3_2_1():
    users = ShopUsers(
        favourites=np.array([[4, 7, 1], [0, 2, 5]]),
        curiosity=np.array([100, 100]),
        thrift=np.array([100, 100]),
        categories=8,
    )
    n = 12_000

    start = users.start_category(np.ones(n, dtype=np.int64), np.random.default_rng(4))

    counts = [int((start == category).sum()) for category in (0, 2, 5)]
    assert sum(counts) == n
    assert chisquare(counts, [n * 3 / 6, n * 2 / 6, n * 1 / 6]).pvalue > 1e-3


def test_each_visit_starts_in_a_favourite_of_its_own_user():
    rng = np.random.default_rng(5)
    users = make_users(WORLD, 30, rng)
    visits = rng.integers(0, 30, 500)

    start = users.start_category(visits, rng)

    assert (users.favourites[visits] == start[:, None]).any(axis=1).all()

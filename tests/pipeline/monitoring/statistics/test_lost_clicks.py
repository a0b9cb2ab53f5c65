"""Orders without a click, by hand, with a fault and without."""

from math import comb

import numpy as np
import pytest
from scipy.special import beta

from pipeline.monitoring.following.ledger import UserSums
from pipeline.monitoring.statistics.lost_clicks import lost_clicks_of
from pipeline.monitoring.statistics.rates import Baseline, Looks

END = Looks(groups=5, is_end=True)


def buyers(n, without_click):
    """Sums of n users with an order, some of them without a click."""
    n, y = int(n), int(without_click)
    return UserSums(n, n, y, n, y, y)


def test_the_predicted_number_by_hand():
    """10 of 95 after none of 665; of the others 1 of 380 after 2 of 2660: the tail of a beta-binomial."""
    today = {"a": buyers(95, 10), "b": buyers(200, 0), "c": buyers(180, 1)}
    before = Baseline(
        sums={"a": buyers(665, 0), "b": buyers(1330, 2), "c": buyers(1330, 0)}, days=7
    )

    found = lost_clicks_of("a", today, before, END)

    means = [0.5 / 666, 1.5 / 381, 2.5 / 2661]
    expected = means[0] + means[1] - means[2]
    variance = sum(
        mean * (1 - mean) / (n + 2) for mean, n in zip(means, [665, 380, 2660], strict=True)
    )
    size = expected * (1 - expected) / variance - 1
    a, b = size * expected, size * (1 - expected)
    tail = sum(comb(95, k) * beta(k + a, 95 - k + b) / beta(a, b) for k in range(10, 96))
    assert found.share == 10 / 95
    assert found.expected == pytest.approx(expected)
    assert found.p_value == pytest.approx(tail, rel=1e-6)
    assert found.threshold == pytest.approx(0.05 * 0.8 / 30 / 5)
    assert found.is_alarm


def test_what_is_usual_in_the_group_or_rises_in_all_groups_is_no_alarm():
    before = Baseline.of([{"a": buyers(200, 60), "b": buyers(200, 40)}] * 7)

    usual = lost_clicks_of("a", {"a": buyers(200, 62), "b": buyers(200, 40)}, before, END)
    in_all = lost_clicks_of("a", {"a": buyers(200, 100), "b": buyers(200, 80)}, before, END)
    in_one = lost_clicks_of("a", {"a": buyers(200, 120), "b": buyers(200, 40)}, before, END)

    assert usual.expected == pytest.approx(0.3, abs=0.01)
    assert in_all.expected == pytest.approx(0.5, abs=0.01)
    assert [one.is_alarm for one in (usual, in_all, in_one)] == [False, False, True]


def test_a_significant_excess_below_the_floor_is_no_alarm():
    before = Baseline.of([{"a": buyers(50_000, 0), "b": buyers(50_000, 0)}] * 7)
    found = lost_clicks_of("a", {"a": buyers(50_000, 900), "b": buyers(50_000, 0)}, before, END)

    assert found.p_value < found.threshold
    assert not found.is_alarm  # 1.8%


def test_few_orders_and_days_without_a_day_before_say_nothing():
    day = {"a": buyers(100, 50), "b": buyers(100, 0)}
    few = {"a": buyers(19, 0), "b": buyers(100, 0)}

    assert lost_clicks_of("a", day, Baseline.of([]), END) is None
    assert lost_clicks_of("a", day, Baseline.of([few]), END) is None
    assert lost_clicks_of("a", {"b": buyers(100, 0)}, Baseline.of([day]), END) is None
    assert lost_clicks_of("a", {"a": buyers(100, 50)}, Baseline.of([day]), END) is None


def test_looks_before_the_end_of_the_day_need_more():
    before = Baseline.of([{"a": buyers(95, 0), "b": buyers(380, 0)}] * 7)
    early = Looks(groups=5, is_end=False)

    found = [
        lost_clicks_of("a", {"a": buyers(n, n // 5), "b": buyers(4 * n, 0)}, before, early)
        for n in (10, 50, 95)
    ]

    assert found[0].threshold < found[1].threshold < found[2].threshold < END.alpha
    assert [one.is_alarm for one in found] == [False, True, True]


def test_a_tenth_of_lost_clicks_is_found_on_the_same_day_with_95_buyers():
    rng, found = np.random.default_rng(0), 0
    for _ in range(200):
        days = [{"a": buyers(n, 0), "b": buyers(4 * n, 0)} for n in rng.poisson(95, 7)]
        n = rng.poisson(95)
        today = {"a": buyers(n, rng.binomial(n, 0.1)), "b": buyers(4 * n, 0)}
        found += lost_clicks_of("a", today, Baseline.of(days), END).is_alarm

    assert found >= 190

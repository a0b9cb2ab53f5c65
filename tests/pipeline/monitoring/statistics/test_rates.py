"""Bands and drops, by hand, and over many months without a fault."""

import numpy as np
import pytest

from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence, mixture_of
from pipeline.monitoring.following.ledger import UserSums
from pipeline.monitoring.statistics.rates import (
    Baseline,
    Looks,
    band_of,
    drop_of,
    first_mixture,
    rate_of,
    total,
)


def sums_of(m, y):
    """Sums over users of m trials and y successes."""
    m, y = np.asarray(m), np.asarray(y)
    values = ((m > 0).sum(), m.sum(), y.sum(), (m * m).sum(), (m * y).sum(), (y * y).sum())
    return UserSums(*map(int, values))


def day_of(rng, rates, users=4000, lists=5):
    """A day of new users in each group."""
    days = {}
    for name, rate in rates.items():
        m = np.full(users, lists)
        chance = rng.beta(20 * rate, 20 * (1 - rate), users)
        days[name] = sums_of(m, rng.binomial(m, chance))
    return days


def test_a_rate_by_hand():
    """Users with 2 of 4 and 0 of 1: p = 0.4, residuals 0.4 and -0.4, variance 2 · 0.32 / 25."""
    rate = rate_of(sums_of([4, 1], [2, 0]))

    assert rate.rate == pytest.approx(0.4)
    assert rate.variance == pytest.approx(2 * 0.32 / 25)
    assert rate.relative_variance == pytest.approx(2 * 0.32 / 25 / 0.16)
    assert rate_of(sums_of([3], [1])) is None


def test_the_family_of_sequences_has_the_golden_multipliers():
    """n users with variance 1/n: the multiplier of the standard error at n*, n*/10 and 10 n*."""
    for alpha, expected in (
        (0.05, [3.0352089903762534, 3.855054633530311, 3.241723145405438]),
        (0.10, [2.7639385725679033, 3.6258465162033184, 2.9844766948405974]),  # one-sided .05
    ):
        mixture = float(mixture_of(1 / 5000, alpha))
        sequence = ConfidenceSequence(alpha=alpha, planned_days=1, mixture=mixture)
        found = [sequence.width(1 / n) * n**0.5 for n in (5000, 500, 50_000)]
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_band_is_that_of_the_sequence_tuned_to_the_planned_users():
    rng = np.random.default_rng(1)
    rate = rate_of(day_of(rng, {"a": 0.1})["a"])

    band = band_of(rate, first_mixture(rate, planned_users=4000))

    assert band.rate == rate.rate
    assert (band.high - band.rate) / rate.variance**0.5 == pytest.approx(3.0352089903762534)
    assert band.low < 0.1 < band.high


def test_bands_hold_the_rate_at_all_looks_together():
    """Of 200 groups, looked at 20 times, at most 5% ever leave their band."""
    rng = np.random.default_rng(2)
    left = 0
    for _ in range(200):
        m = np.full(4000, 5)
        y = rng.binomial(m, rng.beta(2, 18, 4000))
        looks = [rate_of(sums_of(m[:n], y[:n])) for n in range(200, 4001, 200)]
        mixture = first_mixture(looks[0], 4000)
        left += any(not band.low < 0.1 < band.high for band in (band_of(r, mixture) for r in looks))

    assert left / 200 <= 0.05


def test_a_change_against_the_others_and_the_days_before_by_hand():
    """Half the clicks of a lost; what all groups lose cancels."""
    many = 2000
    before = {"a": sums_of([1] * many, [1, 0] * 1000), "b": sums_of([1] * many, [1, 0] * 1000)}
    today = {
        "a": sums_of([1] * many, [1] * 400 + [0] * 1600),  # 0.2 for 0.5
        "b": sums_of([1] * many, [1] * 800 + [0] * 1200),  # 0.4 for 0.5
    }

    lost = drop_of("a", "ctr", today, Baseline.of([before]), Looks(groups=2, is_end=True))
    other = drop_of("b", "ctr", today, Baseline.of([before]), Looks(groups=2, is_end=True))

    assert lost.change == pytest.approx(-0.5)
    assert lost.is_alarm
    assert other.change == pytest.approx(1.0)
    assert not other.is_alarm  # a rise is none


def test_the_error_rate_of_a_month_is_divided():
    """5% = 30 days · 2 groups · (0.8 at the end of the day + 0.2 before)."""
    end, before = (Looks(groups=2, is_end=is_end).alpha for is_end in (True, False))

    assert end == pytest.approx(0.05 * 0.8 / 60)
    assert 60 * (end + before) == pytest.approx(0.05)


@pytest.mark.slow
def test_a_tenth_of_the_clicks_of_one_of_two_groups_is_missed_within_the_day():
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(25):
        days = [day_of(rng, {"a": 0.12, "b": 0.1}, users=10_000) for _ in range(7)]
        today = day_of(rng, {"a": 0.12 * 0.9, "b": 0.1}, users=10_000)
        found += drop_of(
            "a", "ctr", today, Baseline.of(days), Looks(groups=2, is_end=True)
        ).is_alarm

    assert found >= 22


def test_significant_but_small_is_no_alarm():
    many = 4_000_000
    before = {"a": UserSums(many, many, many // 2, many, many // 2, many // 2)}
    before["b"] = before["a"]
    lost = int(many * 0.49)
    today = {"a": UserSums(many, many, lost, many, lost, lost), "b": before["b"]}

    found = drop_of("a", "ctr", today, Baseline.of([before]), Looks(groups=2, is_end=True))

    assert found.is_significant
    assert not found.is_alarm  # 2% is below the floor


def test_without_earlier_days_or_users_there_is_no_answer():
    few = {"a": sums_of([1] * 20, [1, 0] * 10), "b": sums_of([1] * 20, [1, 0] * 10)}

    assert drop_of("a", "ctr", few, Baseline.of([few]), Looks(groups=2, is_end=True)) is None
    assert drop_of("c", "ctr", few, Baseline.of([few]), Looks(groups=2, is_end=True)) is None
    assert drop_of("a", "ctr", few, Baseline.of([]), Looks(groups=2, is_end=True)) is None
    assert total([]) == UserSums()

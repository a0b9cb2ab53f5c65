"""Which day is read, and how often any day is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.readings import Groups, read_headline
from tests.pipeline.inference.headline.sums import counts
from tests.pipeline.inference.shops import X, weeks


def groups_of(outcome, planned):
    last = outcome.until(len(outcome.days) - 1)
    return Groups(x=X, covariance_GG=None, sums=last, outcome=outcome, planned_days=planned)


def until(outcome, days):
    return replace(
        outcome,
        days=outcome.days[:days],
        trials_GDB=outcome.trials_GDB[:, :days],
        successes_GDB=outcome.successes_GDB[:, :days],
    )


def test_without_days_the_level_is_that_of_the_study():
    sums = counts([4000] * 5, [400, 420, 410, 450, 455])

    found = read_headline(Groups(x=X, covariance_GG=None, sums=sums), level=0.95)

    assert (found.headline.level, found.headline.reading) == (0.95, None)
    assert found.headline == headline(X, sums, level=0.95)


def test_the_planned_end_has_four_fifths_of_the_error_rate():
    groups = groups_of(weeks(1, slope=5.0, days=7), 7)

    found = read_headline(groups, level=0.95)

    assert found.headline.level == pytest.approx(0.96)
    assert found.headline.reading == "planned end"
    assert found.headline.interval == headline(X, groups.sums, level=0.96).interval


def test_before_the_planned_end_both_tests_must_reject():
    outcome = until(weeks(2, slope=0.5, days=14), 3)
    groups = groups_of(outcome, 14)

    found = read_headline(groups, level=0.95).headline

    assert (found.level, found.reading) == (0.95, "early look")
    strict = headline(X, groups.sums, level=0.995)
    low, high = found.interval
    assert low <= strict.interval[0]
    assert high >= strict.interval[1]
    assert found.p_value >= min(1.0, 10 * strict.p_value) - 1e-12
    assert (found.p_value < 0.05) == (low > 0 or high < 0)


def test_days_after_the_planned_end_do_not_change_its_headline():
    outcome = weeks(3, slope=5.0, days=14)

    at_end = read_headline(groups_of(until(outcome, 7), 7), level=0.95).headline
    later = read_headline(groups_of(outcome, 7), level=0.95).headline

    assert (later.reading, later.slope) == ("planned end", pytest.approx(at_end.slope, rel=1e-3))


def turning(*, early, late):
    """Four days of 2,000 trials per group with one slope, and four of 20,000 with another."""
    trials, slopes = [20] * 4 + [200] * 4, [early] * 4 + [late] * 4
    rng, m = np.random.default_rng(4), np.zeros((5, 8, 100))
    m[:] = np.array(trials)[None, :, None]
    rates = 1 / (1 + np.exp(2 - X[:, None] * np.array(slopes)))
    y = rng.binomial(m.astype(int), rates[..., None]).astype(float)
    return replace(weeks(4, days=8, users=2), trials_GDB=m, successes_GDB=y)


def test_a_significant_day_stands_where_the_planned_end_is_not_significant():
    found = read_headline(groups_of(turning(early=6.0, late=-0.55), 8), level=0.95).headline

    assert found.reading == "early look"
    assert found.interval[0] > 0
    assert not found.conflicting


def test_days_that_contradict_each_other_conclude_nothing():
    assert read_headline(
        groups_of(turning(early=6.0, late=-6.0), 8), level=0.95
    ).headline.conflicting


@pytest.mark.slow
@pytest.mark.parametrize("deviation", [0.0, 0.05])
def test_looking_every_day_to_four_times_the_plan_is_wrong_as_seldom_as_stated(deviation):
    """Of 200 worlds without a slope, ever significant: 5% + 2.6 standard errors, at most."""
    wrong = 0
    for seed in range(200):
        x = X
        own = deviation * np.random.default_rng(seed).standard_normal(5)
        outcome = weeks(seed, slope=1.0, x=own, users=300, days=28)
        seen = read_headline(
            Groups(
                x=x, covariance_GG=None, sums=outcome.until(27), outcome=outcome, planned_days=7
            ),
            level=0.95,
        ).headline
        wrong += seen.conflicting or seen.p_value < 1 - seen.level

    assert wrong <= 0.05 * 200 + 2.6 * (200 * 0.05 * 0.95) ** 0.5

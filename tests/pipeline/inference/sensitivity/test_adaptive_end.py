"""The adaptive end: its error rate, what it saves and loses, and each day's answer on a log."""

from datetime import date, timedelta

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.headline.readings import Groups, read_headline
from pipeline.inference.headline.slope_test import score_slope
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.sensitivity.adaptive_end import (
    FUTILE,
    chance_at_end,
    follow,
    progress,
)
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Family
from pipeline.results.progress import State

X = np.linspace(0, 0.14, 6)
DAYS = 14


def worlds(slope, tau, worlds=1500, seed=1):
    """Groups on the link scale, day by day: an average over the days so far, and fixed deviations."""
    rng = np.random.default_rng(seed)
    daily = 0.075 * rng.standard_normal((DAYS, worlds, len(X)))
    numbers = np.arange(1, DAYS + 1)
    means = np.cumsum(daily, axis=0) / numbers[:, None, None]
    values = means + slope * X + tau * rng.standard_normal((worlds, len(X)))
    variance = 0.075**2 / numbers
    return [
        WorkingResponse(
            values_G=values[day],
            variance_G=np.full(len(X), variance[day]),
            users_df=np.full(worlds, 1e4),
        )
        for day in range(DAYS)
    ]


def ended(course):
    """The day of the end of each experiment, and whether it was decided then."""
    day = course.ends_on_R
    return day + 1, course.significant_DR[day, np.arange(len(day))]


@pytest.mark.parametrize("tau", [0.0, 0.03])
def test_without_a_slope_it_ends_early_and_is_rarely_wrong(tau):
    course = follow(X, worlds(0.0, tau), planned=DAYS, level=0.95)

    days, decided = ended(course)

    assert decided.mean() <= 0.05
    assert course.significant_DR.any(axis=0).mean() <= 0.06  # of all 14 looks
    assert days.mean() < 11


def test_with_a_slope_it_saves_days_and_loses_hardly_any_power():
    course = follow(X, worlds(1.0, 0.0), planned=DAYS, level=0.95)

    days, decided = ended(course)

    assert decided.mean() > course.significant_DR[-1].mean() - 0.02
    assert days.mean() < 10


def test_the_chance_at_the_end_is_how_often_it_comes_true():
    """The true slope is drawn from all slopes, given which the chance is that of the share."""
    rng = np.random.default_rng(3)
    slopes = rng.uniform(-2, 2, 4000)
    days = worlds(0.0, 0.0, worlds=4000, seed=4)
    shifted = [
        WorkingResponse(
            values_G=one.values_G + slopes[:, None] * X,
            variance_G=one.variance_G,
            users_df=one.users_df,
        )
        for one in days
    ]
    course = follow(X, shifted, planned=DAYS, level=0.95)

    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8)):
        some = (course.chance_DR[6] >= low) & (course.chance_DR[6] < high)
        stated, came = course.chance_DR[6][some].mean(), course.significant_DR[-1][some].mean()
        assert came == pytest.approx(stated, abs=0.12)


def test_with_known_errors_the_chance_is_that_of_a_normal_variable():
    """Very many groups on a line: the small-sample quantile is normal and the errors are the users'."""
    x = np.linspace(0, 1, 2000)
    response = WorkingResponse(
        values_G=(0.004 * x + np.random.default_rng(5).normal(size=2000) * 0.1)[None],
        variance_G=np.full((1, 2000), 0.01),
        users_df=np.array([1e6]),
    )
    score = score_slope(np.zeros(1), x, response)

    (found,) = chance_at_end(score, more=4.0, level=0.95)

    u, b = float(score.users[0]), float(score.delta[0])
    critical, change = stats.norm.ppf(0.98) * u / 2, u * np.sqrt(3 / 4)
    expected = stats.norm.sf((critical - b) / change) + stats.norm.cdf((-critical - b) / change)
    assert found == pytest.approx(expected, abs=0.02)


def daily(clicks_GD, trials=400):
    """A log of days; batches of users with equal numbers of trials."""
    groups, days = clicks_GD.shape
    trials_GDB = np.full((groups, days, 100), trials / 100)
    rng = np.random.default_rng(6)
    clicks_GDB = rng.multinomial(1, np.full(100, 0.01), (groups, days)) * 0.0
    for g in range(groups):
        for d in range(days):
            clicks_GDB[g, d] = rng.multinomial(int(clicks_GD[g, d]), np.full(100, 0.01))
    dates = tuple(date(2026, 1, 1) + timedelta(days=n) for n in range(days))
    return DailyOutcome(
        family=Family.BINOMIAL, days=dates, trials_GDB=trials_GDB, successes_GDB=clicks_GDB
    )


def groups_of(slope, days, planned=DAYS, seed=7):
    rates = 1 / (1 + np.exp(2 - slope * (X - X.mean())))
    clicks = np.random.default_rng(seed).binomial(400, rates[:, None], (len(X), days))
    outcome = daily(clicks)
    return Groups(
        x=X, covariance_GG=None, sums=outcome.until(days - 1), outcome=outcome, planned_days=planned
    )


def test_a_strong_slope_is_decided_before_the_end_and_stays_so():
    groups = groups_of(6.0, 10)

    found = progress(groups, level=0.95)

    states = [one.state for one in found]
    first = states.index(State.DECIDED)
    assert 0 < first < 9
    assert set(states[first:]) == {State.DECIDED}
    assert found[-1].positive
    assert found[-1].days_to_go is None
    assert all(one.state is State.OPEN and one.days_to_go > 0 for one in found[:first])
    quoted = read_headline(groups, level=0.95).headline
    assert quoted.p_value < 0.05  # the same rule as the verdict's


def test_the_first_decided_day_is_the_first_on_which_the_headline_is_significant():
    groups = groups_of(4.0, DAYS)
    outcome = groups.outcome

    found = progress(groups, level=0.95)

    for day, one in enumerate(found):
        until = DailyOutcome(
            family=outcome.family,
            days=outcome.days[: day + 1],
            trials_GDB=outcome.trials_GDB[:, : day + 1],
            successes_GDB=outcome.successes_GDB[:, : day + 1],
        )
        known = Groups(
            x=X,
            covariance_GG=None,
            sums=until.until(day),
            outcome=until,
            planned_days=DAYS,
        )
        headline = read_headline(known, level=0.95).headline
        significant = headline.p_value is not None and headline.p_value < 1 - headline.level
        assert (one.state is State.DECIDED) == significant


def test_no_slope_near_the_end_cannot_be_decided_any_more():
    found = progress(groups_of(0.0, DAYS - 1), level=0.95)

    assert found[-1].state is State.NOT_ANY_MORE
    assert found[-1].chance < FUTILE
    assert found[0].state is State.OPEN  # on the first day, nothing is known


def test_after_the_planned_end_there_is_nothing_to_wait_for():
    found = progress(groups_of(0.0, DAYS), level=0.95)

    assert found[-1].state is State.NOT_ANY_MORE
    assert found[-1].days_to_go is None


def test_two_groups_have_no_progress():
    groups = groups_of(1.0, 3)
    two = Groups(x=X[:2], covariance_GG=None, sums=groups.sums, outcome=groups.outcome)

    assert progress(two, level=0.95) == ()

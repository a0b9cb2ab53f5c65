"""Logs drawn from known slopes: their rates are exact, and their users differ."""

from math import sqrt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import expit, logit

from pipeline.core.contracts import DAY_MS, IMPRESSIONS
from pipeline.simulator.planted_slopes import DirectSimulation, intercept_for_mean, mean_rate
from pipeline.simulator.shop_experiment import EXPERIMENT_TS
from tests.pipeline.simulator.experiments import PLAN, X, config_of


def simulation(seed=1, users=4000, x=X, **changes):
    direct = {"impressions_per_user": 12.0, "ctr": 0.2, "cvr": 0.3} | changes.pop("direct", {})
    config = config_of(seed, users=users, direct=direct, **changes)
    return DirectSimulation.of(PLAN, config, x_ctr=x, x_cvr=-x)


def log_of(simulation):
    return pl.concat(simulation.days())


@settings(max_examples=30)
@given(rate=st.floats(1e-4, 1 - 1e-4), spread=st.floats(0, 3))
def test_the_mean_rate_over_users_is_exact(rate, spread):
    line = float(intercept_for_mean(np.array([rate]), spread)[0])

    # reference: adaptive quadrature
    mean, _ = integrate.quad(lambda z: expit(line + spread * z) * stats.norm.pdf(z), -12, 12)
    assert mean == pytest.approx(rate, rel=1e-5)
    assert float(mean_rate(np.array([line]), spread)[0]) == pytest.approx(rate, rel=1e-9)


def test_without_user_effects_the_intercept_is_the_logit_of_the_rate():
    assert intercept_for_mean(np.array([0.1, 0.5]), 0.0) == pytest.approx(logit([0.1, 0.5]))


def test_rates_follow_the_known_slopes():
    drawn = simulation(direct={"user_spread": 1.5})

    log = log_of(drawn)

    truth = drawn.truth()["groups"]
    for group, x in zip(PLAN.groups, X, strict=True):
        ctr, cvr = expit(logit(0.2) + 0.9 * x), expit(logit(0.3) - 1.26 * x)
        assert truth[group.name]["ctr"] == {"value": pytest.approx(ctr), "standard_error": 0.0}
        assert truth[group.name]["cvr"]["value"] == pytest.approx(cvr)
        assert truth[group.name]["orders_per_impression"]["value"] == pytest.approx(ctr * cvr)
        assert truth[group.name]["units_per_impression"]["value"] == pytest.approx(ctr * cvr * 1.15)
    by_user = log.group_by("user").agg(m=pl.len(), y=pl.col("clicked").sum())
    expected = log["group"].replace_strict({n: t["ctr"]["value"] for n, t in truth.items()})
    off = (
        log.with_columns(off=pl.col("clicked") - expected).group_by("user").agg(pl.col("off").sum())
    )
    assert abs(off["off"].sum()) < 4 * sqrt((off["off"] ** 2).sum())
    # a spread of 1.5 in the log odds is a standard deviation of about 0.2 in the rate
    rate = by_user["y"].sum() / by_user["m"].sum()
    squares = ((by_user["y"] - rate * by_user["m"]) ** 2).sum()
    assert squares > 2 * rate * (1 - rate) * by_user["m"].sum()


def test_groups_may_deviate_from_the_line():
    without, with_spread = (simulation(direct={"group_spread": spread}) for spread in (0.0, 0.5))

    deviation = with_spread.click_odds - without.click_odds
    assert deviation.std() > 0.1
    assert len(set(np.round(deviation, 9))) == len(PLAN.groups)


def test_each_day_of_the_log_follows_the_contract():
    for day, frame in enumerate(simulation(users=300).days()):
        IMPRESSIONS.validate(frame)
        assert (
            frame["ts"]
            .is_between(
                EXPERIMENT_TS + day * DAY_MS, EXPERIMENT_TS + (day + 1) * DAY_MS, closed="left"
            )
            .all()
        )
        assert [PLAN.group_of(user).name for user in frame["user"]] == frame["group"].to_list()
        assert frame.filter("ordered", ~pl.col("clicked")).is_empty()
        assert frame.filter(pl.col("ordered") != (pl.col("units") > 0)).is_empty()
    assert day == 6


def test_impressions_per_user_have_the_given_mean_and_variance():
    log = log_of(simulation(users=4000))

    counts = np.zeros(4000)
    seen = log.group_by("user").len()["len"].to_numpy()
    counts[: len(seen)] = seen
    # a Gamma mean of shape 1 makes Poisson counts geometric: variance μ + μ²
    assert counts.mean() == pytest.approx(12, abs=4 * sqrt((12 + 144) / 4000))
    assert counts.var() == pytest.approx(12 + 144, rel=0.25)
    assert log["impression"].n_unique() == log.height


def test_weekdays_weight_the_days():
    days = [frame.height for frame in simulation(weekdays=(1, 1, 9, 1, 1, 1, 1)).days()]

    assert days[0] / sum(days) == pytest.approx(9 / 15, abs=0.02)  # 2025-10-01 is a Wednesday


def test_the_number_of_earlier_lists_is_counted_over_days():
    drawn = simulation(users=200, faults={"carry_over": 0.2})

    log = log_of(drawn)

    counts = dict(log.group_by("user").len().iter_rows())
    assert drawn.shown.tolist() == [counts.get(user, 0) for user in drawn.users]


def test_the_truth_with_carry_over_and_novelty_is_the_mean_over_the_impressions():
    faults = {"carry_over": 0.3, "novelty": 0.8}
    drawn = simulation(users=300, faults=faults)

    log = log_of(drawn)

    rows = log.sort("ts", "impression").with_columns(n=pl.int_range(pl.len()).over("user"))
    day = ((rows["ts"] - EXPERIMENT_TS) // DAY_MS).to_numpy()
    for group, x in zip(PLAN.groups, X, strict=True):
        mine = (rows["group"] == group.name).to_numpy()
        effect = 0.8 * 0.5 ** (day / 3) + 0.3 * np.log2(1 + rows["n"].to_numpy())
        rate = expit(logit(0.2) + 0.9 * x + group.preference[0] * effect)
        found = drawn.truth()["groups"][group.name]["ctr"]["value"]
        assert found == pytest.approx(rate[mine].mean())


def test_the_log_depends_on_the_seed():
    first = log_of(simulation(users=200))

    assert log_of(simulation(users=200)).equals(first)
    assert not log_of(simulation(users=200, seed=2)).equals(first)

"""Injected faults: their effect on the log, and their detection by the diagnostics."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.simulator.fault_injection import (
    bot_impressions,
    without_lost_users,
    write_simulated_log,
)
from pipeline.simulator.shop_experiment import EXPERIMENT_TS, simulate_shop
from pipeline.study import InjectedFaults
from tests.pipeline.simulator.experiments import (
    PLAN,
    Tempter,
    config_of,
    inputs_of,
    reported,
    write_direct_log,
    write_shop_log,
)

RATES = {"impressions_per_user": 12.0, "ctr": 0.2, "cvr": 0.1}
BOTS = "more than 500 impressions per hour"
WRITERS = {"shop": write_shop_log, "direct": write_direct_log}
CAUGHT = [
    # novelty has faded when users return
    ({"novelty": 1.5}, {"novelty", "carry_over"}),
    ({"lost_users": 0.4}, {"sample_ratio"}),
    ({"bots": 3}, {BOTS}),
    ({"duplicates": 0.01}, {"duplicate impression"}),
    (
        {"lost_events": 0.05},
        {"lost_outcomes", "click without impression", "order without click"},
    ),
]


@pytest.fixture(scope="module")
def clean():
    return simulate_shop(Tempter(), PLAN, config_of(1, users=300))


def written(impressions, folder, **faults):
    rng = np.random.default_rng(1)
    write_simulated_log([impressions], PLAN, InjectedFaults(**faults), folder, rng=rng)
    return {file.name: pl.read_parquet(file) for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("source", [pytest.param("shop", marks=pytest.mark.slow), "direct"])
@pytest.mark.parametrize(("faults", "found"), CAUGHT, ids=[next(iter(f)) for f, _ in CAUGHT])
def test_each_fault_is_detected_by_its_check_only(tmp_path, source, faults, found):
    WRITERS[source](config_of(1, faults=faults, direct=RATES), tmp_path)

    assert reported(tmp_path) == found


@pytest.mark.slow
@pytest.mark.parametrize("source", WRITERS)
def test_carry_over_is_detected_and_may_look_like_a_day_effect(tmp_path, source):
    WRITERS[source](config_of(1, faults={"carry_over": 0.5}, direct=RATES), tmp_path)

    assert {"carry_over"} <= reported(tmp_path) <= {"carry_over", "novelty"}


@pytest.mark.slow
def test_carry_over_grows_with_the_lists_shown_and_with_the_weight():
    plain, habit = (
        simulate_shop(Tempter(), PLAN, config_of(1, faults={"carry_over": strength}))
        for strength in (0.0, 1.0)
    )

    # the groups with click weights 1/3 and 1, on early and on late lists
    gains = {
        (group, late): rate(habit, group, late) - rate(plain, group, late)
        for group in ("g1", "g3")
        for late in (False, True)
    }
    error = 0.03
    assert gains["g3", True] > gains["g3", False] + 4 * error
    assert gains["g3", True] > gains["g1", True] + 4 * error
    assert abs(gains["g1", False]) < 4 * error


def rate(log, group, late):
    """CTR of a group's impressions up to the user's second, or after the tenth."""
    number = pl.int_range(pl.len()).over("user")
    rows = log.sort("ts", "impression").filter(group=group).with_columns(number=number)
    chosen = pl.col("number") >= 10 if late else pl.col("number") < 2
    return rows.filter(chosen)["clicked"].mean()


def test_there_are_no_faults_by_default(clean, tmp_path):
    files = written(clean, tmp_path)

    assert not InjectedFaults().active()
    assert pl.concat(files.values()).equals(clean.sort("ts", "impression"))


def test_all_impressions_of_lost_users_are_missing(clean):
    kept = without_lost_users(clean, PLAN, 0.5)

    lost = set(clean["user"]) - set(kept["user"])
    assert clean.filter(~pl.col("user").is_in(list(lost))).equals(kept)
    assert {PLAN.group_of(user).name for user in lost} == {"g6"}
    assert 0.3 < len(lost) / clean.filter(group="g6")["user"].n_unique() < 0.7


def test_the_same_users_are_lost_on_all_days(clean):
    middle = clean["ts"].median()
    days = [clean.filter(pl.col("ts") < middle), clean.filter(pl.col("ts") >= middle)]
    lost = [set(day["user"]) - set(without_lost_users(day, PLAN, 0.5)["user"]) for day in days]

    both = set(days[0]["user"]) & set(days[1]["user"])
    assert lost[0] & both == lost[1] & both != set()


def test_bots_have_an_impression_every_five_seconds_for_an_hour():
    found = bot_impressions(PLAN, 4, np.random.default_rng(1))

    IMPRESSIONS.validate(found)
    assert found.height == 4 * 720
    assert found["impression"].n_unique() == found.height
    for (user, group), rows in found.group_by("user", "group"):
        assert PLAN.group_of(user).name == group
        assert rows["ts"].sort().diff().drop_nulls().unique().to_list() == [5000]
        assert rows["ts"].min() == EXPERIMENT_TS
        assert 0.4 < rows["clicked"].mean() < 0.6


def test_bots_outside_the_experiment_have_no_impressions():
    assert bot_impressions(replace(PLAN, enabled=False), 4, np.random.default_rng(1)).is_empty()


def test_duplicates_are_ingested_once(clean, tmp_path):
    rows = pl.concat(written(clean, tmp_path, duplicates=0.2).values())

    repeated = rows.height - clean.height
    assert 0.15 < repeated / clean.height < 0.25
    assert rows.unique().height == clean.height
    inputs, rejected = inputs_of(tmp_path)
    assert rejected == {"duplicate impression": repeated}
    assert inputs.group_kpis.filter(kpi="ctr")["trials"].sum() == clean.height


def test_the_outcomes_of_lost_events_are_kept(clean, tmp_path):
    files = written(clean, tmp_path, lost_events=0.1)

    tables = {
        table: pl.concat(rows for name, rows in files.items() if name.startswith(table))
        for table in ("impressions", "clicks", "orders")
    }
    clicked, ordered = clean.filter("clicked"), clean.filter("ordered")
    assert tables["impressions"].columns == [
        *("experiment", "impression", "user", "group", "ts"),
        *("session", "items", "model"),
    ]
    assert tables["clicks"].columns == ["impression", "ts", "item"]
    assert 0.07 < 1 - tables["impressions"].height / clean.height < 0.13
    assert set(tables["clicks"]["impression"]) < set(clicked["impression"])
    assert set(tables["orders"]["impression"]) == set(ordered["impression"])
    assert tables["orders"]["units"].sum() == ordered["units"].sum()
    assert not set(tables["clicks"]["impression"]) <= set(tables["impressions"]["impression"])

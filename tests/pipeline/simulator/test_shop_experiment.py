"""The simulated experiment: a small shop, a small untrained model, and recommenders of known worth."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import sqrt

import numpy as np
import polars as pl
import pytest
from scipy.stats import chisquare

from models.network.configuration import ModelConfig
from models.network.model import build_model
from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import DataError, LogError
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.session_loop import MAX_IMPRESSIONS
from pipeline.simulator.shop_experiment import (
    EXPERIMENT_TS,
    SimulationConfig,
    log_provenance,
    simulate_shop,
)
from pipeline.study import ExperimentConfig, SimulatorConfig, SyntheticConfig
from pipeline.synthetic.generate_log import DAY_MS, build_shop, item_id
from pipeline.synthetic.shop import BROWSE

WORLD = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
SECTION = ExperimentConfig(name="spring", groups=3, list_length=4, days=3, users=300)
ITEMS = [str(number) for number in item_id(np.arange(WORLD.items))]
EDGES = [(0, 3332), (3333, 6666), (6667, 9999)]
PLAN = TrafficPlan(
    experiment="spring",
    salt="pareto-1",
    list_length=SECTION.list_length,
    groups=tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n}",
            preference=(n / 2, 1 - n / 2),
            first_bucket=first,
            last_bucket=last,
        )
        for n, (first, last) in enumerate(EDGES)
    ),
)
TOP_GROUP = PLAN.groups[-1]


def untrained(items):
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    return Recommender.of(build_model(config, n_items=len(items), n_objectives=2, seed=2), items)


@dataclass(frozen=True)
class KnowsTheShop:
    """Lists the most probable next items for one preference, and random items for the others."""

    only_for: tuple[float, ...]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(8))
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k):
        length = np.array([len(session) for session in sessions])
        seen = np.full((len(sessions), length.max()), -1)
        for row, session in enumerate(sessions):
            seen[row, : len(session)] = session
        everything = np.tile(np.arange(WORLD.items), (len(sessions), 1))
        chance = build_shop(WORLD).next_click_probability(
            seen, length, np.full(len(sessions), BROWSE), items=everything
        )
        random = self.rng.random(chance.shape)
        knows = (preferences == self.only_for).all(axis=1)
        return np.argsort(-np.where(knows[:, None], chance, random), axis=1)[:, :k]


@dataclass(frozen=True)
class Remembers:
    """Passes on what another recommender lists, and keeps it with the sessions it was asked for."""

    other: KnowsTheShop
    shown: list[tuple[list[int], list[int]]] = field(default_factory=list)
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k):
        lists = self.other.recommend(sessions, preferences, k=k)
        histories = (session.tolist() for session in sessions)
        self.shown.extend(zip(histories, lists.tolist(), strict=True))
        return lists


@dataclass(frozen=True)
class ListsOf:
    """Lists items of one category alone."""

    category: int
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k):
        assert len(sessions) == len(preferences)
        members = np.flatnonzero(build_shop(WORLD).catalogue.category == self.category)
        return np.tile(members[:k], (len(sessions), 1))


def simulate(recommender, seed=5, section=SECTION, **simulator):
    setting = SimulationConfig(
        synthetic=WORLD, experiment=section, simulator=SimulatorConfig(**simulator), seed=seed
    )
    return simulate_shop(recommender, PLAN, setting)


@pytest.fixture(scope="module")
def log():
    return simulate(untrained(ITEMS))


def test_log_is_in_the_contract_and_no_field_is_empty(log):
    IMPRESSIONS.validate(log)
    assert log.null_count().row(0) == (0,) * len(IMPRESSIONS.columns)
    assert log["impression"].n_unique() == log.height
    assert set(log["experiment"]) == {"spring"}


def test_every_unit_is_in_exactly_the_group_of_the_plan(log):
    pairs = log.select("user", "group").unique()

    assert pairs["user"].n_unique() == pairs.height
    assert [PLAN.group_of(user).name for user in pairs["user"]] == pairs["group"].to_list()
    assert set(pairs["group"]) == {"g1", "g2", "g3"}


def test_orders_follow_clicks_and_units_follow_orders(log):
    assert log.filter("ordered", ~pl.col("clicked")).is_empty()
    assert log.filter(pl.col("ordered") != (pl.col("units") > 0)).is_empty()
    assert 0 < log["ordered"].sum() < log["clicked"].sum() < log.height


def test_times_lie_in_the_days_of_the_experiment(log):
    longest_visit_ms = MAX_IMPRESSIONS * 60_000

    assert log["ts"].min() >= EXPERIMENT_TS
    assert log["ts"].max() < EXPERIMENT_TS + SECTION.days * DAY_MS + longest_visit_ms


def test_a_click_on_the_list_becomes_the_next_click_of_the_visit():
    recommender = Remembers(KnowsTheShop(only_for=TOP_GROUP.preference))
    log = simulate(recommender)
    visits = defaultdict(list)
    for impression, clicked, (history, listed) in zip(
        log["impression"], log["clicked"], recommender.shown, strict=True
    ):
        visits[impression.split("-")[0]].append((history, listed, clicked))

    positions = Counter()
    for visit in visits.values():
        for (history, listed, clicked), (longer, _, _) in pairwise(visit):
            assert longer[:-1] == history
            if clicked:
                positions[listed.index(longer[-1])] += 1

    # the further down, the less it is seen and the less probable what stands there
    assert positions[0] > positions[1] > positions[2] > positions[3] > 0


def test_a_visit_is_a_run_of_impressions_of_one_user_a_minute_apart(log):
    visits = log.with_columns(
        visit=pl.col("impression").str.extract(r"^v(\d+)-"),
        step=pl.col("impression").str.extract(r"-(\d+)$").cast(pl.Int64),
    )
    per_visit = visits.group_by("visit").agg(
        users=pl.col("user").n_unique(),
        steps=pl.col("step").sort(),
        starts=(pl.col("ts") - 60_000 * pl.col("step")).n_unique(),
    )

    assert set(per_visit["users"]) == {1}
    assert set(per_visit["starts"]) == {1}
    for steps in per_visit["steps"]:
        assert steps.to_list() == list(range(len(steps)))
        assert len(steps) <= MAX_IMPRESSIONS


def test_users_come_twice_on_average(log):
    visits = log["impression"].str.extract(r"^v(\d+)-").n_unique()

    assert visits == 2 * SECTION.users  # with every item known, each visit is shown a list


def test_the_same_seed_gives_the_same_log_and_another_seed_another(log):
    assert simulate(untrained(ITEMS)).equals(log)
    assert not simulate(untrained(ITEMS), seed=6).equals(log)


def test_a_recommender_that_knows_the_shop_is_clicked_more_in_its_group_alone():
    rates = (
        simulate(KnowsTheShop(only_for=TOP_GROUP.preference))
        .group_by("group")
        .agg(ctr=pl.col("clicked").mean(), n=pl.len())
    )
    ctr = dict(rates.select("group", "ctr").iter_rows())
    error = sqrt(2 * 0.25 / min(rates["n"].to_list()))  # of a difference of two shares, at most

    assert ctr["g3"] > max(ctr["g1"], ctr["g2"]) + 8 * error
    assert ctr["g1"] == pytest.approx(ctr["g2"], abs=4 * error)


def test_visits_that_start_with_an_item_the_model_does_not_know_are_not_in_the_experiment():
    known = ITEMS[: WORLD.items // 2]

    log = simulate(untrained(known))

    first_steps = (
        log.with_columns(step=pl.col("impression").str.extract(r"-(\d+)$").cast(pl.Int64))
        .group_by(visit=pl.col("impression").str.extract(r"^v(\d+)-"))
        .agg(pl.col("step").min())["step"]
    )
    assert set(first_steps) == {0}
    assert 0.2 < len(first_steps) / (2 * SECTION.users) < 0.8  # half of the items are known


def test_visits_come_by_weekday():
    log = simulate(untrained(ITEMS), weekdays=(1, 1, 1, 1, 6, 1, 1))

    # the shop opens on a Wednesday, for three days: the last is a Friday
    starts = log.filter(pl.col("impression").str.ends_with("-0"))["ts"].to_numpy()
    days = np.bincount((starts - EXPERIMENT_TS) // DAY_MS, minlength=3)
    assert chisquare(days, days.sum() * np.array([1, 1, 6]) / 8).pvalue > 1e-3


def test_users_who_remember_are_served_one_visit_after_another_in_order_of_time():
    recommender = Remembers(KnowsTheShop(only_for=TOP_GROUP.preference))

    log = simulate(recommender, drift=0.01)

    first_of_visit = log.with_row_index("place").filter(pl.col("impression").str.ends_with("-0"))
    for (user,), visits in first_of_visit.group_by("user"):
        assert visits.sort("place")["ts"].is_sorted(), user
    assert log["impression"].n_unique() == log.height
    assert first_of_visit.height == 2 * SECTION.users


def test_who_learns_begins_visits_where_the_lists_led():
    shop = build_shop(WORLD)
    share = {}
    for learning in (0.0, 1.0):
        recommender = Remembers(ListsOf(category=2))
        log = simulate(recommender, learning=learning, drift=1e-9)
        start = [shop.catalogue.category[history[0]] for history, _ in recommender.shown]
        begun = log.with_columns(
            start=pl.Series(start),
            led=pl.col("clicked").cum_sum().over("user", order_by="ts") - pl.col("clicked") > 0,
        )
        later = begun.filter("led", pl.col("impression").str.ends_with("-0"))
        share[learning] = (later["start"] == 2).mean()

    # whoever clicked a list was led to category 2, and starts half of all visits in the favourite
    assert share[0.0] < 0.4
    assert share[1.0] > 0.5


def test_a_model_that_knows_no_item_visits_begin_with_is_an_error():
    @dataclass(frozen=True)
    class KnowsNothing:
        items: tuple = ()
        index: dict = field(default_factory=dict)

    with pytest.raises(DataError, match="no visit was shown a list"):
        simulate(KnowsNothing())


def test_a_reader_is_told_that_no_person_saw_a_list():
    assert log_provenance()["origin"] == "simulated"
    assert "No real person saw a list" in log_provenance()["how"]


SETTING = SimulationConfig(synthetic=WORLD, experiment=SECTION, simulator=SimulatorConfig(), seed=5)


def test_users_outside_of_the_experiment_see_no_list_and_testers_that_of_their_group():
    plan = replace(PLAN, traffic_share=0.5, holdout=0.2, forced_assignment={"u0000007": "g2"})

    impressions = simulate_shop(untrained(ITEMS), plan, SETTING)

    users = impressions["user"].unique()
    assert 0.25 * SECTION.users < len(users) < 0.55 * SECTION.users
    assert impressions["group"].equals(plan.groups_of(impressions["user"]), check_names=False)
    assert set(impressions.filter(user="u0000007")["group"]) <= {"g2"}


def test_without_users_there_is_nothing_to_simulate():
    off = replace(PLAN, enabled=False)

    with pytest.raises(LogError, match="experiment 'spring' has no users: enabled = False"):
        simulate_shop(untrained(ITEMS), off, SETTING)

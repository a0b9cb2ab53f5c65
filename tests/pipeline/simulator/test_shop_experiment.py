"""The simulated experiment with a small shop, an untrained model and recommenders of known quality."""

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
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.session_loop import MAX_IMPRESSIONS
from pipeline.simulator.shop_experiment import (
    EXPERIMENT_TS,
    PROVENANCE,
    SimulationConfig,
    simulate_shop,
)
from pipeline.study import ExperimentConfig, SimulatorConfig, SyntheticConfig
from pipeline.synthetic.generate_log import DAY_MS, build_shop, item_id
from pipeline.synthetic.shop import BROWSE
from tests.pipeline.experiment.logs import plan_of

SHOP = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
SECTION = ExperimentConfig(name="spring", groups=3, list_length=4, days=3, users=300)
ITEMS = [str(number) for number in item_id(np.arange(SHOP.items))]
PLAN = plan_of(3, salt="pareto-1", list_length=SECTION.list_length)
TOP_GROUP = PLAN.groups[-1]


def untrained(items):
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    return Recommender.of(build_model(config, n_items=len(items), n_objectives=2, seed=2), items)


@dataclass(frozen=True)
class KnowsTheShop:
    """Lists the most probable next items for one preference, and random items for all others."""

    only_for: tuple[float, ...]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(8))
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k, **_):
        length = np.array([len(session) for session in sessions])
        seen = np.full((len(sessions), length.max()), -1)
        for row, session in enumerate(sessions):
            seen[row, : len(session)] = session
        everything = np.tile(np.arange(SHOP.items), (len(sessions), 1))
        probability = build_shop(SHOP).next_click_probability(
            seen, length, np.full(len(sessions), BROWSE), items=everything
        )
        random = self.rng.random(probability.shape)
        knows = (preferences == self.only_for).all(axis=1)
        return np.argsort(-np.where(knows[:, None], probability, random), axis=1)[:, :k]


@dataclass(frozen=True)
class Remembers:
    """Wraps another recommender, and records its lists with their sessions."""

    other: KnowsTheShop
    shown: list[tuple[list[int], list[int]]] = field(default_factory=list)
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k, **_):
        lists = self.other.recommend(sessions, preferences, k=k)
        histories = (session.tolist() for session in sessions)
        self.shown.extend(zip(histories, lists.tolist(), strict=True))
        return lists


@dataclass(frozen=True)
class ListsOf:
    """Lists items of one category only."""

    category: int
    items: list[str] = field(default_factory=lambda: list(ITEMS))
    index: dict[str, int] = field(default_factory=lambda: {name: n for n, name in enumerate(ITEMS)})

    def recommend(self, sessions, preferences, *, k, **_):
        assert len(sessions) == len(preferences)
        members = np.flatnonzero(build_shop(SHOP).catalogue.category == self.category)
        return np.tile(members[:k], (len(sessions), 1))


def simulate(recommender, seed=5, section=SECTION, **simulator):
    config = SimulationConfig(
        synthetic=SHOP, experiment=section, simulator=SimulatorConfig(**simulator), seed=seed
    )
    return simulate_shop(recommender, PLAN, config)


@pytest.fixture(scope="module")
def log():
    return simulate(untrained(ITEMS))


def test_the_log_follows_the_contract_without_nulls(log):
    LISTED_IMPRESSIONS.validate(log)
    outcomes = log.select(list(IMPRESSIONS.columns))
    assert outcomes.null_count().row(0) == (0,) * len(IMPRESSIONS.columns)
    assert log["impression"].n_unique() == log.height
    assert set(log["experiment"]) == {"spring"}


def test_the_log_has_what_was_shown_and_clicked(log):
    """The session grows by one item per list, and is the clicked one where there is one."""
    assert set(log["items"].list.len()) == {PLAN.list_length}
    assert log.filter(pl.col("clicked") != pl.col("clicked_item").is_not_null()).is_empty()
    assert log.filter("clicked", ~pl.col("clicked_item").is_in("items")).is_empty()
    visit, step = (
        log["impression"].str.extract(r"v(\d+)-(\d+)", group).cast(pl.Int64) for group in (1, 2)
    )
    lists = log.with_columns(visit=visit, step=step).sort("visit", "step")
    assert (lists["session"].list.len() == lists["step"] + 1).all()
    after = lists.with_columns(next=pl.col("session").shift(-1).over("visit")).drop_nulls("next")
    assert after.filter(
        pl.col("next").list.head(pl.col("step") + 1) != pl.col("session")
    ).is_empty()
    clicked = after.filter("clicked")
    assert clicked.height
    assert (clicked["next"].list.last() == clicked["clicked_item"]).all()


def test_every_user_is_in_the_group_of_the_plan_only(log):
    pairs = log.select("user", "group").unique()

    assert pairs["user"].n_unique() == pairs.height
    assert [PLAN.group_of(user).name for user in pairs["user"]] == pairs["group"].to_list()
    assert set(pairs["group"]) == {"g1", "g2", "g3"}


def test_orders_follow_clicks_and_units_follow_orders(log):
    assert log.filter("ordered", ~pl.col("clicked")).is_empty()
    assert log.filter(pl.col("ordered") != (pl.col("units") > 0)).is_empty()
    assert 0 < log["ordered"].sum() < log["clicked"].sum() < log.height


def test_times_are_within_the_days_of_the_experiment(log):
    longest_session_ms = MAX_IMPRESSIONS * 60_000

    assert log["ts"].min() >= EXPERIMENT_TS
    assert log["ts"].max() < EXPERIMENT_TS + SECTION.days * DAY_MS + longest_session_ms


def test_a_click_on_the_list_is_the_next_click_of_the_session():
    recommender = Remembers(KnowsTheShop(only_for=TOP_GROUP.preference))
    log = simulate(recommender)
    sessions = defaultdict(list)
    for impression, clicked, (history, listed) in zip(
        log["impression"], log["clicked"], recommender.shown, strict=True
    ):
        sessions[impression.split("-")[0]].append((history, listed, clicked))

    positions = Counter()
    for session in sessions.values():
        for (history, listed, clicked), (longer, _, _) in pairwise(session):
            assert longer[:-1] == history
            if clicked:
                positions[listed.index(longer[-1])] += 1

    # lower positions are examined less, and their items are less probable
    assert positions[0] > positions[1] > positions[2] > positions[3] > 0


def test_a_session_has_one_user_and_an_impression_per_minute(log):
    sessions = log.with_columns(
        session=pl.col("impression").str.extract(r"^v(\d+)-"),
        step=pl.col("impression").str.extract(r"-(\d+)$").cast(pl.Int64),
    )
    per_session = sessions.group_by("session").agg(
        users=pl.col("user").n_unique(),
        steps=pl.col("step").sort(),
        starts=(pl.col("ts") - 60_000 * pl.col("step")).n_unique(),
    )

    assert set(per_session["users"]) == {1}
    assert set(per_session["starts"]) == {1}
    for steps in per_session["steps"]:
        assert steps.to_list() == list(range(len(steps)))
        assert len(steps) <= MAX_IMPRESSIONS


def test_users_have_two_sessions_on_average(log):
    sessions = log["impression"].str.extract(r"^v(\d+)-").n_unique()

    assert sessions == 2 * SECTION.users  # with every item known, each session has a list


def test_the_log_depends_on_the_seed(log):
    assert simulate(untrained(ITEMS)).equals(log)
    assert not simulate(untrained(ITEMS), seed=6).equals(log)


def test_a_recommender_that_knows_the_shop_is_clicked_more_in_its_group_only():
    rates = (
        simulate(KnowsTheShop(only_for=TOP_GROUP.preference))
        .group_by("group")
        .agg(ctr=pl.col("clicked").mean(), n=pl.len())
    )
    ctr = dict(rates.select("group", "ctr").iter_rows())
    error = sqrt(2 * 0.25 / min(rates["n"].to_list()))  # of a difference of two shares, at most

    assert ctr["g3"] > max(ctr["g1"], ctr["g2"]) + 8 * error
    assert ctr["g1"] == pytest.approx(ctr["g2"], abs=4 * error)


def test_sessions_that_start_with_an_unknown_item_are_not_in_the_experiment():
    known = ITEMS[: SHOP.items // 2]

    log = simulate(untrained(known))

    first_steps = (
        log.with_columns(step=pl.col("impression").str.extract(r"-(\d+)$").cast(pl.Int64))
        .group_by(session=pl.col("impression").str.extract(r"^v(\d+)-"))
        .agg(pl.col("step").min())["step"]
    )
    assert set(first_steps) == {0}
    assert 0.2 < len(first_steps) / (2 * SECTION.users) < 0.8  # half of the items are known


def test_sessions_are_weighted_by_weekday():
    log = simulate(untrained(ITEMS), weekdays=(1, 1, 1, 1, 6, 1, 1))

    # the experiment starts on a Wednesday and ends on a Friday
    starts = log.filter(pl.col("impression").str.ends_with("-0"))["ts"].to_numpy()
    days = np.bincount((starts - EXPERIMENT_TS) // DAY_MS, minlength=3)
    assert chisquare(days, days.sum() * np.array([1, 1, 6]) / 8).pvalue > 1e-3


def test_sessions_of_users_with_memory_are_simulated_in_order_of_time():
    recommender = Remembers(KnowsTheShop(only_for=TOP_GROUP.preference))

    log = simulate(recommender, drift=0.01)

    first_of_session = log.with_row_index("row").filter(pl.col("impression").str.ends_with("-0"))
    for (user,), sessions in first_of_session.group_by("user"):
        assert sessions.sort("row")["ts"].is_sorted(), user
    assert log["impression"].n_unique() == log.height
    assert first_of_session.height == 2 * SECTION.users


@pytest.mark.slow
def test_users_who_learn_start_sessions_in_the_category_of_the_lists():
    shop = build_shop(SHOP)
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

    # users who clicked a list learned category 2, and start half of their sessions in the favourite
    assert share[0.0] < 0.4
    assert share[1.0] > 0.5


def test_a_model_without_the_items_that_sessions_start_with_is_an_error():
    @dataclass(frozen=True)
    class KnowsNothing:
        items: tuple = ()
        index: dict = field(default_factory=dict)

    with pytest.raises(DataError, match="no list was shown"):
        simulate(KnowsNothing())


def test_the_provenance_says_that_no_user_saw_a_list():
    assert PROVENANCE["origin"] == "simulated"
    assert "No real user saw a list" in PROVENANCE["how"]


CONFIG = SimulationConfig(synthetic=SHOP, experiment=SECTION, simulator=SimulatorConfig(), seed=5)


def test_users_outside_the_experiment_have_no_lists_and_forced_ones_those_of_their_group():
    plan = replace(PLAN, traffic_share=0.5, holdout=0.2, forced_assignment={"u0000007": "g2"})

    impressions = simulate_shop(untrained(ITEMS), plan, CONFIG)

    users = impressions["user"].unique()
    assert 0.25 * SECTION.users < len(users) < 0.55 * SECTION.users
    assert impressions["group"].equals(plan.groups_of(impressions["user"]), check_names=False)
    assert set(impressions.filter(user="u0000007")["group"]) <= {"g2"}


def test_an_experiment_without_users_is_refused():
    off = replace(PLAN, enabled=False)

    with pytest.raises(
        LogError, match="experiment 'spring' has no users to simulate: enabled = False"
    ):
        simulate_shop(untrained(ITEMS), off, CONFIG)

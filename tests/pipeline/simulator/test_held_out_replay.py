"""Held-out replay of explicit sessions with a recommender of explicit lists."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pytest

from models.tokens import SessionTokens
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS
from pipeline.recommender.second_axis import NO_ITEM
from pipeline.simulator.held_out_replay import PROVENANCE, replay_sessions
from tests.pipeline.experiment.logs import TS, plan_of

PLAN = plan_of(2, list_length=2)


@dataclass(frozen=True)
class AfterLastClick:
    """Lists two items that depend on the last click only, optionally for one preference only."""

    lists: dict[int, tuple[int, int]]
    only_for: tuple[float, float] | None = None
    items: tuple[str, ...] = tuple(f"i{number}" for number in range(100))

    def recommend(self, sessions, preferences, *, k, **_):
        assert k == 2
        irrelevant = (98, 99)
        return np.array(
            [
                self.lists[int(session[-1])]
                if self.only_for in (None, tuple(preference))
                else irrelevant
                for session, preference in zip(sessions, preferences, strict=True)
            ]
        )


def replay(recommender, sessions, names=None, seed=0, plan=PLAN):
    tokens = SessionTokens.from_lists(sessions)
    return replay_sessions(
        recommender,
        plan,
        tokens=tokens,
        names=names or [f"s{number}" for number in range(len(sessions))],
        times=TS + 1000 * np.arange(len(tokens.items)),
        seed=seed,
    )


def test_two_explicit_sessions():
    # the first session orders item 1, clicks 2 and 3; the second clicks 3 and then 1, unordered
    sessions = [[(0, 0), (1, 1), (2, 0), (3, 0)], [(3, 0), (1, 0)]]
    lists = {
        0: (1, 9),  # relevant, and ordered
        1: (3, 9),  # relevant, though not next
        2: (2, 0),  # both were clicked before
        3: (1, 9),  # relevant in the second session, without an order
    }

    log = replay(AfterLastClick(lists), sessions, names=["ann", "bob"])

    LISTED_IMPRESSIONS.validate(log)
    outcomes = log.select("user", "impression", "ts", "clicked", "ordered").rows()
    assert outcomes == [
        ("ann", "ann-0", TS, True, True),
        ("ann", "ann-1", TS + 1000, True, False),
        ("ann", "ann-2", TS + 2000, False, False),
        ("bob", "bob-0", TS + 4000, True, False),
    ]
    assert log.select("session", "items", "clicked_item").rows() == [
        (["i0"], ["i1", "i9"], "i1"),
        (["i0", "i1"], ["i3", "i9"], "i3"),
        (["i0", "i1", "i2"], ["i2", "i0"], None),
        (["i3"], ["i1", "i9"], "i1"),
    ]
    assert (log["units"] > 0).to_list() == [True, False, False, False]
    assert log["group"].to_list() == [PLAN.group_of(user).name for user in log["user"]]
    assert set(log["experiment"]) == {"spring"}


def test_a_short_list_is_logged_without_its_padding():
    sessions = [[(0, 0), (1, 0), (2, 0)]]

    log = replay(AfterLastClick({0: (1, NO_ITEM), 1: (3, NO_ITEM)}), sessions)

    assert log.select("items", "clicked_item").rows() == [(["i1"], "i1"), (["i3"], None)]


@pytest.mark.parametrize("lengths", [[2], [2, 5, 3], [1, 4, 1, 2]], ids=str)
def test_a_list_is_shown_after_every_click_but_the_last(lengths):
    sessions = [[(0, 0)] * length for length in lengths]

    log = replay(AfterLastClick({0: (0, 1)}), sessions)

    assert log.height == sum(length - 1 for length in lengths)
    assert log["impression"].n_unique() == log.height


def test_a_relevant_item_at_the_top_is_always_clicked_and_an_irrelevant_one_never():
    relevant, irrelevant = [(0, 0), (1, 0)], [(2, 0), (1, 0)]

    log = replay(AfterLastClick({0: (1, 9), 2: (8, 9)}), [relevant, irrelevant] * 500)

    assert log["clicked"].to_list() == [True, False] * 500


@pytest.mark.slow
def test_a_relevant_item_in_second_position_is_clicked_when_examined():
    n = 5000

    log = replay(AfterLastClick({0: (9, 1)}), [[(0, 0), (1, 0)]] * n)

    p = 2**-0.6
    assert log["clicked"].mean() == pytest.approx(p, abs=4 * sqrt(p * (1 - p) / n))


def test_an_order_follows_a_click_on_an_item_that_the_session_orders():
    ordering, looking = [(0, 0), (1, 1)], [(0, 0), (1, 0)]

    log = replay(AfterLastClick({0: (9, 1)}), [ordering, looking] * 500)

    clicked, ordered = log["clicked"].to_list(), log["ordered"].to_list()
    assert ordered[0::2] == clicked[0::2]
    assert ordered[1::2] == [False] * 500
    assert 0 < sum(ordered) < 500  # an item that is not examined is not ordered
    assert [units > 0 for units in log["units"]] == ordered


def test_each_session_is_served_under_the_preference_of_its_group():
    recommender = AfterLastClick({0: (1, 9)}, only_for=(1.0, 0.0))  # of group g2

    log = replay(recommender, [[(0, 0), (1, 0)]] * 200)

    assert {name for (name,) in log.select("group").unique().rows()} == {"g1", "g2"}
    assert log["clicked"].to_list() == [group == "g2" for group in log["group"]]


def test_the_log_depends_on_the_seed():
    sessions = [[(0, 0), (1, 0)]] * 200
    recommender = AfterLastClick({0: (9, 1)})

    assert replay(recommender, sessions, seed=7).equals(replay(recommender, sessions, seed=7))
    assert not replay(recommender, sessions, seed=7).equals(replay(recommender, sessions, seed=8))


def test_the_provenance_says_that_no_user_saw_a_list():
    assert PROVENANCE["origin"] == "replayed"
    assert "No real user saw a list" in PROVENANCE["how"]


def test_sessions_outside_the_experiment_are_not_replayed():
    names = [f"s{number}" for number in range(40)]
    plan = replace(PLAN, traffic_share=0.5)
    recommender = AfterLastClick({1: (2, 3), 2: (4, 5)})

    found = replay(recommender, [[(1, 0), (2, 0), (4, 0)]] * 40, names, plan=plan)

    inside = [name for name in names if plan.group_of(name)]
    assert 5 < len(inside) < 35
    assert found["user"].to_list() == [name for name in inside for _ in range(2)]
    assert found["group"].equals(plan.groups_of(found["user"]), check_names=False)
    everyone = replay(recommender, [[(1, 0), (2, 0), (4, 0)]] * 40, names)
    assert len(everyone) == 80

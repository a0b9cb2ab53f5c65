"""The loop of simulated sessions: a list after every click, its outcome, and the next click.

A session starts in one of the user's favourite categories. After every click the user is shown a list.
A click on it is the next click of the session; otherwise the user browses by the shop's own rules.
Orders follow clicks by the same rule as in the shop's log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.click_model import (
    NO_CLICK,
    UNITS_PER_ORDER,
    Floats,
    Ints,
    first_click,
    first_click_probability,
    units_bought,
)
from pipeline.simulator.recommender_backend import NOTHING, RecommenderBackend
from pipeline.simulator.users import UserState
from pipeline.synthetic.shop import CONTINUE_PERCENT, ORDER_SCALE, Shop

MAX_IMPRESSIONS = 30
HALF_ATTRACTION = 1.0
"""Next-click probability at which an average user clicks an examined item half of the time."""
_PAUSE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationState:
    """The shop, its users, the recommender backend, and the start of the experiment."""

    shop: Shop
    users: UserState
    backend: RecommenderBackend
    opening_ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Active sessions, as arrays over sessions.

    Attributes:
        number: Number of the session, unique in the experiment.
        user: Number of the user.
        intent: ``BROWSE`` or ``BUY``.
        start: Start of the session, milliseconds UTC.
        seen: Clicks so far, S × T, filled up to ``length``.
        length: Number of clicks so far.
    """

    number: Ints
    user: Ints
    intent: Ints
    start: Ints
    seen: Ints
    length: Ints


def step(
    sessions: Sessions, state: SimulationState, rng: np.random.Generator, *, expected: bool = False
) -> Iterator[pl.DataFrame]:
    """Simulate sessions in parallel; one frame per step with one row per list.

    Columns are session, step, user, ts, clicked, ordered and units, and what was shown: ``seen`` (the
    clicks so far), ``items`` and ``clicked_item``, as numbers of the catalogue. With ``expected``, what was
    shown is replaced by ``expected_clicks``, ``expected_orders`` and ``expected_units``, the exact
    expectations given the session so far.
    """
    active = np.arange(len(sessions.user))
    for n in range(MAX_IMPRESSIONS):
        active = active[state.backend.can_serve(sessions.seen[active, : n + 1])]
        if not len(active):
            return
        yield pl.DataFrame(_step(n, active, sessions, state, rng, expected=expected))
        stays = rng.integers(0, 100, len(active)) < CONTINUE_PERCENT[sessions.intent[active]]
        active = active[stays]


def _step(  # noqa: PLR0913 - the whole state
    n: int,
    active: Ints,
    sessions: Sessions,
    state: SimulationState,
    rng: np.random.Generator,
    *,
    expected: bool,
) -> dict[str, Any]:
    """One list for each active session, and its outcome; writes the next click to ``sessions``."""
    shop, users, rows = state.shop, state.users, np.arange(len(active))
    number, user, intent = sessions.number[active], sessions.user[active], sessions.intent[active]
    seen = sessions.seen[active]
    ts = sessions.start[active] + n * _PAUSE_MS
    lists = state.backend.recommend(number, user, seen[:, : n + 1], ts=ts)
    attraction = _attraction(lists, active, sessions, state, ts=ts)
    position = first_click(attraction, rng)
    clicked = position != NO_CLICK
    browsed = shop.next_click(seen, sessions.length[active], intent, rng=rng)
    item = np.where(clicked, lists[rows, position], browsed)
    repeated = (seen == item[:, None]).any(axis=1)
    probability = shop.order_rate_ppm(item, intent, repeated, users.tastes.thrift[user])
    ordered = clicked & (rng.integers(0, ORDER_SCALE, len(active)) < probability)
    units = units_bought(ordered, rng)
    state.backend.record(number[clicked], item[clicked], units[clicked], ts=ts[clicked])
    users.count_list(user)
    users.learn(user[clicked], shop.catalogue.category[item[clicked]], rng)
    outcome = {"session": number, "step": np.full(len(active), n), "user": user, "ts": ts}
    outcome |= {"clicked": clicked, "ordered": ordered, "units": units.astype(np.int32)}
    if expected:
        outcome |= _expectations(attraction, lists, active, sessions, state)
    else:
        outcome |= {"seen": _as_lists(seen[:, : n + 1]), "items": _as_lists(lists)}
        outcome["clicked_item"] = pl.Series(item).set(pl.Series(~clicked), None)
    sessions.seen[active, n + 1] = item
    sessions.length[active] += 1
    return outcome


def _expectations(
    attraction: Floats, lists: Ints, active: Ints, sessions: Sessions, state: SimulationState
) -> dict[str, Any]:
    """Expected outcome of each list, given the session so far."""
    clicks = first_click_probability(attraction)
    repeated = (sessions.seen[active][:, None, :] == lists[:, :, None]).any(axis=2)
    thrift = state.users.tastes.thrift[sessions.user[active]][:, None]
    intent = sessions.intent[active][:, None]
    orders = state.shop.order_rate_ppm(lists, intent, repeated, thrift) / ORDER_SCALE
    expected_orders = (clicks * orders).sum(axis=1)
    return {
        "expected_clicks": clicks.sum(axis=1),
        "expected_orders": expected_orders,
        "expected_units": expected_orders * UNITS_PER_ORDER,
    }


def _as_lists(items: Ints) -> pl.Series:
    """Rows of items as lists, without the padding of short ones."""
    return pl.Series(items).cast(pl.List(pl.Int64)).list.filter(pl.element() != NOTHING)


def _attraction(
    lists: Ints, active: Ints, sessions: Sessions, state: SimulationState, *, ts: Ints
) -> Floats:
    """Click probability of each listed item if examined, S × K."""
    user, intent = sessions.user[active], sessions.intent[active]
    relevance = state.shop.next_click_probability(
        sessions.seen[active], sessions.length[active], intent, items=lists
    )
    day = (ts - state.opening_ts) // DAY_MS
    relevance = relevance * np.exp(state.users.click_effect(user, day))[:, None] * (lists >= 0)
    curiosity = state.users.tastes.curiosity[user][:, None] / 100
    return np.minimum(relevance / (relevance + HALF_ATTRACTION) * curiosity, 1.0)

"""What happens in simulated visits: lists are shown, clicked, ordered from, and visits go on.

A visit starts in one of the user's favourite categories. After every click the visitor is shown a
list; a click on it becomes the next click of the visit, otherwise the visitor goes on by the shop's
own rules. Orders follow clicks by the same rule as in the shop's log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.click_model import (
    NO_CLICK,
    UNITS_AN_ORDER,
    Floats,
    Ints,
    first_click,
    first_click_chances,
    units_bought,
)
from pipeline.simulator.recommender_backend import RecommenderBackend
from pipeline.simulator.users import UserState
from pipeline.synthetic.shop import CONTINUE_PERCENT, ORDER_SCALE, Shop

MAX_IMPRESSIONS = 30
HALF_ATTRACTION = 1.0
"""Next-click probability at which an average user who looks at an item clicks it half the time."""
_PAUSE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationState:
    """Where visits happen: the shop, its users, who shows them lists, and since when."""

    shop: Shop
    people: UserState
    host: RecommenderBackend
    opening_ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Visits under way, as arrays.

    Attributes:
        number: Of each visit, unique in the experiment.
        user: Who comes.
        intent: ``BROWSE`` or ``BUY``.
        start: When, milliseconds UTC.
        seen: The clicks so far, V × T, filled to ``length``.
        length: How many they are.
    """

    number: Ints
    user: Ints
    intent: Ints
    start: Ints
    seen: Ints
    length: Ints


def step(
    visits: Visits, scene: SimulationState, rng: np.random.Generator, *, expected: bool = False
) -> Iterator[pl.DataFrame]:
    """Let visits happen side by side; one row a list that was shown, a frame a step.

    Columns are visit, step, user, ts, clicked, ordered and units; with ``expected`` also
    ``expected_clicks``, ``expected_orders`` and ``expected_units``, the exact expectations given
    what happened in the visit before.
    """
    active = np.arange(len(visits.user))
    for step in range(MAX_IMPRESSIONS):
        active = active[scene.host.can_serve(visits.seen[active, : step + 1])]
        if not len(active):
            return
        yield pl.DataFrame(_step(step, active, visits, scene, rng, expected=expected))
        stays = rng.integers(0, 100, len(active)) < CONTINUE_PERCENT[visits.intent[active]]
        active = active[stays]


def _step(  # noqa: PLR0913 - the whole scene
    step: int,
    active: Ints,
    visits: Visits,
    scene: SimulationState,
    rng: np.random.Generator,
    *,
    expected: bool,
) -> dict[str, Any]:
    """One list for each active visit, and what comes of it; writes the next click to ``visits``."""
    shop, people = scene.shop, scene.people
    number, user, intent = visits.number[active], visits.user[active], visits.intent[active]
    seen, length = visits.seen[active], visits.length[active]
    ts = visits.start[active] + step * _PAUSE_MS
    lists = scene.host.recommend(number, user, seen[:, : step + 1], ts=ts)
    attraction = _attraction(lists, active, visits, scene, ts=ts)
    place = first_click(attraction, rng)
    clicked = place != NO_CLICK
    item = np.where(
        clicked,
        lists[np.arange(len(active)), place],
        shop.next_click(seen, length, intent, rng=rng),
    )
    again = (seen == item[:, None]).any(axis=1)
    thrift = people.shoppers.thrift[user]
    chance = shop.order_rate_ppm(item, intent, again, thrift)
    ordered = clicked & (rng.integers(0, ORDER_SCALE, len(active)) < chance)
    units = units_bought(ordered, rng)
    scene.host.record(number[clicked], item[clicked], units[clicked], ts=ts[clicked])
    people.see(user)
    people.learn(user[clicked], shop.catalogue.category[item[clicked]], rng)
    visits.seen[active, step + 1] = item
    visits.length[active] += 1
    happened = {
        "visit": number,
        "step": np.full(len(active), step),
        "user": user,
        "ts": ts,
        "clicked": clicked,
        "ordered": ordered,
        "units": units.astype(np.int32),
    }
    if not expected:
        return happened
    clicks = first_click_chances(attraction)
    again = (seen[:, None, :] == lists[:, :, None]).any(axis=2)
    orders = shop.order_rate_ppm(lists, intent[:, None], again, thrift[:, None]) / ORDER_SCALE
    expected_orders = (clicks * orders).sum(axis=1)
    return happened | {
        "expected_clicks": clicks.sum(axis=1),
        "expected_orders": expected_orders,
        "expected_units": expected_orders * UNITS_AN_ORDER,
    }


def _attraction(
    lists: Ints, active: Ints, visits: Visits, scene: SimulationState, *, ts: Ints
) -> Floats:
    """The chance that each listed item is clicked when looked at, V × K."""
    user, intent = visits.user[active], visits.intent[active]
    relevance = scene.shop.next_click_probability(
        visits.seen[active], visits.length[active], intent, items=lists
    )
    day = (ts - scene.opening_ts) // DAY_MS
    relevance = relevance * np.exp(scene.people.pull(user, day))[:, None] * (lists >= 0)
    curiosity = scene.people.shoppers.curiosity[user][:, None] / 100
    return np.minimum(relevance / (relevance + HALF_ATTRACTION) * curiosity, 1.0)

"""The simulated experiment: users of the synthetic shop meet the model, each under its group's π.

Users return, and differ in taste, curiosity and readiness to buy, so the exposures of one user are
correlated. A visit starts in one of the user's favourite categories. After every click the visitor
is shown a list; a click on it becomes the next click of the visit, otherwise the visitor goes on by
the shop's own rules. Orders follow clicks by the same rule as in the shop's log.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import DataError
from pipeline.experiment.plan import TrafficPlan
from pipeline.recommend import Recommender
from pipeline.schemas import EXPOSURES
from pipeline.simulator.behaviour import NO_CLICK, Ints, first_click, units_bought
from pipeline.study import ExperimentSection, WorldSection
from pipeline.world.generation import DAY_MS, OPENING_TS, arrival_times, item_id, open_shop
from pipeline.world.shoppers import Shoppers, make_shoppers
from pipeline.world.shopping import (
    BROWSE,
    BUY,
    BUY_VISITS_PER_CENT,
    CONTINUE_PER_CENT,
    ORDER_SCALE,
    Shop,
)

EXPERIMENT_TS = OPENING_TS + 30 * DAY_MS
"""The simulated experiment opens on 2025-10-01 UTC."""

MAX_EXPOSURES = 30
HALF_ATTRACTION = 1.0
"""Next-click probability at which an average user who looks at an item clicks it half the time."""
_PAUSE_MS = 60_000
_NOTHING = -1
_VISITS_PER_USER = 2
_VISITS_AT_ONCE = 20_000


def describe() -> dict[str, Any]:
    """What a reader of the report must know about this log."""
    return {
        "origin": "simulated",
        "how": (
            "Users of the synthetic shop were assigned to groups by a salted hash, were shown the "
            "model's list after every click, looked at position k with probability (1+k)^-0.6, "
            "and clicked and ordered by the shop's own rules. No real person saw a list."
        ),
    }


@dataclass(frozen=True, slots=True)
class _Visits:
    """Visits under way: arrays over visits, and the clicks of each so far (V × T)."""

    user: Ints
    intent: Ints
    start: Ints
    preference: np.ndarray
    seen: Ints
    length: Ints


def simulate_shop(
    recommender: Recommender,
    plan: TrafficPlan,
    *,
    world: WorldSection,
    section: ExperimentSection,
    seed: int,
) -> pl.DataFrame:
    """The exposures of a simulated experiment, in the log's contract."""
    rng = np.random.default_rng([seed, 2])
    shop = open_shop(world)
    shoppers = make_shoppers(world, section.users, rng)
    units = [f"u{number:07d}" for number in range(section.users)]
    groups = [plan.group_of(unit) for unit in units]
    preferences = np.array([group.preference for group in groups])
    user = np.sort(rng.integers(0, section.users, section.users * _VISITS_PER_USER))
    parts = [
        _simulate_visits(
            _arrive(
                user[first : first + _VISITS_AT_ONCE],
                shop=shop,
                shoppers=shoppers,
                preferences=preferences,
                section=section,
                rng=rng,
            ),
            shop=shop,
            shoppers=shoppers,
            recommender=recommender,
            k=plan.list_length,
            rng=rng,
        ).with_columns(visit=pl.col("visit") + first)
        for first in range(0, len(user), _VISITS_AT_ONCE)
    ]
    outcomes = pl.concat(parts)
    exposures = outcomes.with_columns(
        experiment=pl.lit(plan.experiment),
        unit=pl.Series(units).gather(outcomes["user"]),
        group=pl.Series([group.name for group in groups]).gather(outcomes["user"]),
        exposure=pl.format("v{}-{}", "visit", "step"),
    )
    return EXPOSURES.check(exposures.select(list(EXPOSURES.columns)))


def _arrive(  # noqa: PLR0913 - one visit's whole origin
    user: Ints,
    *,
    shop: Shop,
    shoppers: Shoppers,
    preferences: np.ndarray,
    section: ExperimentSection,
    rng: np.random.Generator,
) -> _Visits:
    n = len(user)
    seen = np.full((n, MAX_EXPOSURES + 1), _NOTHING, dtype=np.int64)
    seen[:, 0] = shop.pages.draw_in(shoppers.start_category(user, rng), rng)
    opening = arrival_times(n, section.days, rng) - OPENING_TS
    return _Visits(
        user=user,
        intent=np.where(rng.integers(0, 100, n) < BUY_VISITS_PER_CENT, BUY, BROWSE),
        start=EXPERIMENT_TS + opening,
        preference=preferences[user],
        seen=seen,
        length=np.ones(n, dtype=np.int64),
    )


def _simulate_visits(  # noqa: PLR0913 - the whole scene
    visits: _Visits,
    *,
    shop: Shop,
    shoppers: Shoppers,
    recommender: Recommender,
    k: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    to_model, to_shop = _index_maps(shop, recommender)
    active = np.arange(len(visits.user))
    frames: list[pl.DataFrame] = []
    for step in range(MAX_EXPOSURES):
        active = active[(to_model[visits.seen[active, : step + 1]] >= 0).any(axis=1)]
        if not len(active):
            break
        sessions = [row[row >= 0] for row in to_model[visits.seen[active, : step + 1]]]
        lists = to_shop[recommender.recommend(sessions, visits.preference[active], k=k)]
        seen, length = visits.seen[active], visits.length[active]
        intent, user = visits.intent[active], visits.user[active]
        relevance = shop.next_click_probability(seen, length, intent, items=lists)
        attraction = relevance / (relevance + HALF_ATTRACTION)
        curiosity = shoppers.curiosity[user][:, None] / 100
        place = first_click(np.minimum(attraction * curiosity, 1.0), rng)
        clicked = place != NO_CLICK
        item = np.where(
            clicked,
            lists[np.arange(len(active)), place],
            shop.next_click(seen, length, intent, rng=rng),
        )
        again = (seen == item[:, None]).any(axis=1)
        chance = shop.order_chance(item, intent, again, shoppers.thrift[user])
        ordered = clicked & (rng.integers(0, ORDER_SCALE, len(active)) < chance)
        frames.append(
            pl.DataFrame(
                {
                    "visit": active,
                    "step": np.full(len(active), step),
                    "user": user,
                    "ts": visits.start[active] + step * _PAUSE_MS,
                    "clicked": clicked,
                    "ordered": ordered,
                    "units": units_bought(ordered, rng).astype(np.int32),
                }
            )
        )
        visits.seen[active, step + 1] = item
        visits.length[active] += 1
        stays = rng.integers(0, 100, len(active)) < CONTINUE_PER_CENT[intent]
        active = active[stays]
    return pl.concat(frames)


def _index_maps(shop: Shop, recommender: Recommender) -> tuple[Ints, Ints]:
    """From the shop's item to the model's index (-1 if the model does not know it), and back."""
    ids = item_id(np.arange(shop.catalogue.size))
    to_model = np.array([recommender.index.get(str(name), _NOTHING) for name in ids] + [_NOTHING])
    number = {str(name): item for item, name in enumerate(ids)}
    strangers = [item for item in recommender.items if item not in number]
    if strangers:
        msg = (
            f"the model knows {len(strangers)} items that the synthetic shop of params.yaml does "
            f"not sell, for example {strangers[:3]}; for other sessions than the shop's own use "
            "experiment.source: replay"
        )
        raise DataError(msg)
    return to_model, np.array([number[item] for item in recommender.items])

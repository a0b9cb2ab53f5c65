"""The simulated experiment: users of the synthetic shop meet the model, each under its group's π.

Users return, and differ in taste, curiosity and readiness to buy, so the impressions of one user are
correlated. They come by hour and weekday; if the study says so, they learn what lists show them,
change their tastes, and carry over what they have seen. :mod:`pipeline.simulator.session_loop` says what
happens in a visit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from models.progress import track
from pipeline.core.contracts import DAY_MS, IMPRESSIONS
from pipeline.core.errors import DataError
from pipeline.experiment.design.plan_checks import check_has_users
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import Floats, Ints
from pipeline.simulator.recommender_backend import NOTHING, InProcess, RecommenderBackend
from pipeline.simulator.session_loop import MAX_IMPRESSIONS, SimulationState, Visits, step
from pipeline.simulator.users import UserState
from pipeline.study import ExperimentConfig, SimulatorConfig, Study, SyntheticConfig
from pipeline.synthetic.generate_log import OPENING_TS, arrival_times, build_shop
from pipeline.synthetic.shop import BROWSE, BUY, BUY_SESSIONS_PERCENT, Shop
from pipeline.synthetic.users import make_users

EXPERIMENT_TS = OPENING_TS + 30 * DAY_MS
"""The simulated experiment opens on 2025-10-01 UTC, …"""

_FIRST_WEEKDAY = 2
"""… a Wednesday."""

VISITS_PER_USER = 2
_VISITS_AT_ONCE = 20_000


def log_provenance() -> dict[str, Any]:
    """What a reader of the report must know about this log."""
    return {
        "origin": "simulated",
        "how": (
            "Users of the synthetic shop were assigned to groups by a salted hash, were shown the "
            "model's list after every click, looked at position k with probability (1+k)^-0.6, "
            "and clicked and ordered by the shop's own rules. No real person saw a list."
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """What a simulated experiment depends on, beside its plan and who answers."""

    synthetic: SyntheticConfig
    experiment: ExperimentConfig
    simulator: SimulatorConfig
    seed: int

    @classmethod
    def of(cls, study: Study) -> Self:
        """The setting of a study."""
        return cls(
            synthetic=study.synthetic,
            experiment=study.experiment,
            simulator=study.simulator,
            seed=study.study.seed,
        )


def simulate_shop(
    recommender: Recommender, plan: TrafficPlan, setting: SimulationConfig
) -> pl.DataFrame:
    """The impressions of a simulated experiment, in the log's contract."""
    shop = build_shop(setting.synthetic)
    users = user_ids(setting)
    preference = preferences_of(users, plan)
    check_has_users(plan, int((~np.isnan(preference[:, 0])).sum()))
    host = InProcess.of(recommender, preference, k=plan.list_length, shop_items=shop.catalogue.size)
    names = plan.groups_of(users)
    outcomes = simulate_visits(host, preference, setting, shop=shop)
    impressions = outcomes.with_columns(
        experiment=pl.lit(plan.experiment),
        user=users.gather(outcomes["user"]),
        group=names.gather(outcomes["user"]),
        impression=pl.format("v{}-{}", "visit", "step"),
    )
    return IMPRESSIONS.validate(impressions.select(list(IMPRESSIONS.columns)))


def user_ids(setting: SimulationConfig) -> pl.Series:
    """The names of the users."""
    return pl.Series([f"u{number:07d}" for number in range(setting.experiment.users)])


def preferences_of(users: pl.Series, plan: TrafficPlan) -> Floats:
    """What each user is served under, U × objectives; nan for those outside the experiment."""
    of_group = {group.name: group.preference for group in plan.groups}
    nobody = (np.nan,) * len(plan.groups[0].preference)
    return np.array([of_group.get(name, nobody) for name in plan.groups_of(users)])


def simulate_visits(
    host: RecommenderBackend, preference: Floats, setting: SimulationConfig, *, shop: Shop
) -> pl.DataFrame:
    """Let the users of a study's experiment come; one row a list, as :func:`play_all` says."""
    rng = np.random.default_rng([setting.seed, 2])
    shoppers = make_users(setting.synthetic, setting.experiment.users, rng)
    people = UserState.of(shoppers, preference, setting.simulator, opening_ts=EXPERIMENT_TS)
    scene = SimulationState(shop=shop, people=people, host=host, opening_ts=EXPERIMENT_TS)
    return simulate_users(scene, setting, rng)


def simulate_users(
    scene: SimulationState,
    setting: SimulationConfig,
    rng: np.random.Generator,
    *,
    expected: bool = False,
) -> pl.DataFrame:
    """Let all visits happen, one row a list, with the columns that :func:`visits.play` tells of.

    Raises:
        DataError: if nobody was shown a list.
    """
    steps = (
        frame
        for visits in arrivals(scene, setting, rng)
        for frame in step(visits, scene, rng, expected=expected)
    )
    groups_of_visits = math.ceil(scene.people.shoppers.size * VISITS_PER_USER / _VISITS_AT_ONCE)
    frames = list(track(steps, groups_of_visits * MAX_IMPRESSIONS, "simulated visits"))
    if not frames:
        msg = "no visit was shown a list: the model knows none of the items that visits begin with"
        raise DataError(msg)
    return pl.concat(frames)


def arrivals(
    scene: SimulationState, setting: SimulationConfig, rng: np.random.Generator
) -> Iterator[Visits]:
    """Visits by random users of the experiment, so many at a time as may happen side by side.

    Users who remember come once at a time, in order of time; the next visits are to be drawn when
    those before have happened.
    """
    size = scene.people.shoppers.size
    user = np.sort(rng.integers(0, size, size * VISITS_PER_USER))
    user = user[~np.isnan(scene.people.preference[user, 0])]
    number = np.arange(len(user))
    if not scene.people.remember:
        for first in range(0, len(user), _VISITS_AT_ONCE):
            part = number[first : first + _VISITS_AT_ONCE]
            yield _begin(part, user[part], scene, setting, rng)
        return
    start = _times(len(user), setting, rng)
    in_order = np.lexsort((start, user))
    turn = number - np.searchsorted(user, user)
    for now in range(turn.max() + 1 if len(turn) else 0):
        come = in_order[turn == now]
        for first in range(0, len(come), _VISITS_AT_ONCE):
            part = come[first : first + _VISITS_AT_ONCE]
            yield _begin(part, user[part], scene, setting, rng, start=start[part])


def _begin(  # noqa: PLR0913 - one visit's whole origin
    number: Ints,
    user: Ints,
    scene: SimulationState,
    setting: SimulationConfig,
    rng: np.random.Generator,
    *,
    start: Ints | None = None,
) -> Visits:
    n = len(user)
    if start is not None:
        scene.people.arrive(user, start, rng)
    seen = np.full((n, MAX_IMPRESSIONS + 1), NOTHING, dtype=np.int64)
    seen[:, 0] = scene.shop.pages.draw_in(scene.people.shoppers.start_category(user, rng), rng)
    return Visits(
        number=number,
        user=user,
        start=_times(n, setting, rng) if start is None else start,
        intent=np.where(rng.integers(0, 100, n) < BUY_SESSIONS_PERCENT, BUY, BROWSE),
        seen=seen,
        length=np.ones(n, dtype=np.int64),
    )


def _times(n: int, setting: SimulationConfig, rng: np.random.Generator) -> Ints:
    return EXPERIMENT_TS + arrival_times(n, day_weights(setting), rng)


def day_weights(setting: SimulationConfig) -> list[int]:
    """How many visits fall on each day of the experiment, relative to the others."""
    weekdays = setting.simulator.weekdays
    return [weekdays[(_FIRST_WEEKDAY + day) % 7] for day in range(setting.experiment.days)]

"""The simulated experiment: users of the synthetic shop are served under their group's preference.

Users return, and differ in tastes, curiosity and readiness to buy, so the impressions of a user are
correlated. Arrivals vary by hour and weekday. Optionally, users learn from lists, their tastes drift,
and lists have carry-over effects. :mod:`pipeline.simulator.session_loop` simulates a session.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from models.progress import track
from pipeline.core.contracts import DAY_MS
from pipeline.core.errors import DataError
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.design.plan_checks import check_has_users
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS, model_version
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import Floats, Ints
from pipeline.simulator.exploring_backend import IMPRESSION_ID, ExploringBackend
from pipeline.simulator.recommender_backend import NOTHING, InProcess, RecommenderBackend
from pipeline.simulator.session_loop import MAX_IMPRESSIONS, Sessions, SimulationState, step
from pipeline.simulator.users import UserState
from pipeline.study import ExperimentConfig, SimulatorConfig, Study, SyntheticConfig
from pipeline.synthetic.generate_log import OPENING_TS, arrival_times, build_shop, item_id
from pipeline.synthetic.shop import BROWSE, BUY, BUY_SESSIONS_PERCENT, Shop
from pipeline.synthetic.users import make_users

EXPERIMENT_TS = OPENING_TS + 30 * DAY_MS
"""Start of the simulated experiment, 2025-10-01 UTC."""

_FIRST_WEEKDAY = 2
"""Weekday of the start: a Wednesday."""

SESSIONS_PER_USER = 2
_BATCH_SIZE = 20_000

PROVENANCE = {
    "origin": "simulated",
    "how": (
        "Users of the synthetic shop were assigned to groups by a salted hash, were shown the "
        "model's list after every click, examined position k with probability (1+k)^-0.6, and "
        "clicked and ordered by the shop's own rules. No real user saw a list."
    ),
}
"""Provenance of the log, for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """Parameters of a simulated experiment, apart from the plan and the recommender."""

    synthetic: SyntheticConfig
    experiment: ExperimentConfig
    simulator: SimulatorConfig
    seed: int
    exploration: Exploration | None = None

    @classmethod
    def of(cls, study: Study) -> Self:
        """The parameters of a study."""
        return cls(
            synthetic=study.synthetic,
            experiment=study.experiment,
            simulator=study.simulator,
            seed=study.study.seed,
            exploration=Exploration.of(study.serving, study.experiment.salt),
        )


def simulate_shop(
    recommender: Recommender, plan: TrafficPlan, config: SimulationConfig
) -> pl.DataFrame:
    """The impressions of a simulated experiment with their lists, in the log's contract.

    With exploration, they have the columns of explored lists, too.
    """
    shop = build_shop(config.synthetic)
    users = user_ids(config)
    preference = preferences_of(users, plan)
    check_has_users(plan, int((~np.isnan(preference[:, 0])).sum()))
    size = shop.catalogue.size
    backend = InProcess.of(
        recommender, preference, k=plan.list_length, shop_items=size, level=levels_of(users, plan)
    )
    exploring = config.exploration and ExploringBackend(backend, config.exploration)
    names = plan.groups_of(users)
    outcomes = simulate_sessions(exploring or backend, preference, config, shop=shop)
    ids = pl.Enum([str(name) for name in item_id(np.arange(size))])
    impressions = outcomes.with_columns(
        experiment=pl.lit(plan.experiment),
        user=users.gather(outcomes["user"]),
        group=names.gather(outcomes["user"]),
        impression=pl.format(IMPRESSION_ID, "session", "step"),
        session=pl.col("seen").list.agg(_named(pl.element(), ids)),
        items=pl.col("items").list.agg(_named(pl.element(), ids)),
        clicked_item=_named(pl.col("clicked_item"), ids),
        model=pl.lit(plan.model and model_version(plan.model), pl.String),
    )
    log = LISTED_IMPRESSIONS.validate(impressions.select(list(LISTED_IMPRESSIONS.columns)))
    return exploring.added_to(log) if exploring else log


def _named(numbers: pl.Expr, ids: pl.Enum) -> pl.Expr:
    """The ids of items that are numbers of a catalogue with these ids."""
    return numbers.cast(pl.UInt32).cat.to(ids).cast(pl.String)


def user_ids(config: SimulationConfig) -> pl.Series:
    """Ids of the users."""
    return pl.Series([f"u{number:07d}" for number in range(config.experiment.users)])


def preferences_of(users: pl.Series, plan: TrafficPlan) -> Floats:
    """Preference of each user, U × objectives; nan outside the experiment."""
    by_group = {group.name: group.preference for group in plan.groups}
    outside = (np.nan,) * len(plan.groups[0].preference)
    return np.array([by_group.get(name, outside) for name in plan.groups_of(users)])


def levels_of(users: pl.Series, plan: TrafficPlan) -> Floats | None:
    """Level of the second axis of each user, nan outside the experiment; None without such an axis."""
    if plan.second_axis is None:
        return None
    by_group = {group.name: group.level for group in plan.groups}
    return np.array([by_group.get(name) for name in plan.groups_of(users)], dtype=np.float64)


def simulate_sessions(
    backend: RecommenderBackend, preference: Floats, config: SimulationConfig, *, shop: Shop
) -> pl.DataFrame:
    """Simulate the users of a study's experiment; one row per list, as in :func:`simulate_users`."""
    rng = np.random.default_rng([config.seed, 2])
    tastes = make_users(config.synthetic, config.experiment.users, rng)
    users = UserState.of(tastes, preference, config.simulator, opening_ts=EXPERIMENT_TS)
    state = SimulationState(shop=shop, users=users, backend=backend, opening_ts=EXPERIMENT_TS)
    return simulate_users(state, config, rng)


def simulate_users(
    state: SimulationState,
    config: SimulationConfig,
    rng: np.random.Generator,
    *,
    expected: bool = False,
) -> pl.DataFrame:
    """Simulate all sessions; one row per list, with the columns of :func:`session_loop.step`.

    Raises:
        DataError: if no list was shown.
    """
    steps = (
        frame
        for sessions in arrivals(state, config, rng)
        for frame in step(sessions, state, rng, expected=expected)
    )
    batches = math.ceil(state.users.tastes.size * SESSIONS_PER_USER / _BATCH_SIZE)
    frames = list(
        track(steps, batches * MAX_IMPRESSIONS, "simulating sessions", unit="impressions", size=len)
    )
    if not frames:
        msg = (
            "no list was shown: the model has none of the items that sessions start with; train it on "
            "the log of the synthetic shop"
        )
        raise DataError(msg)
    return pl.concat(frames)


def arrivals(
    state: SimulationState, config: SimulationConfig, rng: np.random.Generator
) -> Iterator[Sessions]:
    """Sessions of random users of the experiment, in batches that can be simulated in parallel.

    If sessions depend on earlier ones, a batch has one session per user, in order of time, and must be
    simulated before the next one is drawn.
    """
    size = state.users.tastes.size
    user = np.sort(rng.integers(0, size, size * SESSIONS_PER_USER))
    user = user[~np.isnan(state.users.preference[user, 0])]
    number = np.arange(len(user))
    if not state.users.has_memory:
        for first in range(0, len(user), _BATCH_SIZE):
            part = number[first : first + _BATCH_SIZE]
            yield _begin(part, user[part], state, config, rng)
        return
    start = _times(len(user), config, rng)
    in_order = np.lexsort((start, user))
    turn = number - np.searchsorted(user, user)
    for now in range(turn.max() + 1 if len(turn) else 0):
        arriving = in_order[turn == now]
        for first in range(0, len(arriving), _BATCH_SIZE):
            part = arriving[first : first + _BATCH_SIZE]
            yield _begin(part, user[part], state, config, rng, start=start[part])


def _begin(  # noqa: PLR0913 - who arrives, where and when
    number: Ints,
    user: Ints,
    state: SimulationState,
    config: SimulationConfig,
    rng: np.random.Generator,
    *,
    start: Ints | None = None,
) -> Sessions:
    n = len(user)
    if start is not None:
        state.users.arrive(user, start, rng)
    seen = np.full((n, MAX_IMPRESSIONS + 1), NOTHING, dtype=np.int64)
    seen[:, 0] = state.shop.pages.draw_in(state.users.tastes.start_category(user, rng), rng)
    return Sessions(
        number=number,
        user=user,
        start=_times(n, config, rng) if start is None else start,
        intent=np.where(rng.integers(0, 100, n) < BUY_SESSIONS_PERCENT, BUY, BROWSE),
        seen=seen,
        length=np.ones(n, dtype=np.int64),
    )


def _times(n: int, config: SimulationConfig, rng: np.random.Generator) -> Ints:
    return EXPERIMENT_TS + arrival_times(n, day_weights(config), rng)


def day_weights(config: SimulationConfig) -> list[int]:
    """Relative number of sessions on each day of the experiment."""
    weekdays = config.simulator.weekdays
    return [weekdays[(_FIRST_WEEKDAY + day) % 7] for day in range(config.experiment.days)]

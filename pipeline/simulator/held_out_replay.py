"""Held-out replay: a simulated experiment in which the test sessions act as users.

For studies with real sessions but no traffic. After each click of its session a user is shown the
group's list. The relevant items are those that the session clicks later: a relevant item is clicked if
its position is examined, and ordered if the session orders it later. This is a simulation, not an
off-policy estimate.
"""

import numpy as np
import polars as pl

from models.tokens import SessionTokens
from pipeline.experiment.design.plan_checks import check_has_users
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS, model_version
from pipeline.recommender.recommender import Recommender
from pipeline.recommender.second_axis import NO_ITEM
from pipeline.simulator.click_model import NO_CLICK, Flags, Ints, first_click, units_bought

PROVENANCE = {
    "origin": "replayed",
    "how": (
        "Every held-out session was assigned to a group by a salted hash and replayed: after "
        "each of its clicks it was shown the model's list, examined position k with probability "
        "(1+k)^-0.6, and clicked the first examined item that it clicks later; where sessions have "
        "orders, one followed if the session orders the item. The offline metrics are computed on the same sessions, "
        "so agreement between the two is partly built in. No real user saw a list."
    ),
}
"""Provenance of the log, for the report."""


def replay_sessions(  # noqa: PLR0913 - sessions are tokens, names and times
    recommender: Recommender,
    plan: TrafficPlan,
    *,
    tokens: SessionTokens,
    names: list[str],
    times: Ints,
    seed: int,
) -> pl.DataFrame:
    """The impressions of the replayed sessions with their lists, in the log's contract.

    Args:
        recommender: The served model.
        plan: The traffic plan; session ids are user ids.
        tokens: The held-out sessions.
        names: Session ids, in the order of ``tokens``.
        times: Time of every click of ``tokens``, milliseconds UTC.
        seed: Seed of the click model.
    """
    rng = np.random.default_rng([seed, 3])
    served = {n: group for n, name in enumerate(names) if (group := plan.group_of(name))}
    check_has_users(plan, len(served))
    session = np.repeat(list(served), np.maximum(tokens.lengths[list(served)] - 1, 0))
    step = np.arange(len(session)) - np.searchsorted(session, session)
    preferences = np.array([served[int(s)].preference for s in session])
    seen = _clicks(tokens, session, step)
    levels = None
    if plan.second_axis is not None:
        levels = np.array([served[int(s)].level for s in session], dtype=np.float64)
    lists = recommender.recommend(seen, preferences, k=plan.list_length, levels=levels)
    relevant, is_ordered = _later_actions(tokens, session, step, lists)
    position = first_click(relevant.astype(np.float64), rng)
    clicked = position != NO_CLICK
    ordered = clicked & is_ordered[np.arange(len(position)), position]
    names_I = pl.Series(recommender.items)
    clicked_item = lists[np.arange(len(position)), position]
    return pl.DataFrame(
        {
            "experiment": [plan.experiment] * len(session),
            "impression": [f"{names[s]}-{t}" for s, t in zip(session, step, strict=True)],
            "user": [names[s] for s in session],
            "group": [served[s].name for s in session.tolist()],
            "ts": np.asarray(times[tokens.offsets[session] + step]),
            "clicked": clicked,
            "ordered": ordered,
            "units": units_bought(ordered, rng).astype(np.int32),
            "session": [names_I.gather(row) for row in seen],
            "items": [names_I.gather(row[row != NO_ITEM]) for row in lists],
            "clicked_item": names_I.gather(clicked_item).set(pl.Series(~clicked), None),
            "model": [plan.model and model_version(plan.model)] * len(session),
        },
        schema=LISTED_IMPRESSIONS.schema,
    )


def _clicks(tokens: SessionTokens, session: Ints, step: Ints) -> list[Ints]:
    """The clicks of each session up to a step."""
    return [
        np.asarray(tokens.items[first : first + n + 1], dtype=np.int64)
        for first, n in zip(tokens.offsets[session], step, strict=True)
    ]


def _later_actions(
    tokens: SessionTokens, session: Ints, step: Ints, lists: Ints
) -> tuple[Flags, Flags]:
    """Whether the session later clicks each listed item, and whether it orders it."""
    relevant = np.zeros(lists.shape, dtype=np.bool_)
    is_ordered = np.zeros(lists.shape, dtype=np.bool_)
    for row, (s, t) in enumerate(zip(session, step, strict=True)):
        later = slice(tokens.offsets[s] + t + 1, tokens.offsets[s + 1])
        items, ordered = tokens.items[later], tokens.ordered[later]
        relevant[row] = np.isin(lists[row], items)
        is_ordered[row] = np.isin(lists[row], items[ordered == 1])
    return relevant, is_ordered

"""The experiment of those who have real sessions but no traffic: held-out sessions play the users.

Each test session is a user. After each of its clicks the user is shown the group's list. What the
user wants is what the session really clicked from there on; a wanted item is clicked if its
position is looked at, and ordered if the session really ordered it later.
"""

from typing import Any

import numpy as np
import polars as pl

from models.tokens import SessionTokens
from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.design.plan_checks import check_has_users
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import NO_CLICK, Ints, first_click, units_bought


def log_provenance() -> dict[str, Any]:
    """What a reader of the report must know about this log."""
    return {
        "origin": "replayed",
        "how": (
            "Every held-out session was assigned to a group by a salted hash and replayed: after "
            "each of its clicks it was shown the model's list, looked at position k with "
            "probability (1+k)^-0.6, and clicked the first item it saw among those it really "
            "clicked later; an order followed where it really ordered the item. The same sessions "
            "also measured the offline metrics, so agreement between the two is partly built in. "
            "No real person saw a list."
        ),
    }


def replay_sessions(  # noqa: PLR0913 - sessions are tokens, names and times
    recommender: Recommender,
    plan: TrafficPlan,
    *,
    tokens: SessionTokens,
    names: list[str],
    times: Ints,
    seed: int,
) -> pl.DataFrame:
    """The impressions of the replayed sessions, in the log's contract.

    Args:
        recommender: The served model.
        plan: Groups and assignment; the session's name is the user.
        tokens: The held-out sessions.
        names: Their names, in the order of ``tokens``.
        times: Time of every click of ``tokens``, milliseconds UTC.
        seed: Of the users' attention.
    """
    rng = np.random.default_rng([seed, 3])
    groups = [plan.group_of(name) for name in names]
    inside = np.array([group is not None for group in groups])
    check_has_users(plan, int(inside.sum()))
    shown = np.where(inside, np.maximum(tokens.lengths - 1, 0), 0)
    session = np.repeat(np.arange(tokens.n_sessions), shown)
    first = tokens.offsets[session]
    step = np.arange(len(session)) - np.searchsorted(session, session)
    histories = [
        np.asarray(tokens.items[a : a + n + 1], dtype=np.int64)
        for a, n in zip(first, step, strict=True)
    ]
    served = {number: group for number, group in enumerate(groups) if group}
    preferences = np.array([served[int(s)].preference for s in session])
    lists = recommender.recommend(histories, preferences, k=plan.list_length)
    wanted, would_order = _wishes(tokens, session, step, lists)
    place = first_click(wanted.astype(np.float64), rng)
    clicked = place != NO_CLICK
    ordered = clicked & would_order[np.arange(len(place)), place]
    impressions = pl.DataFrame(
        {
            "experiment": [plan.experiment] * len(session),
            "impression": [f"{names[s]}-{t}" for s, t in zip(session, step, strict=True)],
            "user": [names[s] for s in session],
            "group": [served[int(s)].name for s in session],
            "ts": np.asarray(times[first + step]),
            "clicked": clicked,
            "ordered": ordered,
            "units": units_bought(ordered, rng).astype(np.int32),
        },
        schema=IMPRESSIONS.schema,
    )
    return IMPRESSIONS.validate(impressions)


def _wishes(
    tokens: SessionTokens, session: Ints, step: Ints, lists: Ints
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each listed item is clicked later in its session, and whether such a click orders."""
    wanted = np.zeros(lists.shape, dtype=np.bool_)
    would_order = np.zeros(lists.shape, dtype=np.bool_)
    for row, (s, t) in enumerate(zip(session, step, strict=True)):
        later = slice(tokens.offsets[s] + t + 1, tokens.offsets[s + 1])
        items, ordered = tokens.items[later], tokens.ordered[later]
        wanted[row] = np.isin(lists[row], items)
        would_order[row] = np.isin(lists[row], items[ordered == 1])
    return wanted, would_order

"""Paired lists: the same requests served under every policy (the offline A/B simulator of Radwan et al. 2024).

One model serves all groups, so the list that any preference would have shown for a logged request can be
computed again. The list of the request's own group must be the logged one: where it is not, rules, filters or
another model were at work, and the other lists would be wrong as well.

Shape suffixes: N requests, G groups, K positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.errors import LogError
from pipeline.counterfactual.experiment.examination import ShownLists
from pipeline.counterfactual.logged_lists import (
    check_model,
    check_reproduced,
    clicked_cells,
    group_numbers,
    list_indices,
    sessions_of,
    user_numbers,
)
from pipeline.counterfactual.weighted_log import Flags, Ints
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError
from pipeline.recommender.recommender import Recommender
from pipeline.results.family import Floats

LEAST_PLACED = 0.99
"""Share of clicks that must be on an item of their list."""

UNCLICKED = -1
"""The position of the click of a list without one."""
AMOUNTS = ("ordered", "units", "revenue")
"""What a click may have led to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLists:
    """The lists of all groups for the same requests.

    Attributes:
        log: The lists, which was shown, and the groups' shares of the requests.
        session_N: The clicks before each request, as indices of the model.
        clicked_N: Position of the click, from 0; :data:`UNCLICKED` without one.
        amounts: ``ordered``, ``units`` and ``revenue`` of each request, as far as the log has them.
        ts_N: Times of the requests, milliseconds UTC.
        impressions: Ids of the requests' impressions.
        users: Ids of their users.
        equal_share: Share of the shown lists that the model reproduced.
        fallbacks: Impressions that are left out, since their list was not the model's.
        unplaced_clicks: Clicks that count as none, since they are on no item of their list.
    """

    log: ShownLists
    session_N: list[Ints]
    clicked_N: Ints
    amounts: Mapping[str, Floats]
    ts_N: Ints
    impressions: pl.Series
    users: pl.Series
    equal_share: float
    fallbacks: int
    unplaced_clicks: int

    @property
    def click_NK(self) -> Flags:
        """Whether each position of the shown list was clicked."""
        return self.clicked_N[:, None] == np.arange(self.log.lists_GNK.shape[2])

    def amount_N(self, name: str) -> Floats:
        """An amount of each request; ``clicked`` is 1 with a click. Without a click there is none."""
        clicked_N = (self.clicked_N >= 0).astype(np.float64)
        return clicked_N if name == "clicked" else clicked_N * self.amounts[name]


def pair_lists(shown: pl.DataFrame, plan: TrafficPlan, recommender: Recommender) -> PairedLists:
    """Compute the list of every group for every request of a log.

    Args:
        shown: The logged lists, as :data:`pipeline.experiment.log.reading.shown_lists.SHOWN_LISTS`.
        plan: The plan of the experiment.
        recommender: The model that served it, with the plan's second axis.

    Raises:
        UnpairableListsError: if the log is of another model, fewer than 99% of the lists are reproduced, or
            fewer than 99% of the clicks are on an item of their list.
    """
    check_model(shown, plan)
    _check_axis(plan, recommender)
    sessions = sessions_of(shown, recommender)
    usable = shown["fallback"].is_null() & pl.Series([len(one) > 0 for one in sessions])
    served = shown.filter(usable)
    if served.is_empty():
        msg = "no list of the log is the model's: all are fallbacks; serve the model first"
        raise UnpairableListsError(msg)
    session_N = [one for one, kept in zip(sessions, usable, strict=True) if kept]
    names = [group.name for group in plan.groups]
    group_N = group_numbers(served, names)
    chains = recommender.chains(session_N)
    lists_GNK = np.stack(
        [
            recommender.policy_lists(chains, one.preference, k=plan.list_length, level=one.level)
            for one in plan.groups
        ]
    )
    shown_NK = list_indices(served["items"], recommender, width=plan.list_length)
    log = ShownLists.of(lists_GNK, group_N, user_numbers(served))
    equal = check_reproduced(
        (log.shown_NK == shown_NK).all(axis=1),
        lists="logged",
        causes="Rules, filters, an index",
        without="rules and index",
    )
    clicked_N, unplaced = _clicked_positions(served, shown_NK, recommender)
    return PairedLists(
        log=log,
        session_N=session_N,
        clicked_N=clicked_N,
        amounts={
            name: served[name].cast(pl.Float64).fill_null(0.0).to_numpy()
            for name in AMOUNTS
            if not served[name].is_null().all()
        },
        ts_N=served["ts"].to_numpy(),
        impressions=served["impression"],
        users=served["user"],
        equal_share=equal,
        fallbacks=shown.height - served.height,
        unplaced_clicks=unplaced,
    )


def _check_axis(plan: TrafficPlan, recommender: Recommender) -> None:
    if plan.second_axis is not None and recommender.reranker is None:
        msg = (
            f"the groups differ in {plan.second_axis.kind.value}, too, and the model comes without that axis; "
            "expected Recommender.load(paths).with_axis(plan.second_axis, study, paths)"
        )
        raise LogError(msg)


def _clicked_positions(
    served: pl.DataFrame, shown_NK: NDArray[np.int32], recommender: Recommender
) -> tuple[Ints, int]:
    """The position of each request's click, and the number of clicks that have none."""
    click_NK = clicked_cells(served, shown_NK, recommender)
    clicked_N, placed_N = served["clicked"].to_numpy(), click_NK.any(axis=1)
    unplaced = int((clicked_N & ~placed_N).sum())
    if unplaced > (1 - LEAST_PLACED) * clicked_N.sum():
        msg = (
            f"{unplaced:,} of {clicked_N.sum():,} clicks are on no item of their list; expected {LEAST_PLACED:.0%} or "
            "more to name one, in the column clicked_item of impressions or item of clicks (docs/experiment-log.md)"
        )
        raise UnpairableListsError(msg)
    return np.where(placed_N, click_NK.argmax(axis=1), UNCLICKED), unplaced

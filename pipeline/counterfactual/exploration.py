"""Explored lists: what another policy would have earned, from lists that were drawn at random.

The endpoint draws a share of its lists by Plackett–Luce and logs their probabilities. A target policy is the same
draw at another temperature or preference, or the deterministic list of a preference. Its probabilities need the
scores of all candidates, so the model computes them again for every request; the probabilities of the logged
policy must then be the logged ones.

Shape suffixes: N requests, K positions, C candidates, B requests of a part, O objectives.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import polars as pl

from pipeline.core.errors import DataError
from pipeline.counterfactual.lists import (
    LoggedLists,
    weigh_cascades,
    weigh_lists,
    weigh_positions,
)
from pipeline.counterfactual.logged_lists import (
    UNKNOWN,
    check_model,
    check_reproduced,
    clicked_cells,
    group_numbers,
    list_indices,
    sessions_of,
    user_numbers,
)
from pipeline.counterfactual.weighted_log import Flags, Ints, WeightedLog
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.recommender.plackett_luce import log_conditionals, marginals
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual import Weighting
from pipeline.results.family import Floats

_TOLERANCE = 1e-2
"""Relative, of a position's propensity: scores are sums whose last digits depend on the batch."""

_REQUESTS_PER_PART = 16
"""Whose marginal probabilities are integrated at once: their arrays fit in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploredRequests:
    """Explored requests with what was drawn, as the model that served them sees them.

    Attributes:
        log: The clicks by position, and the users.
        items_NK: The drawn lists, as indices of the model; -1 after the end of a short one.
        propensity_NK: P(item | the items above it) of each position, as logged; 1 after the end.
        session_N: The clicks before each request.
        preference_NO: The preference that was served.
        temperature_N: Temperature of the draw.
        candidates_N: Number of candidates of the draw.
        equal_share: Share of the draws whose propensities the model reproduced.
    """

    log: LoggedLists
    items_NK: Ints
    propensity_NK: Floats
    session_N: list[Ints]
    preference_NO: Floats
    temperature_N: Floats
    candidates_N: Ints
    equal_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPolicy:
    """A policy whose value is estimated.

    Attributes:
        preference: Of all requests; None for the one that each was served under.
        temperature: Of a Plackett–Luce draw from as many candidates as were logged; None for the
            deterministic list of the best items.
    """

    preference: Sequence[float] | None = None
    temperature: float | None = None


def open_explored(
    explored: pl.DataFrame, plan: TrafficPlan, recommender: Recommender
) -> ExploredRequests:
    """The explored requests of a log.

    Args:
        explored: The lists, as :data:`pipeline.experiment.log.reading.explored_lists.EXPLORED_LISTS`.
        plan: The plan of the experiment.
        recommender: The model that served it.

    Raises:
        LogError: if the log is of another model, or the model reproduces the propensities of fewer than 99%
            of the lists.
    """
    check_model(explored, plan)
    width = int(explored["items"].list.len().max() or 0)  # pyright: ignore[reportArgumentType]
    items_NK = list_indices(explored["items"], recommender, width=width).astype(np.int64)
    propensity_NK = np.ones(items_NK.shape)
    for row, each in enumerate(explored["position_propensities"].to_list()):
        propensity_NK[row, : len(each)] = each
    group_N = group_numbers(explored, [group.name for group in plan.groups])
    requests = ExploredRequests(
        log=LoggedLists(
            reward_NK=clicked_cells(explored, items_NK, recommender).astype(np.float64),
            user_N=user_numbers(explored),
        ),
        items_NK=items_NK,
        propensity_NK=propensity_NK,
        session_N=sessions_of(explored, recommender),
        preference_NO=np.array([group.preference for group in plan.groups])[group_N],
        temperature_N=explored["temperature"].to_numpy(),
        candidates_N=explored["candidates"].to_numpy(),
        equal_share=1.0,
    )
    return _reproduced(requests, recommender)


def weigh_explored(
    requests: ExploredRequests,
    recommender: Recommender,
    target: ListPolicy,
    weighting: Weighting,
) -> WeightedLog:
    """The explored requests with the weights of a target policy.

    ``LIST`` (SIPS) and ``CASCADE`` (RIPS) weigh by P(item | the items above it), as logged. ``POSITION``
    (IIPS) weighs by P(item at position), which the log does not have: it is computed for both policies.

    Raises:
        DataError: for another weighting, or a temperature that is not above 0.
    """
    if target.temperature is not None and not target.temperature > 0:
        msg = f"the temperature is {target.temperature:g}; expected a number above 0, or None for the best items"
        raise DataError(msg)
    match weighting:
        case Weighting.LIST:
            target_NK = _conditionals(requests, recommender, target)
            return weigh_lists(requests.log, target_NK, requests.propensity_NK)
        case Weighting.CASCADE:
            target_NK = _conditionals(requests, recommender, target)
            return weigh_cascades(requests.log, target_NK, requests.propensity_NK)
        case Weighting.POSITION:
            target_NK = _marginals(requests, recommender, target)
            return weigh_positions(requests.log, target_NK, _marginals(requests, recommender, None))
        case Weighting.ACTION | Weighting.CLUSTER | Weighting.EXAMINATION:
            msg = f"explored lists have no weights of {weighting}; use list, cascade or position"
            raise DataError(msg)
        case _:
            assert_never(weighting)


def _reproduced(requests: ExploredRequests, recommender: Recommender) -> ExploredRequests:
    """The requests with the share whose propensities are those of the model; refused if it is low."""
    found_NK = _conditionals(requests, recommender, None)
    equal_NK = np.isclose(found_NK, requests.propensity_NK, rtol=_TOLERANCE, atol=0)
    equal = check_reproduced(
        np.asarray(equal_NK.all(axis=1)),
        of="the propensities of ",
        lists="explored",
        causes="Filters, score rules",
        without="them",
    )
    return replace(requests, equal_share=equal)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some requests under a policy.

    Attributes:
        rows: Which.
        z_BC: Score over temperature of the candidates, best first; -∞ where there are none.
        listed_BK: Index of each shown item among the candidates; -1 if it is none, or after the end.
        is_listed_BK: Whether the position has an item.
    """

    rows: slice
    z_BC: Floats
    listed_BK: Ints
    is_listed_BK: Flags


def _conditionals(
    requests: ExploredRequests, recommender: Recommender, policy: ListPolicy | None
) -> Floats:
    """P(item | the items above it) of each shown item; None for the logged policy."""
    return _chances(
        requests, recommender, policy, lambda z_BC, at_BK: np.exp(log_conditionals(z_BC, at_BK))
    )


def _marginals(
    requests: ExploredRequests, recommender: Recommender, policy: ListPolicy | None
) -> Floats:
    """P(item at position) of each shown item; None for the logged policy."""

    def chances(z_BC: Floats, listed_BK: Ints) -> Floats:
        starts = range(0, len(z_BC), _REQUESTS_PER_PART)
        parts = [slice(start, start + _REQUESTS_PER_PART) for start in starts]
        return np.concatenate([marginals(z_BC[rows], listed_BK[rows]) for rows in parts])

    return _chances(requests, recommender, policy, chances)


def _chances(
    requests: ExploredRequests,
    recommender: Recommender,
    policy: ListPolicy | None,
    of: Callable[[Floats, Ints], Floats],
) -> Floats:
    """Probabilities of the shown items: 0 for those that are no candidates, 1 after the end of a list."""
    found_NK = np.ones(requests.items_NK.shape)
    for part in _parts(requests, recommender, policy):
        if policy is not None and policy.temperature is None:
            found_NK[part.rows] = _is_best(part)
        else:
            is_impossible = part.is_listed_BK & (part.listed_BK < 0)
            found_NK[part.rows] = np.where(is_impossible, 0.0, of(part.z_BC, part.listed_BK))
    return found_NK


def _is_best(part: _Part) -> Floats:
    """1 where the shown item is the one that the deterministic list has there."""
    own_BK = part.listed_BK == np.arange(part.listed_BK.shape[1])
    return (own_BK | ~part.is_listed_BK).astype(np.float64)


def _parts(
    requests: ExploredRequests, recommender: Recommender, policy: ListPolicy | None
) -> Iterator[_Part]:
    """The requests under a policy (None for the logged one), in parts."""
    preference_NO, temperature_N = requests.preference_NO, requests.temperature_N
    if policy is not None:
        if policy.preference is not None:
            preference_NO = np.tile(np.asarray(policy.preference, float), (len(preference_NO), 1))
        temperature_N = np.full(len(temperature_N), policy.temperature or 1.0)
    most = int(requests.candidates_N.max())
    for rows, items_BC, scores_BC in recommender.candidates(
        requests.session_N, preference_NO, n=most
    ):
        exists_BC = np.arange(items_BC.shape[1]) < requests.candidates_N[rows, None]
        z_BC = np.where(exists_BC, scores_BC / temperature_N[rows, None], -np.inf)
        shown_BK = requests.items_NK[rows]
        is_listed_BK = shown_BK != UNKNOWN
        listed_BK = np.full(shown_BK.shape, UNKNOWN, dtype=np.int64)
        for position in range(shown_BK.shape[1]):
            at_BC = (items_BC == shown_BK[:, position, None]) & exists_BC
            listed_BK[:, position] = np.where(at_BC.any(axis=1), at_BC.argmax(axis=1), UNKNOWN)
        yield _Part(rows=rows, z_BC=z_BC, listed_BK=listed_BK, is_listed_BK=is_listed_BK)

"""Ranks a batch of requests of any groups in one forward pass."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.scoring.recommend import best_items, next_hidden, rows_at_once
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.rule_engine import RerankContext
from pipeline.serving.ranking.served_model import ServedModel

_AT_ONCE = 256
"""Sessions of a batch of :func:`rank_sessions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """The input of the model for one list.

    Attributes:
        session: Clicked items as model indices, oldest first; at least one.
        preference: The weights of the objectives.
        k: The length of the list.
        excluded: Items (model indices) that must not be in the list.
        ts: The time of the request, in milliseconds since 1970 UTC.
        level: The level of the plan's second axis; None for the neutral one.
        explored_as: The impression of an explored list; None for the model's own.
    """

    session: NDArray[np.int64]
    preference: tuple[float, ...]
    k: int
    excluded: NDArray[np.int64]
    ts: int
    level: float | None = None
    explored_as: str | None = None


@torch.no_grad()
def rank(served: ServedModel, requests: Sequence[RankRequest]) -> list[Candidates]:
    """The list of each request: scores items, then applies filters, the second axis and rules.

    All items are scored; with an index, its candidates, unless filters leave too few of them. Explored lists
    are drawn from the best of all items after filters. A list is shorter than ``k`` if filters and rules leave fewer items.
    """
    preference_BO = torch.tensor([one.preference for one in requests])
    model = served.recommender.model
    hidden_BD = next_hidden(model, [one.session for one in requests], preference_BO)
    lists = dict(_rank_by_index(served, requests, hidden_BD))
    rows = [row for row in range(len(requests)) if row not in lists]
    if rows:
        exact = _rank_exactly(served, [requests[row] for row in rows], hidden_BD[rows])
        lists |= dict(zip(rows, exact, strict=True))
    return [lists[row] for row in range(len(requests))]


def _rank_by_index(
    served: ServedModel, requests: Sequence[RankRequest], hidden_BD: Tensor
) -> Iterator[tuple[int, Candidates]]:
    """The rows for which the index has enough candidates, and their lists, whatever the other requests are."""
    index, rules, model = served.index, served.rules, served.recommender.model
    rows = [row for row, one in enumerate(requests) if one.explored_as is None]
    if index is None or not rows:
        return
    needed = [_n_candidates(served, requests[row]) for row in rows]
    taken = [
        min(index.searched(n) + len(requests[row].excluded), model.n_items)
        for row, n in zip(rows, needed, strict=True)
    ]
    items_BN, scores_BN = index.candidates(model, hidden_BD[rows], max(taken))
    for place, (row, n) in enumerate(zip(rows, needed, strict=True)):
        request = requests[row]
        items_N, scores_N = items_BN[place, : taken[place]], scores_BN[place, : taken[place]]
        is_kept = (items_N >= 0) & rules.eligible_I[items_N]
        is_kept &= ~np.isin(items_N, request.excluded)
        if is_kept.sum() < min(n, model.n_items):
            continue
        items_N, scores_N = items_N[is_kept], scores_N[is_kept]
        best = np.lexsort((items_N, -scores_N))[:n]
        own = {
            item: float(model.item_embedding.weight[item] @ hidden_BD[row])
            if rules.eligible_I[item] and item not in request.excluded
            else -np.inf
            for item in rules.pinned
        }
        yield row, _finished(served, request, Candidates(items_N[best], scores_N[best]), own)


def _rank_exactly(
    served: ServedModel, requests: Sequence[RankRequest], hidden_BD: Tensor
) -> list[Candidates]:
    rules, model = served.rules, served.recommender.model
    scores_BI = model.score_all(hidden_BD)
    for row, request in enumerate(requests):
        if (adjustment_I := rules.score_adjustments(request.ts)) is not None:
            scores_BI[row] += adjustment_I
        scores_BI[row, torch.from_numpy(request.excluded)] = -torch.inf
    n_candidates = max(_n_candidates(served, request) for request in requests)
    values_BK, items_BK = best_items(scores_BI, min(n_candidates, model.n_items))
    lists: list[Candidates] = []
    for row, request in enumerate(requests):
        scores_K = values_BK[row].numpy()
        n = int(np.isfinite(scores_K).sum())  # filtered items have -∞ and are last
        found = Candidates(items_BK[row, :n].numpy(), scores_K[:n])
        lists.append(_finished(served, request, found, scores_BI[row].numpy()))
    for row, drawn in _explored_lists(served, requests, scores_BI):
        lists[row] = drawn
    return lists


def _n_candidates(served: ServedModel, request: RankRequest) -> int:
    """How many of the best items a list needs: rules and the second axis choose among more than it has."""
    rules, reranker = served.rules, served.recommender.reranker
    return max(
        request.k,
        rules.rule_set.candidates if rules.list_rules else 0,
        reranker.axis.candidates if reranker is not None else 0,
    )


def _finished(
    served: ServedModel,
    request: RankRequest,
    found: Candidates,
    scores: NDArray[np.float32] | Mapping[int, float],
) -> Candidates:
    """The list from the best items, by the second axis and the rules."""
    reranker = served.recommender.reranker
    if reranker is not None and request.level is not None and len(found.items):
        items_1N, scores_1N = found.items[None], found.scores[None]
        order_1N = reranker.rank(items_1N, scores_1N, level=request.level, k=request.k)
        found = found.take(order_1N[0])
    context = RerankContext(session=request.session, scores=scores, k=request.k)
    return served.rules.apply(found, context)


def rank_sessions(  # noqa: PLR0913 - a request, with many sessions
    served: ServedModel,
    sessions: Sequence[NDArray[np.int64]],
    ts_N: Iterable[int],
    *,
    preference: tuple[float, ...],
    level: float | None,
    k: int,
) -> Iterator[Candidates]:
    """The list of each session under one preference, as the endpoint ranks it, in batches.

    Args:
        served: The model with its rules.
        sessions: Clicked items as model indices, oldest first; at least one in each.
        ts_N: When each list is requested, in milliseconds since 1970 UTC.
        preference: The weights of the objectives.
        level: The level of the second axis; None for the neutral one.
        k: The length of a list.
    """
    requests = (
        RankRequest(
            session=session,
            preference=preference,
            k=k,
            excluded=session if served.rules.excludes_seen else session[:0],
            ts=int(ts),
            level=level,
        )
        for session, ts in zip(sessions, ts_N, strict=True)
    )
    size = rows_at_once(served.recommender.model.n_items, _AT_ONCE)
    while batch := list(islice(requests, size)):
        yield from rank(served, batch)


def _explored_lists(
    served: ServedModel, requests: Sequence[RankRequest], scores_BI: Tensor
) -> Iterator[tuple[int, Candidates]]:
    """The rows with an explored list; only they sort more items than a list has."""
    exploration = served.exploration
    rows = [row for row, request in enumerate(requests) if request.explored_as is not None]
    if exploration is None or not rows:
        return
    most = max(exploration.pool(requests[row].k) for row in rows)
    values_BC, items_BC = best_items(scores_BI[rows], min(most, scores_BI.shape[1]))
    for row, items_C, values_C in zip(rows, items_BC.numpy(), values_BC.numpy(), strict=True):
        request = requests[row]
        scores_C = values_C[: exploration.pool(request.k)]
        scores_C = scores_C[np.isfinite(scores_C)]
        drawn = exploration.draw(str(request.explored_as), scores_C, request.k)
        chosen = Candidates(items_C, values_C).take(drawn.indices)
        yield row, replace(chosen, propensities=drawn.propensities)


def popularity_fallback(served: ServedModel, excluded: NDArray[np.int64], k: int) -> list[int]:
    """The k most popular eligible items (model indices), without the excluded ones."""
    excluded_items = set(excluded.tolist())
    return list(islice((item for item in served.popular if item not in excluded_items), k))

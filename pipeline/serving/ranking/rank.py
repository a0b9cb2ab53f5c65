"""Ranks a batch of requests of any groups in one forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from models.scoring.recommend import best_items, next_scores
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.rule_engine import RerankContext
from pipeline.serving.ranking.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """The input of the model for one list.

    Attributes:
        session: Clicked items as model indices, oldest first; at least one.
        preference: The weights of the objectives.
        k: The length of the list.
        excluded: Items (model indices) that must not be in the list.
        ts: The time of the request, in milliseconds since 1970 UTC.
    """

    session: NDArray[np.int64]
    preference: tuple[float, ...]
    k: int
    excluded: NDArray[np.int64]
    ts: int


@torch.no_grad()
def rank(snapshot: Snapshot, requests: Sequence[RankRequest]) -> list[Candidates]:
    """The list of each request: scores all items, then applies filters and rules.

    A list is shorter than ``k`` if filters and rules leave fewer items.
    """
    rules = snapshot.rules
    preference_BO = torch.tensor([one.preference for one in requests])
    model = snapshot.recommender.model
    scores_BI = next_scores(model, [one.session for one in requests], preference_BO)
    for row, request in enumerate(requests):
        if (adjustment_I := rules.score_adjustments(request.ts)) is not None:
            scores_BI[row] += adjustment_I
        scores_BI[row, torch.from_numpy(request.excluded)] = -torch.inf
    n_candidates = max(request.k for request in requests)
    if rules.list_rules:
        n_candidates = max(n_candidates, snapshot.candidates)
    values_BK, items_BK = best_items(scores_BI, min(n_candidates, model.n_items))
    lists: list[Candidates] = []
    for row, request in enumerate(requests):
        scores_K = values_BK[row].numpy()
        n = int(np.isfinite(scores_K).sum())  # filtered items have -∞ and are last
        found = Candidates(items_BK[row, :n].numpy(), scores_K[:n])
        scores_I = scores_BI[row].numpy()
        context = RerankContext(session=request.session, scores_I=scores_I, k=request.k)
        lists.append(rules.apply(found, context))
    return lists


def popularity_fallback(snapshot: Snapshot, excluded: NDArray[np.int64], k: int) -> list[int]:
    """The k most popular eligible items (model indices), without the excluded ones."""
    excluded_items = set(excluded.tolist())
    return list(islice((item for item in snapshot.popular if item not in excluded_items), k))

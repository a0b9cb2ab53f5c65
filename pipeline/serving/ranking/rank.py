"""Requests of all groups in one forward pass: sessions and preferences in, lists out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.scoring.recommend import best_items, next_scores
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.rule_engine import Context
from pipeline.serving.ranking.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """What one request asks of the model.

    Attributes:
        session: Items clicked so far, as model indices, at least one.
        preference: The group's.
        k: Length of the list.
        excluded: Items (model indices) this list may not hold.
        ts: When, in milliseconds since 1970 UTC.
    """

    session: NDArray[np.int64]
    preference: tuple[float, ...]
    k: int
    excluded: NDArray[np.int64]
    ts: int


@torch.no_grad()
def rank(snapshot: Snapshot, asks: Sequence[RankRequest]) -> list[Candidates]:
    """The list of each request: exact over the catalogue, then filtered and re-ranked.

    A list is shorter than asked for if filters and rules leave no more.
    """
    rules = snapshot.rules
    preference_BO = torch.tensor([ask.preference for ask in asks])
    model = snapshot.recommender.model
    scores_BI = next_scores(model, [ask.session for ask in asks], preference_BO)
    for row, ask in enumerate(asks):
        if (changes_I := rules.changes(ask.ts)) is not None:
            scores_BI[row] += changes_I
        scores_BI[row, torch.from_numpy(ask.excluded)] = -torch.inf
    wanted = max(ask.k for ask in asks)
    if rules.of_lists:
        wanted = max(wanted, snapshot.candidates)
    values_BK, items_BK = best_items(scores_BI, min(wanted, model.n_items))
    lists: list[Candidates] = []
    for row, ask in enumerate(asks):
        scores_K = values_BK[row].numpy()
        n = int(np.isfinite(scores_K).sum())  # what is filtered out stands at the end
        found = Candidates(items_BK[row, :n].numpy(), scores_K[:n])
        context = Context(session=ask.session, scores_I=scores_BI[row].numpy(), k=ask.k)
        lists.append(rules.apply(found, context))
    return lists


def popularity_fallback(snapshot: Snapshot, excluded: NDArray[np.int64], k: int) -> list[int]:
    """The most clicked items that may be listed, without the excluded ones."""
    excluded_items = set(excluded.tolist())
    found: list[int] = []
    for item in snapshot.popular:
        if len(found) == k:
            break
        if item not in excluded_items:
            found.append(item)
    return found

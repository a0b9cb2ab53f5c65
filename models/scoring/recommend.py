"""Recommendation lists of a trained model: the best items of the whole catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ModelError
from models.network.model import ConditionedSessionModel
from models.preferences import check_preference
from models.progress import track
from models.scoring.target_scores import (
    WHOLE,
    Shard,
    n_batches,
    shard_batches,
    target_places,
)
from models.tokens import SessionTokens

_SCORES_PER_BATCH = 4_000_000
_LEAST_ROWS = 16
"""Fewer sessions at once would read the item table once for hardly any product."""
_TILE = 256
"""Neighbouring items of which one is looked at first, the best."""
_LONG_ROW = 65_536
"""Items from which that is faster than a selection over all."""


def rows_at_once(n_items: int, most: int) -> int:
    """How many sessions are scored at once, at most ``most``: scores take memory in proportion to the catalogue."""
    return min(most, max(_LEAST_ROWS, _SCORES_PER_BATCH // n_items))


def session_lists(
    model: ConditionedSessionModel,
    tokens: SessionTokens,
    preference_O: Tensor,
    k: int,
    *,
    shard: Shard = WHOLE,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The recommendation list of each session before its last click, under one preference.

    Every session must have at least two clicks.

    Returns:
        Rows of the sessions in the tokens, ascending, and their lists, best item first; S and S × k.
    """
    size = rows_at_once(model.n_items, _SCORES_PER_BATCH)
    sessions = [np.empty(0, dtype=np.int64)]
    lists = [np.empty((0, k), dtype=np.int64)]
    for batch in track(
        shard_batches(model, tokens, shard),
        n_batches(tokens, shard),
        "recommending lists",
        unit="sessions",
        size=lambda batch: len(batch.sessions),
    ):
        for start in range(0, len(batch.sessions), size):
            some = batch.sessions[start : start + size]
            clicks = [
                tokens.items[tokens.offsets[row] : tokens.offsets[row + 1] - 1] for row in some
            ]
            sessions.append(some)
            lists.append(top_items(model, clicks, preference_O.expand(len(some), -1), k))
    order = np.argsort(np.concatenate(sessions))
    return np.concatenate(sessions)[order], np.concatenate(lists)[order]


@dataclass(frozen=True, slots=True)
class TargetCandidates:
    """The best items at some targets.

    Attributes:
        session: Row of each target's session in the tokens.
        history: Clicks of the session before the target, at least 1.
        item: The target.
        items_PN: The N best items after these clicks, best first.
        scores_PN: Their scores.
    """

    session: NDArray[np.int64]
    history: NDArray[np.int64]
    item: NDArray[np.int64]
    items_PN: NDArray[np.int64]
    scores_PN: NDArray[np.float32]


@torch.no_grad()
def target_candidates(
    model: ConditionedSessionModel,
    tokens: SessionTokens,
    preference_O: Tensor,
    n: int,
    *,
    shard: Shard = WHOLE,
) -> Iterator[TargetCandidates]:
    """The n best items at every target of :func:`score_targets`, under one preference, in parts."""
    model.eval()
    size = rows_at_once(model.n_items, _SCORES_PER_BATCH)
    for batch in shard_batches(model, tokens, shard):
        session_P, history_P = target_places(tokens, batch)
        there = batch.to(model.device)
        preference_BO = preference_O.to(model.device).expand(len(batch.sessions), -1)
        hidden_BTD = model(there.inputs_BT, there.lengths_B, preference_BO)
        hidden_PD, item_P = hidden_BTD[there.real_BT], there.targets_BT[there.real_BT]
        for start in range(0, len(session_P), size):
            part = slice(start, start + size)
            values_PN, items_PN = best_items(model.score_all(hidden_PD[part]), n)
            yield TargetCandidates(
                session=session_P[part],
                history=history_P[part],
                item=item_P[part].cpu().numpy(),
                items_PN=items_PN.cpu().numpy(),
                scores_PN=values_PN.float().cpu().numpy(),
            )


def top_items(
    model: ConditionedSessionModel,
    sessions: Sequence[NDArray[np.integer]],
    preference_BO: Tensor,
    k: int,
) -> NDArray[np.int64]:
    """The k best items for each session's next click, best first; B × k.

    A session is its clicks so far, at least one, and has its own preference. Ties go to the lower
    item index.
    """
    if not 1 <= k <= model.n_items:
        msg = f"asked for {k} items, but the catalogue has {model.n_items}"
        raise ModelError(msg)
    _, items_BK = best_items(next_scores(model, sessions, preference_BO), k)
    return items_BK.cpu().numpy()


@torch.no_grad()
def next_scores(
    model: ConditionedSessionModel,
    sessions: Sequence[NDArray[np.integer]],
    preference_BO: Tensor,
) -> Tensor:
    """The score of every item as each session's next click; B × I.

    A session is its clicks so far, at least one, and has its own preference.
    """
    return model.score_all(next_hidden(model, sessions, preference_BO))


@torch.no_grad()
def next_hidden(
    model: ConditionedSessionModel,
    sessions: Sequence[NDArray[np.integer]],
    preference_BO: Tensor,
) -> Tensor:
    """The hidden state before each session's next click, as :func:`next_scores`; B × D."""
    check_preference(preference_BO, model.n_objectives)
    if model.training:  # switching the mode visits every layer
        model.eval()
    window = model.config.max_length
    inputs_BT, lengths_B = padded([session[-window:] for session in sessions])
    there = (one.to(model.device) for one in (inputs_BT, lengths_B, preference_BO))
    return model(*there)[torch.arange(len(sessions)), lengths_B - 1]


def padded(sessions: Sequence[NDArray[np.integer]]) -> tuple[Tensor, Tensor]:
    """Sessions as one tensor, filled up with 0, and their lengths; B × T and B."""
    lengths_B = torch.tensor([len(session) for session in sessions])
    inputs_BT = torch.zeros(len(sessions), int(lengths_B.max()), dtype=torch.int64)
    for row, session in enumerate(sessions):
        inputs_BT[row, : len(session)] = torch.from_numpy(session.astype(np.int64))
    return inputs_BT, lengths_B


def best_items(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest scores per row and their items, highest first, ties by index; B × k each."""
    values_BX, items_BX = _highest(scores_BI, min(k + 1, scores_BI.shape[1]))
    values_BK, items_BK = values_BX[:, :k], items_BX[:, :k].clone()
    crowded_B = (values_BX[:, k:] == values_BK[:, -1:]).any(dim=1)
    if bool(crowded_B.any()):  # topk picks any of the items that tie for rank k
        sorted_BI = torch.argsort(scores_BI[crowded_B], dim=1, descending=True, stable=True)
        items_BK[crowded_B] = sorted_BI[:, :k]
        values_BK = scores_BI.gather(1, items_BK)
    by_item = torch.argsort(items_BK, dim=1)
    values_BK, items_BK = values_BK.gather(1, by_item), items_BK.gather(1, by_item)
    by_score = torch.argsort(values_BK, dim=1, descending=True, stable=True)
    return values_BK.gather(1, by_score), items_BK.gather(1, by_score)


def _highest(scores_BI: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n highest scores per row and their items, as ``torch.topk``; B × n each.

    A long row is searched in the n tiles with the highest maxima, which hold its n highest scores. A pass for
    the maxima is several times faster than a selection over the whole row.
    """
    n_items = scores_BI.shape[1]
    n_tiles = n_items // _TILE
    if n_items < _LONG_ROW or n >= n_tiles // 2:
        return torch.topk(scores_BI, n, dim=1)
    whole_BI, rest_BI = scores_BI[:, : n_tiles * _TILE], scores_BI[:, n_tiles * _TILE :]
    tiled_BXT = whole_BI.unflatten(1, (n_tiles, _TILE))
    tiles_BN = tiled_BXT.amax(dim=2).topk(n, dim=1).indices
    found_BNT = tiled_BXT.gather(1, tiles_BN[:, :, None].expand(-1, -1, _TILE))
    items_BNT = tiles_BN[:, :, None] * _TILE + torch.arange(_TILE, device=scores_BI.device)
    rest_I = torch.arange(n_tiles * _TILE, n_items, device=scores_BI.device)
    values_BX = torch.cat([found_BNT.flatten(1), rest_BI], dim=1)
    items_BX = torch.cat([items_BNT.flatten(1), rest_I.expand(len(scores_BI), -1)], dim=1)
    values_BN, places_BN = torch.topk(values_BX, n, dim=1)
    return values_BN, items_BX.gather(1, places_BN)

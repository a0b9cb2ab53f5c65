"""From a trained model to ranks, losses and lists over the whole catalogue.

Scores are computed for a block of positions at a time and reduced at once; the score matrix of all
positions is never held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batching import SessionBatch, ordered_batches
from models.errors import ModelError
from models.network import ConditionedSessionModel
from models.objectives import label_loss
from models.preferences import check_preference
from models.tokens import SessionTokens

_BATCH_SESSIONS = 256
_SCORES_AT_ONCE = 8_000_000


@dataclass(frozen=True, slots=True)
class TargetScores:
    """What the model says of every target, one entry a target (a click that is predicted).

    Attributes:
        session: Row of the target's session in the tokens.
        ordered: Whether the target was ordered later in its session.
        rank: 1 is best; see :func:`rank_by_counting`.
        click_loss: Cross-entropy of the target under the softmax over all items.
        order_loss: Binary cross-entropy of the target's score and its order label.
    """

    session: NDArray[np.int64]
    ordered: NDArray[np.bool_]
    rank: NDArray[np.int64]
    click_loss: NDArray[np.float64]
    order_loss: NDArray[np.float64]

    def recall_and_order_density(self, k: int) -> tuple[float, float]:
        """Recall@k, and OD@k over all sessions (Eq. 3); both in [0, 1], OD@k 0 where none is hit."""
        hit = self.rank <= k
        return float(hit.mean()), float(self.ordered[hit].mean()) if hit.any() else 0.0


def rank_by_counting(scores_PI: Tensor, targets_P: Tensor) -> Tensor:
    """Rank of each row's target among all items: 1 + items above it + half of its ties, rounded up.

    Raises:
        ModelError: if a score is not a number.
    """
    if bool(torch.isnan(scores_PI).any()):
        msg = "a score is not a number; the model's weights are damaged"
        raise ModelError(msg)
    target_P1 = scores_PI.gather(1, targets_P[:, None])
    above_P = (scores_PI > target_P1).sum(dim=1)
    ties_P = (scores_PI == target_P1).sum(dim=1) - 1
    return 1 + above_P + (ties_P + 1) // 2


@torch.no_grad()
def score_targets(
    model: ConditionedSessionModel, tokens: SessionTokens, preference_O: Tensor
) -> TargetScores:
    """Rank and losses of every target of every session under one preference.

    Of a session longer than the model's window, the targets of the window are scored.
    """
    check_preference(preference_O, model.n_objectives)
    model.eval()
    parts = [
        _score_block(model, hidden, targets, ordered, session)
        for batch in ordered_batches(
            tokens, batch_sessions=_BATCH_SESSIONS, max_length=model.config.max_length
        )
        for hidden, targets, ordered, session in _blocks(model, batch, preference_O)
    ]
    return TargetScores(
        session=np.concatenate([part.session for part in parts]),
        ordered=np.concatenate([part.ordered for part in parts]),
        rank=np.concatenate([part.rank for part in parts]),
        click_loss=np.concatenate([part.click_loss for part in parts]),
        order_loss=np.concatenate([part.order_loss for part in parts]),
    )


def _blocks(
    model: ConditionedSessionModel, batch: SessionBatch, preference_O: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor, NDArray[np.int64]]]:
    """Hidden states, targets, labels and session rows, few enough that their scores fit."""
    batch = batch.to(model.device)
    preference_BO = preference_O.to(model.device).expand(len(batch.sessions), -1)
    hidden_PD = model(batch.inputs_BT, batch.lengths_B, preference_BO)[batch.real_BT]
    targets_P = batch.targets_BT[batch.real_BT]
    ordered_P = batch.ordered_BT[batch.real_BT]
    session_P = batch.sessions[batch.real_BT.nonzero()[:, 0].cpu().numpy()]
    size = max(1, _SCORES_AT_ONCE // model.n_items)
    for start in range(0, len(targets_P), size):
        block = slice(start, start + size)
        yield hidden_PD[block], targets_P[block], ordered_P[block], session_P[block]


def _score_block(
    model: ConditionedSessionModel,
    hidden_PD: Tensor,
    targets_P: Tensor,
    ordered_P: Tensor,
    session_P: NDArray[np.int64],
) -> TargetScores:
    scores_PI = model.score_all(hidden_PD).float()
    target_P = scores_PI.gather(1, targets_P[:, None])[:, 0]
    click_P = torch.logsumexp(scores_PI, dim=1).double() - target_P.double()
    return TargetScores(
        session=session_P,
        ordered=ordered_P.bool().cpu().numpy(),
        rank=rank_by_counting(scores_PI, targets_P).cpu().numpy(),
        click_loss=click_P.cpu().numpy(),
        order_loss=label_loss(target_P, ordered_P).double().cpu().numpy(),
    )


@torch.no_grad()
def top_items(
    model: ConditionedSessionModel, sessions: list[NDArray[np.int64]], preference_BO: Tensor, k: int
) -> NDArray[np.int64]:
    """The k best items for each session's next click, best first; B × k.

    Each session is its non-empty clicks so far and has its own preference. Ties go to the lower
    item index.
    """
    check_preference(preference_BO, model.n_objectives)
    if not 1 <= k <= model.n_items:
        msg = f"asked for {k} items, but the catalogue holds {model.n_items}"
        raise ModelError(msg)
    model.eval()
    window = model.config.max_length
    recent = [session[-window:] for session in sessions]
    lengths_B = torch.tensor([len(session) for session in recent])
    inputs_BT = torch.zeros(len(recent), int(lengths_B.max()), dtype=torch.int64)
    for row, session in enumerate(recent):
        inputs_BT[row, : len(session)] = torch.from_numpy(session.astype(np.int64))
    hidden_BTD = model(inputs_BT, lengths_B, preference_BO)
    hidden_BD = hidden_BTD[torch.arange(len(recent)), lengths_B - 1]
    return _best(model.score_all(hidden_BD), k).numpy()


def _best(scores_BI: Tensor, k: int) -> Tensor:
    """Indices of the k highest scores a row, highest first, ties by index."""
    values_BK, items_BK = torch.topk(scores_BI, k, dim=1)
    crowded_B = (scores_BI >= values_BK[:, -1:]).sum(dim=1) > k
    if bool(crowded_B.any()):  # topk picks any of the items that tie for the last place
        sorted_BI = torch.argsort(scores_BI[crowded_B], dim=1, descending=True, stable=True)
        items_BK[crowded_B] = sorted_BI[:, :k]
    by_item = torch.argsort(items_BK, dim=1)
    values_BK, items_BK = values_BK.gather(1, by_item), items_BK.gather(1, by_item)
    by_score = torch.argsort(values_BK, dim=1, descending=True, stable=True)
    return items_BK.gather(1, by_score)

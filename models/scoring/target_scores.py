"""Ranks and losses of every target, over the whole catalogue."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batching import SessionBatch, ordered_batches
from models.network.model import ConditionedSessionModel
from models.objectives.objectives import label_loss
from models.preferences import check_preference
from models.progress import track
from models.scoring.ranking import count_above
from models.scoring.tie_rule import TieRule
from models.tokens import SessionTokens

_BATCH_SIZE = 256
_SORT_KEYS = ("history", "session")
"""Sort keys of targets, the last one first."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Every ``of``-th batch of the sessions, starting at ``number``, from 0.

    The batches are the same for any number of shards, so that the scores are the same, bit for bit.
    """

    number: int = 0
    of: int = 1


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Ranks and losses of targets (clicks that are predicted), one entry per target.

    Targets are sorted by session, those of a session in the order of its clicks.

    Attributes:
        session: Row of the session in the tokens.
        history: Clicks of the session before the target, at least 1.
        item: The target.
        ordered: Whether the target was ordered later in its session.
        rank: 1 is best; see :class:`models.scoring.ranking.RankCounts`.
        click_loss: Cross-entropy of the target under the softmax over all items; None if not
            requested.
        uniformity: Logarithm of the number of items over the distortion loss (Eq. 2 of the paper
            over all items), in (0, 1]; 1 for equal scores. None without the click loss.
        order_loss: Binary cross-entropy of the target's score and its order label.
    """

    session: NDArray[np.int64]
    history: NDArray[np.int64]
    item: NDArray[np.int64]
    ordered: NDArray[np.bool_]
    rank: NDArray[np.int64]
    click_loss: NDArray[np.float64] | None
    uniformity: NDArray[np.float64] | None
    order_loss: NDArray[np.float64]

    @classmethod
    def concat(cls, parts: Sequence["TargetScores"]) -> Self:
        """Concatenate the targets of parts of the sessions."""
        keys = [np.concatenate([getattr(part, key) for part in parts]) for key in _SORT_KEYS]
        order = np.lexsort(keys)
        columns: dict[str, Any] = {
            field.name: None
            if getattr(parts[0], field.name) is None
            else np.concatenate([getattr(part, field.name) for part in parts])[order]
            for field in fields(cls)
        }
        return cls(**columns)

    def filter(self, part_P: NDArray[np.bool_]) -> "TargetScores":
        """The targets where ``part_P`` is true."""
        kept: dict[str, Any] = {
            field.name: None if (value := getattr(self, field.name)) is None else value[part_P]
            for field in fields(self)
        }
        return TargetScores(**kept)

    def recall_and_order_density(self, k: int) -> tuple[float, float]:
        """Recall@k, and OD@k over all sessions (Eq. 3); both in [0, 1], OD@k 0 where none is hit."""
        hit = self.rank <= k
        return float(hit.mean()), float(self.ordered[hit].mean()) if hit.any() else 0.0


@torch.no_grad()
def score_targets(  # noqa: PLR0913 - model, data and options
    model: ConditionedSessionModel,
    tokens: SessionTokens,
    preference_GO: Tensor,
    *,
    ties: TieRule = TieRule.HALF,
    with_click_loss: bool = True,
    shard: Shard = WHOLE,
) -> list[TargetScores]:
    """Rank and losses of every target of every session under each preference.

    Of a session longer than the model's window, only targets in the window are scored.

    Args:
        model: The network.
        tokens: The sessions.
        preference_GO: The preferences, one per row.
        ties: Rank of a target among items with the same score.
        with_click_loss: Whether to compute the click loss, which costs about as much as ranks.
        shard: The part of the sessions to score.

    Raises:
        ModelError: if a preference is not on the simplex, or a score is not a number.
    """
    check_preference(preference_GO, model.n_objectives)
    model.eval()
    mean_D = model.item_embedding.weight.double().mean(dim=0) if with_click_loss else None
    parts = [
        _score_batch(model, tokens, batch, preference_GO, ties, mean_D=mean_D)
        for batch in track(
            shard_batches(model, tokens, shard),
            n_batches(tokens, shard),
            "scoring",
            unit="targets",
            size=lambda batch: int(batch.real_BT.sum()),
        )
    ]
    # a shard beyond the last batch has no targets
    parts = parts or [[_no_targets(with_click_loss=with_click_loss)] * len(preference_GO)]
    return [TargetScores.concat(column) for column in zip(*parts, strict=True)]


def shard_batches(
    model: ConditionedSessionModel, tokens: SessionTokens, shard: Shard
) -> Iterator[SessionBatch]:
    """The batches of a shard, the same for any number of shards."""
    batches = ordered_batches(tokens, batch_size=_BATCH_SIZE, max_length=model.config.max_length)
    return islice(batches, shard.number, None, shard.of)


def n_batches(tokens: SessionTokens, shard: Shard) -> int:
    """Number of batches of a shard."""
    batches = -(-tokens.n_sessions // _BATCH_SIZE)
    return max(0, -(-(batches - shard.number) // shard.of))


def _no_targets(*, with_click_loss: bool) -> TargetScores:
    none = np.empty(0, dtype=np.int64)
    losses = np.empty(0)
    softmax = (losses, losses) if with_click_loss else (None, None)
    return TargetScores(none, none, none, none.astype(np.bool_), none, *softmax, losses)


def _score_batch(  # noqa: PLR0913 - as score_targets, with the mean embedding for its click loss
    model: ConditionedSessionModel,
    tokens: SessionTokens,
    batch: SessionBatch,
    preference_GO: Tensor,
    rule: TieRule,
    *,
    mean_D: Tensor | None,
) -> list[TargetScores]:
    session_P, history_P = target_places(tokens, batch)
    batch = batch.to(model.device)
    targets_P, ordered_P = batch.targets_BT[batch.real_BT], batch.ordered_BT[batch.real_BT]
    hidden_GPD = torch.stack(
        [
            model(batch.inputs_BT, batch.lengths_B, one_O.expand(len(batch.sessions), -1))[
                batch.real_BT
            ].float()
            for one_O in preference_GO.to(model.device)
        ]
    )
    counts = count_above(
        hidden_GPD, model.item_embedding.weight, targets_P, with_lse=mean_D is not None
    )
    ranks_GP = counts.ranks(rule).cpu().numpy()
    click_GP, uniformity_GP = None, None
    if counts.lse_GP is not None and mean_D is not None:
        lse_GP = counts.lse_GP.double()
        click_GP = (lse_GP - counts.positive_GP.double()).cpu().numpy()
        mean_GP = (hidden_GPD.double() * mean_D).sum(dim=-1)
        uniformity_GP = _uniformity(lse_GP - mean_GP, model.n_items).cpu().numpy()
    order_GP = label_loss(counts.positive_GP, ordered_P.expand_as(counts.positive_GP))
    return [
        TargetScores(
            session=session_P,
            history=history_P,
            item=targets_P.cpu().numpy(),
            ordered=ordered_P.bool().cpu().numpy(),
            rank=rank_P,
            click_loss=None if click_GP is None else click_GP[row],
            uniformity=None if uniformity_GP is None else uniformity_GP[row],
            order_loss=order_GP[row].double().cpu().numpy(),
        )
        for row, rank_P in enumerate(ranks_GP)
    ]


def target_places(
    tokens: SessionTokens, batch: SessionBatch
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Session and history of the targets of a batch, as in :class:`TargetScores`, in its order."""
    row_P, place_P = batch.real_BT.numpy().nonzero()
    left_out_B = tokens.lengths[batch.sessions] - 1 - batch.lengths_B.numpy()
    return batch.sessions[row_P], left_out_B[row_P] + place_P + 1


def _uniformity(distortion_GP: Tensor, n_items: int) -> Tensor:
    """How uniform the softmax over all items is, from the distortion loss; in (0, 1]."""
    least = math.log(n_items)
    return least / distortion_GP.clamp_min(least) if n_items > 1 else torch.ones_like(distortion_GP)

"""Exact ranks by counting: how many items of the catalogue score above each target.

Scores are computed for a block of positions and a tile of items, small enough to stay in the
processor's cache, and counted at once; a matrix of all scores is never held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.errors import ModelError

_TILE = 768
"""Positions and items of a tile. A multiple of 8, and an eighth of it below 256, because of how
flags are counted, and of the widths in which processors multiply, so that all columns are alike."""


class TieRule(StrEnum):
    """Where a target stands among items of the same score."""

    HALF = "half"
    OPTIMISTIC = "optimistic"
    PESSIMISTIC = "pessimistic"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a target's rank is made of, one entry a preference and position.

    Attributes:
        positive_GP: The target's score.
        above_GP: Items that score above it.
        ties_GP: Other items that score the same.
        lse_GP: Logarithm of the sum of all exponentiated scores; None if it was not asked for.
    """

    positive_GP: Tensor
    above_GP: Tensor
    ties_GP: Tensor
    lse_GP: Tensor | None

    def ranks(self, rule: TieRule) -> Tensor:
        """Ranks; 1 is best, the number of items the worst.

        ``half``: the target loses half of its ties, rounded up. ``optimistic``: none.
        ``pessimistic``: all.
        """
        match rule:
            case TieRule.HALF:
                lost_GP = (self.ties_GP + 1) // 2
            case TieRule.OPTIMISTIC:
                lost_GP = torch.zeros_like(self.ties_GP)
            case TieRule.PESSIMISTIC:
                lost_GP = self.ties_GP
            case _:
                assert_never(rule)
        return 1 + self.above_GP + lost_GP


@torch.no_grad()
def count_above(
    hidden_GPD: Tensor, table_ID: Tensor, targets_P: Tensor, *, with_lse: bool = False
) -> Counts:
    """Compare every target with the whole catalogue; the score of item i is its row times h.

    Every tile of items is read once for all preferences. What is computed for one preference does
    not depend on the others. A target never competes with itself. It is scored as its rivals are,
    by a product of the same shape, so that an item with the same embedding ties with it: two
    products of other shapes may round differently.

    Args:
        hidden_GPD: Hidden states of P positions under G preferences, float32.
        table_ID: Item embeddings, float32.
        targets_P: Each position's item.
        with_lse: Whether the log-sum-exp of all scores is wanted; it costs about as much again.

    Raises:
        ModelError: if a score is not a number.
    """
    n_preferences, n_positions, _ = hidden_GPD.shape
    blocks = [
        (preference, rows)
        for preference in range(n_preferences)
        for rows in _slices(n_positions, _TILE)
    ]
    work = _Workspace(hidden_GPD, table_ID)
    positive_GP = hidden_GPD.new_empty(n_preferences, n_positions)
    for preference, rows in blocks:
        own_TD = work.padded(table_ID[targets_P[rows]])
        positive_GP[preference, rows] = work.scores(hidden_GPD[preference, rows], own_TD).diagonal()
    above_GP = torch.zeros_like(positive_GP, dtype=torch.int64)
    ties_GP = torch.zeros_like(above_GP)
    lse_GP = positive_GP.clone() if with_lse else None
    for tile in _slices(len(table_ID), _TILE):
        tile_TD = work.padded(table_ID[tile])
        for place in blocks:
            scores = work.scores(hidden_GPD[place], tile_TD)[:, : tile.stop - tile.start]
            work.refuse_nan(scores)
            own = _own_places(targets_P[place[1]], tile)
            scores[own] = torch.nan  # neither above nor equal
            target_R1 = positive_GP[place][:, None]
            above_GP[place] += work.row_counts(torch.gt, scores, target_R1)
            ties_GP[place] += work.row_counts(torch.eq, scores, target_R1)
            if lse_GP is not None:
                scores[own] = -torch.inf
                lse_GP[place] = torch.logaddexp(lse_GP[place], torch.logsumexp(scores, dim=1))
    return Counts(positive_GP, above_GP, ties_GP, lse_GP)


class _Workspace:
    """The memory every tile uses, and what is done in it."""

    def __init__(self, hidden_GPD: Tensor, table_ID: Tensor) -> None:
        shape = (_TILE, _TILE)
        self._scores_RT = torch.empty(shape, device=hidden_GPD.device)
        self._flags_RT = torch.empty(shape, dtype=torch.bool, device=hidden_GPD.device)
        # No score can be infinite, let alone not a number, if the largest product is small enough.
        largest = _largest(hidden_GPD) * _largest(table_ID) * hidden_GPD.shape[-1]
        self._is_finite = largest < torch.finfo(hidden_GPD.dtype).max

    def padded(self, rows_ND: Tensor) -> Tensor:
        """The rows, and rows of 0 up to a whole tile."""
        missing = _TILE - len(rows_ND)
        return functional.pad(rows_ND, (0, 0, 0, missing)) if missing else rows_ND

    def scores(self, hidden_RD: Tensor, tile_TD: Tensor) -> Tensor:
        """Scores of a whole tile; valid until the next ones."""
        return torch.mm(hidden_RD, tile_TD.T, out=self._scores_RT[: len(hidden_RD)])

    def refuse_nan(self, scores: Tensor) -> None:
        """Raise :class:`ModelError` if a score is not a number."""
        if not self._is_finite and bool(torch.isnan(scores).any()):
            msg = "a score is not a number; the model's weights are damaged"
            raise ModelError(msg)

    def row_counts(
        self, compare: Callable[..., Tensor], scores_RT: Tensor, target_R1: Tensor
    ) -> Tensor:
        """How many scores of each row compare so.

        Eight flags, a byte each, are read as one integer, and the integers of a row are added:
        that counts in eight lanes at once. A lane of a tile's row stays below 256.
        """
        rows, columns = scores_RT.shape
        flags_RT = self._flags_RT[:rows]
        flags_RT[:, columns:] = False
        compare(scores_RT, target_R1, out=flags_RT[:, :columns])
        lanes_R = flags_RT.view(torch.int64).sum(dim=1)
        return lanes_R.view(torch.uint8).view(rows, 8).sum(dim=1)


def _largest(values: Tensor) -> float:
    """Largest absolute value, without a copy; nan if there is one."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return float(torch.maximum(-low, high))


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _own_places(targets_R: Tensor, tile: slice) -> tuple[Tensor, Tensor]:
    """Rows whose target lies in the tile, and the columns it lies in."""
    rows = ((targets_R >= tile.start) & (targets_R < tile.stop)).nonzero()[:, 0]
    return rows, targets_R[rows] - tile.start

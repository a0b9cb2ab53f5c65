"""Exact ranks by counting the items of the catalogue that score above each target.

Scores are computed for a block of positions and a tile of items that fit in the processor's cache,
and counted at once; the matrix of all scores is never stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.errors import ModelError
from models.scoring.tie_rule import TieRule

_TILE = 1024
"""Items of a tile: enough to multiply at full rate, and a multiple of vector widths, so that all columns are
computed in the same way."""

_BLOCK = 512
"""Positions of a block, at most a tile; its scores of a tile stay in the cache of a core while they are counted."""


@dataclass(frozen=True, slots=True)
class RankCounts:
    """Counts from which ranks are computed, one entry per preference and position.

    Attributes:
        positive_GP: The target's score.
        above_GP: Items that score above it.
        ties_GP: Other items with the same score.
        lse_GP: Log-sum-exp of all scores; None if not requested.
    """

    positive_GP: Tensor
    above_GP: Tensor
    ties_GP: Tensor
    lse_GP: Tensor | None

    def ranks(self, rule: TieRule) -> Tensor:
        """Ranks; 1 is the best.

        ``half``: the target ranks after half of its ties, rounded up. ``optimistic``: after none.
        ``pessimistic``: after all.
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
) -> RankCounts:
    """Compare every target with the whole catalogue; the score of item i is its row times h.

    Every tile of items is read once for all preferences; the results of one preference do not
    depend on the others. A target does not compete with itself. It is scored by a product of the
    same shape as its competitors, so that an item with the same embedding is a tie: products of
    different shapes may round differently.

    Args:
        hidden_GPD: Hidden states of P positions under G preferences, float32.
        table_ID: Item embeddings, float32.
        targets_P: Each position's item.
        with_lse: Whether to compute the log-sum-exp of all scores, which doubles the cost.

    Raises:
        ModelError: if a score is not a number.
    """
    work = _Workspace(hidden_GPD, table_ID)
    positive_GP = hidden_GPD.new_empty(hidden_GPD.shape[:2])
    # Sums of integers are exact in float64.
    balance_GP = torch.zeros_like(positive_GP, dtype=torch.float64)
    equal_GP, exponentials_GP = torch.zeros_like(balance_GP), torch.zeros_like(balance_GP)
    blocks: list[_Block] = []
    for rows in _slices(len(targets_P), _BLOCK):
        own_DT = work.columns(table_ID[targets_P[rows]])
        own = _own_places(targets_P[rows], len(table_ID))
        for preference in range(len(hidden_GPD)):
            place = preference, rows
            hidden_RD, positive_R = hidden_GPD[place], positive_GP[place]
            positive_R.copy_(work.scores(hidden_RD, own_DT).diagonal())
            sums = balance_GP[place], equal_GP[place], exponentials_GP[place]
            blocks.append(_Block(hidden_RD, positive_R[:, None], *sums, own))
    for number, tile in enumerate(_slices(len(table_ID), _TILE)):
        tile_DT = work.columns(table_ID[tile])
        n_items = tile.stop - tile.start
        for block in blocks:
            scores = work.scores(block.hidden_RD, tile_DT)
            if n_items < _TILE:
                scores = scores[:, :n_items]
            work.refuse_nan(scores)
            work.count(scores, number, block, with_lse=with_lse)
    return RankCounts(
        positive_GP,
        above_GP=((len(table_ID) - equal_GP + balance_GP) / 2).long(),
        ties_GP=(equal_GP - 1).long(),
        lse_GP=_log_sums(positive_GP, exponentials_GP, hidden_GPD, table_ID) if with_lse else None,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """Some positions under one preference, and their sums over the tiles so far.

    Attributes:
        hidden_RD: Hidden states.
        positive_R1: The targets' scores.
        balance_R: Items above the target less items below it.
        equal_R: Items neither above nor below it, the target among them.
        exponentials_R: Σ exp(score - target's score).
        own: By tile: the rows whose target is in it, and the columns of these targets.
    """

    hidden_RD: Tensor
    positive_R1: Tensor
    balance_R: Tensor
    equal_R: Tensor
    exponentials_R: Tensor
    own: dict[int, tuple[Tensor, Tensor]]


def _log_sums(
    positive_GP: Tensor, exponentials_GP: Tensor, hidden_GPD: Tensor, table_ID: Tensor
) -> Tensor:
    """Log-sum-exps from the sums of ``exp(score - target's score)``.

    Where that overflows, because the target is e^88 times less likely than the best item, or
    underflows, it is computed from all scores of the position.
    """
    lse_GP = positive_GP + exponentials_GP.log().to(positive_GP.dtype)
    for place in (~torch.isfinite(lse_GP)).nonzero().tolist():
        lse_GP[tuple(place)] = torch.logsumexp(table_ID @ hidden_GPD[tuple(place)], dim=0)
    return lse_GP


class _Workspace:
    """Buffers that every tile reuses, and the operations on them."""

    def __init__(self, hidden_GPD: Tensor, table_ID: Tensor) -> None:
        self._scores_RT = torch.empty((_BLOCK, _TILE), device=hidden_GPD.device)
        self._exponentials_RT = torch.empty_like(self._scores_RT)
        self._sum, self._sums_R = self._scores_RT.new_empty(()), self._scores_RT.new_empty(_BLOCK)
        self._one_T = self._scores_RT.new_ones(_TILE)
        # Scores are finite if the largest possible product is.
        largest = _largest(hidden_GPD) * _largest(table_ID) * hidden_GPD.shape[-1]
        self._is_finite = largest < torch.finfo(hidden_GPD.dtype).max

    def columns(self, rows_ND: Tensor) -> Tensor:
        """The rows as columns, filled up with 0 to a whole tile; D × T."""
        missing = _TILE - len(rows_ND)
        return (functional.pad(rows_ND, (0, 0, 0, missing)) if missing else rows_ND).T

    def scores(self, hidden_RD: Tensor, tile_DT: Tensor) -> Tensor:
        """Scores of a whole tile; valid until the next call."""
        return torch.mm(hidden_RD, tile_DT, out=self._scores_RT[: len(hidden_RD)])

    def refuse_nan(self, scores: Tensor) -> None:
        """Raise :class:`ModelError` if a score is not a number."""
        if not self._is_finite and bool(torch.isnan(scores).any()):
            msg = "a score is not a number; the weights of the model are damaged"
            raise ModelError(msg)

    def count(self, scores_RT: Tensor, number: int, block: _Block, *, with_lse: bool) -> None:
        """Add a tile to the sums of a block; overwrites the scores."""
        rows, columns = scores_RT.shape
        has_own = number in block.own
        if has_own:
            own_rows, own_columns = block.own[number]
            scores_RT[own_rows, own_columns] = block.positive_R1[own_rows, 0]
        # positive above the target, 0 or (of infinities) nan for a tie
        difference_RT = scores_RT.sub_(block.positive_R1)
        if with_lse:
            exponentials_RT = self._exponentials_RT[:rows, :columns]
            block.exponentials_R.add_(torch.exp(difference_RT, out=exponentials_RT).sum(dim=1))
        # Signs are vectorised; comparisons are not, and take ten times as long.
        sign_RT = difference_RT.sign_()
        block.balance_R.add_(self._sum_of_integers(sign_RT))
        if has_own or self._has_zeros(sign_RT):
            block.equal_R.add_(columns - self._sum_of_integers(sign_RT.square_()))

    def _has_zeros(self, sign_RT: Tensor) -> bool:
        """Whether a sign is 0; the sum of so few squares is exact."""
        if not sign_RT.is_contiguous():  # the last tile
            return True
        signs = sign_RT.view(-1)
        return bool(torch.dot(signs, signs, out=self._sum) < len(signs))

    def _sum_of_integers(self, values_RT: Tensor) -> Tensor:
        """Σ over the items; valid until the next call.

        A product, which is faster than a sum and exact, too; with an output, autocast leaves it in float32.
        """
        rows, columns = values_RT.shape
        return torch.mv(values_RT, self._one_T[:columns], out=self._sums_R[:rows])


def _largest(values: Tensor) -> float:
    """Largest absolute value, without a copy; nan if any value is."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return float(torch.maximum(-low, high))


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _own_places(targets_R: Tensor, n_items: int) -> dict[int, tuple[Tensor, Tensor]]:
    """By tile: the rows whose target is in it, and the columns of these targets."""
    tile_R, order = (targets_R // _TILE).sort(stable=True)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    sizes = tile_R.bincount(minlength=-(-n_items // _TILE)).tolist()
    for number, rows in enumerate(order.split(sizes)):
        if len(rows):
            found[number] = rows, targets_R[rows] - number * _TILE
    return found

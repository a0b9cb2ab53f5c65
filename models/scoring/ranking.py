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

_TILE = 768
"""Positions and items of a tile: few enough for the cache, enough to multiply at full rate, and a
multiple of vector widths, so that all columns are computed in the same way."""


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
    n_preferences, n_positions, _ = hidden_GPD.shape
    blocks = list(_slices(n_positions, _TILE))
    own = [_own_places(targets_P[rows], len(table_ID)) for rows in blocks]
    work = _Workspace(hidden_GPD, table_ID)
    positive_GP = hidden_GPD.new_empty(n_preferences, n_positions)
    for rows in blocks:
        own_TD = work.padded(table_ID[targets_P[rows]])
        for preference in range(n_preferences):
            scores = work.scores(hidden_GPD[preference, rows], own_TD)
            positive_GP[preference, rows] = scores.diagonal()
    # Sums of integers are exact in float64.
    balance_GP = torch.zeros_like(positive_GP, dtype=torch.float64)
    unequal_GP, exponentials_GP = torch.zeros_like(balance_GP), torch.zeros_like(balance_GP)
    for number, tile in enumerate(_slices(len(table_ID), _TILE)):
        tile_TD = work.padded(table_ID[tile])
        for rows, places in zip(blocks, own, strict=True):
            for place in ((preference, rows) for preference in range(n_preferences)):
                scores = work.scores(hidden_GPD[place], tile_TD)[:, : tile.stop - tile.start]
                work.refuse_nan(scores)
                if number in places:
                    scores[places[number]] = positive_GP[place][places[number][0]]
                difference = work.difference(scores, positive_GP[place])
                if with_lse:
                    exponentials_GP[place] += torch.exp(difference, out=scores).sum(dim=1)
                sign = torch.sign(difference, out=difference)
                balance_GP[place] += sign.sum(dim=1)  # items above less items below
                unequal_GP[place] += sign.square_().sum(dim=1)
    return RankCounts(
        positive_GP,
        above_GP=((unequal_GP + balance_GP) / 2).long(),
        ties_GP=(len(table_ID) - 1 - unequal_GP).long(),
        lse_GP=_log_sums(positive_GP, exponentials_GP, hidden_GPD, table_ID) if with_lse else None,
    )


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
        self._scores_RT = torch.empty((_TILE, _TILE), device=hidden_GPD.device)
        self._differences_RT = torch.empty_like(self._scores_RT)
        # Scores are finite if the largest possible product is.
        largest = _largest(hidden_GPD) * _largest(table_ID) * hidden_GPD.shape[-1]
        self._is_finite = largest < torch.finfo(hidden_GPD.dtype).max

    def padded(self, rows_ND: Tensor) -> Tensor:
        """The rows, padded with 0 to a whole tile."""
        missing = _TILE - len(rows_ND)
        return functional.pad(rows_ND, (0, 0, 0, missing)) if missing else rows_ND

    def scores(self, hidden_RD: Tensor, tile_TD: Tensor) -> Tensor:
        """Scores of a whole tile; valid until the next call."""
        return torch.mm(hidden_RD, tile_TD.T, out=self._scores_RT[: len(hidden_RD)])

    def refuse_nan(self, scores: Tensor) -> None:
        """Raise :class:`ModelError` if a score is not a number."""
        if not self._is_finite and bool(torch.isnan(scores).any()):
            msg = "a score is not a number; the weights of the model are damaged"
            raise ModelError(msg)

    def difference(self, scores_RT: Tensor, target_R: Tensor) -> Tensor:
        """Scores minus the target's: positive above it, 0 or (of infinities) nan for a tie.

        Differences and their signs are vectorised; comparisons are not, and take ten times as long.
        """
        rows, columns = scores_RT.shape
        return torch.sub(scores_RT, target_R[:, None], out=self._differences_RT[:rows, :columns])


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

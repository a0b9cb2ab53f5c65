"""The examination curve by intervention harvesting (Agarwal et al. 2019), from the experiment's own log.

Groups share one model, so the list that every group would have been shown for a request is known, and
which of them was shown is random. An item that is at position r under one group and at r' under another is
clicked there as often as the position is examined: the ratio of clicks is θ_r / θ_r'.

Shape suffixes: N requests, G groups, K positions, C pairs of positions of one click.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import TooLittleDataError
from pipeline.counterfactual.weighted_log import Flags, Ints
from pipeline.results.family import Floats

_REPLICATES = 200
_LEAST_REPLICATES = 100
"""In which users drawn again have enough clicks, too."""
_LEAST_PAIRS = 3
_LEAST_CLICKS = 10.0
"""Effective clicks at either position of a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationCurve:
    """Probability that a position is examined, (1 + k)^-exponent for position k from 0.

    Attributes:
        exponent: The decay; 0 if all positions are examined alike.
        standard_error: Of the exponent, by a bootstrap of users; 0 if the curve is known.
        pairs: Pairs of positions that it was fitted to.
        clicks: Clicks on items that groups place differently.
    """

    exponent: float
    standard_error: float = 0.0
    pairs: int = 0
    clicks: int = 0

    def at(self, positions: int) -> Floats:
        """The probabilities of the first positions; that of the first is 1."""
        return (1.0 + np.arange(positions, dtype=np.float64)) ** -self.exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLists:
    """The list that every group would have been shown for each request.

    Attributes:
        lists_GNK: Items by position, as integers of any width; negative after the end of a short list.
        group_N: Number of the group that was shown its list.
        user_N: Number of the user.
        share_G: Share of each group, the probability that it answers a request.
    """

    lists_GNK: NDArray[np.integer]
    group_N: Ints
    user_N: Ints
    share_G: Floats

    @classmethod
    def of(cls, lists_GNK: NDArray[np.integer], group_N: Ints, user_N: Ints) -> Self:
        """With the groups' shares of these requests."""
        share_G = np.bincount(group_N, minlength=len(lists_GNK)) / len(group_N)
        return cls(lists_GNK=lists_GNK, group_N=group_N, user_N=user_N, share_G=share_G)

    @property
    def shown_NK(self) -> NDArray[np.integer]:
        """The lists that were shown."""
        return self.lists_GNK[self.group_N, np.arange(len(self.group_N))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clicks:
    """One row per click and position that its item has under another group.

    ``weight_C`` is the share of the groups that place it at ``other_C``.
    """

    shown_C: Ints
    other_C: Ints
    weight_C: Floats
    user_C: Ints
    positions: int


def harvest_examination(
    log: ShownLists, click_NK: Flags, rng: np.random.Generator
) -> ExaminationCurve:
    """Fit the curve to clicks on items that groups place differently.

    A click at position r of an item that other groups place at r' counts with the share of those groups, so
    that both directions have the expectation share · share' · θ · attraction. Dividing by a propensity
    instead would bias every ratio towards 1. A position has no parameter of its own: those below the tenth
    are not identified by 100,000 impressions.

    Args:
        log: The lists.
        click_NK: Whether each position of the shown list was clicked. Where a log has the first click
            of a list only, the curve is that of positions up to it, and steeper.
        rng: For the bootstrap.

    Raises:
        TooLittleDataError: if groups place clicked items alike, or there are too few clicks.
    """
    clicks = _moved_clicks(log, click_NK)
    found = _fit(clicks, clicks.weight_C)
    again: list[float] = []
    users = int(log.user_N.max()) + 1
    for _ in range(_REPLICATES if found else 0):
        copies_U = rng.poisson(1.0, users)
        if (replicate := _fit(clicks, clicks.weight_C * copies_U[clicks.user_C])) is not None:
            again.append(replicate[0])
    if found is None or len(again) < _LEAST_REPLICATES:
        msg = (
            f"{len(clicks.weight_C)} clicks on items that the groups place differently; an examination curve "
            f"needs {_LEAST_PAIRS} pairs of positions with {_LEAST_CLICKS:.0f} clicks at both. Give the "
            "groups lists that differ, or collect more clicks"
        )
        raise TooLittleDataError(msg)
    exponent, pairs = found
    return ExaminationCurve(
        exponent=exponent,
        standard_error=float(np.std(again, ddof=1)),
        pairs=pairs,
        clicks=len(clicks.weight_C),
    )


def _moved_clicks(log: ShownLists, click_NK: Flags) -> _Clicks:
    """The clicks whose items have other positions under other groups."""
    row_N, shown_N = np.nonzero(click_NK)
    item_N = log.lists_GNK[log.group_N[row_N], row_N, shown_N]
    positions = log.lists_GNK.shape[2]
    share_NK = np.zeros((len(row_N), positions))
    for group, share in enumerate(log.share_G):
        at_NK = log.lists_GNK[group, row_N] == item_N[:, None]
        share_NK += share * at_NK
    share_NK[np.arange(len(row_N)), shown_N] = 0.0
    click_C, other_C = np.nonzero(share_NK)
    return _Clicks(
        shown_C=shown_N[click_C],
        other_C=other_C,
        weight_C=share_NK[click_C, other_C],
        user_C=log.user_N[row_N][click_C],
        positions=positions,
    )


def _fit(clicks: _Clicks, weight_C: Floats) -> tuple[float, int] | None:
    """The exponent by weighted least squares of log ratios, and its pairs; None with too few."""
    k = clicks.positions
    cell_C = clicks.shown_C * k + clicks.other_C
    sum_KK = np.bincount(cell_C, weight_C, minlength=k * k).reshape(k, k)
    square_KK = np.bincount(cell_C, weight_C**2, minlength=k * k).reshape(k, k)
    effective_KK = sum_KK**2 / np.maximum(square_KK, np.finfo(np.float64).tiny)
    upper, lower = np.triu_indices(k, 1)
    n, m = effective_KK[upper, lower], effective_KK[lower, upper]
    kept = (n >= _LEAST_CLICKS) & (m >= _LEAST_CLICKS)
    if kept.sum() < _LEAST_PAIRS:
        return None
    upper, lower, n, m = upper[kept], lower[kept], n[kept], m[kept]
    ratio = np.log(sum_KK[upper, lower] / sum_KK[lower, upper])
    distance = np.log1p(upper) - np.log1p(lower)
    precision = 1 / (1 / n + 1 / m)
    slope = (precision * distance * ratio).sum() / (precision * distance**2).sum()
    return float(-slope), int(kept.sum())

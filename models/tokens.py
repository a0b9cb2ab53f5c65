"""Sessions as flat arrays, the input of all models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """Concatenated sessions of clicks.

    Attributes:
        items: Item index of every click, int32.
        ordered: Whether the clicked item was ordered later in its session, uint8 (0 or 1).
        carted: Whether it was carted later in its session, uint8 (0 or 1).
        offsets: Session s is the slice ``offsets[s]:offsets[s + 1]``, int64; one more than sessions.
    """

    items: NDArray[np.int32]
    ordered: NDArray[np.uint8]
    carted: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of clicks of each session."""
        return np.diff(self.offsets)

    def clicks(self, n_items: int) -> NDArray[np.int64]:
        """Number of clicks of each item."""
        return np.bincount(self.items, minlength=n_items)

    def clicks_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the clicks of the sessions at ``rows``, session by session."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        starts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(self.offsets[rows] - starts, lengths)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The sessions at ``rows``, in that order."""
        clicks = self.clicks_of(rows)
        return type(self)(
            items=self.items[clicks],
            ordered=self.ordered[clicks],
            carted=self.carted[clicks],
            offsets=np.append(0, np.cumsum(self.offsets[rows + 1] - self.offsets[rows])),
        )

    @classmethod
    def from_lists(cls, sessions: Sequence[Sequence[tuple[int, ...]]]) -> Self:
        """Tokens of sessions given as (item, ordered) tuples, as in section 5 of the paper.

        An optional third number is whether the item was carted.
        """
        flat = [(*token, 0)[:3] for session in sessions for token in session]
        return cls(
            items=np.array([item for item, _, _ in flat], dtype=np.int32),
            ordered=np.array([ordered for _, ordered, _ in flat], dtype=np.uint8),
            carted=np.array([carted for _, _, carted in flat], dtype=np.uint8),
            offsets=np.cumsum([0, *(len(session) for session in sessions)], dtype=np.int64),
        )

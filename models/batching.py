"""Batches of sessions of similar length, to minimise padding."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.tokens import SessionTokens

_BATCHES_PER_SORT = 40
"""Batches whose sessions are sorted together; more means less padding and less randomness."""


@dataclass(frozen=True, slots=True)
class SessionBatch:
    """Sessions as a padded matrix; position t holds the input whose target is the next click.

    Attributes:
        inputs_BT: Clicked items; 0 on padding, which follows the real positions.
        targets_BT: The next clicked item.
        ordered_BT: Whether the next clicked item was ordered later in the session, 0 or 1.
        carted_BT: Whether it was carted later in the session, 0 or 1.
        real_BT: Whether the position is real.
        sessions: Row b is session ``sessions[b]`` of the tokens.
    """

    inputs_BT: Tensor
    targets_BT: Tensor
    ordered_BT: Tensor
    carted_BT: Tensor
    real_BT: Tensor
    sessions: NDArray[np.int64]

    @property
    def lengths_B(self) -> Tensor:
        """Real positions of each session."""
        return self.real_BT.sum(dim=1)

    def to(self, device: torch.device) -> "SessionBatch":
        """The batch on another device."""
        return SessionBatch(*(one.to(device) for one in self._tensors), sessions=self.sessions)

    def part(self, number: int, of: int) -> "SessionBatch":
        """Every ``of``-th session, starting at ``number``."""
        return SessionBatch(
            *(one[number::of] for one in self._tensors), sessions=self.sessions[number::of]
        )

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.inputs_BT, self.targets_BT, self.ordered_BT, self.carted_BT, self.real_BT


def make_batch(
    tokens: SessionTokens, sessions: NDArray[np.int64], *, max_length: int
) -> SessionBatch:
    """Pad sessions to a matrix, with the last ``max_length`` inputs of each and their targets."""
    ends = tokens.offsets[sessions + 1]
    starts = np.maximum(tokens.offsets[sessions], ends - max_length - 1)
    inputs_per_session = ends - starts - 1
    positions = np.arange(int(inputs_per_session.max(initial=0)))
    real = positions < inputs_per_session[:, None]
    places = np.where(real, starts[:, None] + positions, starts[:, None])
    following = np.where(real, places + 1, places)
    return SessionBatch(
        inputs_BT=torch.from_numpy(np.where(real, tokens.items[places], 0).astype(np.int64)),
        targets_BT=torch.from_numpy(np.where(real, tokens.items[following], 0).astype(np.int64)),
        ordered_BT=torch.from_numpy((tokens.ordered[following] * real).astype(np.float32)),
        carted_BT=torch.from_numpy((tokens.carted[following] * real).astype(np.float32)),
        real_BT=torch.from_numpy(real),
        sessions=sessions,
    )


def shuffled_batches(  # noqa: PLR0913 - data, sizes and order
    tokens: SessionTokens,
    *,
    batch_size: int,
    max_length: int,
    generator: torch.Generator,
    first: int = 0,
    sample: int | None = None,
) -> Iterator[SessionBatch]:
    """Every session once, in random batches of similar length, starting with batch ``first``.

    With ``sample``, a random sample of that many sessions, if there are more.
    """
    order = torch.randperm(tokens.n_sessions, generator=generator)[:sample].numpy()
    lengths = np.minimum(tokens.lengths, max_length + 1)
    step = batch_size * _BATCHES_PER_SORT
    groups = [order[start : start + step] for start in range(0, len(order), step)]
    by_length = [group[np.argsort(lengths[group], kind="stable")] for group in groups]
    chunks = [
        group[start : start + batch_size]
        for group in by_length
        for start in range(0, len(group), batch_size)
    ]
    for number in torch.randperm(len(chunks), generator=generator).tolist()[first:]:
        yield make_batch(tokens, chunks[number], max_length=max_length)


def ordered_batches(
    tokens: SessionTokens, *, batch_size: int, max_length: int
) -> Iterator[SessionBatch]:
    """Every session once, shortest first, always in the same batches."""
    order = np.argsort(tokens.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield make_batch(tokens, order[start : start + batch_size], max_length=max_length)

"""The best items for many sessions under one preference, where sessions that begin alike share a pass.

The requests of a session are its beginnings, and a hidden state depends on the clicks before it alone. So the
longest beginning has the states of all of them.

Shape suffixes: S sessions, P sessions of a part, N items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network.configuration import ModelConfig, Positions
from models.network.model import ConditionedSessionModel
from models.scoring.recommend import best_items, padded

Ints = NDArray[np.int64]

_CHAINS_PER_BATCH = 512
_SCORES_PER_PART = 2_000_000
"""16 MB with their order: more leaves the processor's cache."""


@dataclass(frozen=True, slots=True)
class SessionChains:
    """Sessions by the longest one that begins with them.

    Attributes:
        chains: The longest sessions, the shortest of them first.
        order_S: The sessions in the order of their chains.
        chain_S: The chain of each, in that order.
        length_S: The clicks of each, in that order.
    """

    chains: list[Ints]
    order_S: Ints
    chain_S: Ints
    length_S: Ints

    @classmethod
    def of(cls, sessions: Sequence[Ints], config: ModelConfig) -> Self:
        """Find the chains; every session has at least one click.

        Of a session longer than the model's window the last clicks count. Where positions count from the
        end, a state depends on the length of the session, so only equal sessions are one chain.
        """
        recent = [session[-config.max_length :] for session in sessions]
        keys = [session.astype(">u4").tobytes() for session in recent]
        begins_alike = config.positions is Positions.START
        ends: list[int] = []
        member_S = np.empty(len(keys), dtype=np.int64)
        for row in sorted(range(len(keys)), key=keys.__getitem__, reverse=True):
            # sessions that begin alike are adjacent, the longest first
            longest = keys[ends[-1]] if ends else None
            shares = longest is not None and (
                longest.startswith(keys[row]) if begins_alike else longest == keys[row]
            )
            if not shares:
                ends.append(row)
            member_S[row] = len(ends) - 1
        by_length = np.argsort([len(keys[row]) for row in ends], kind="stable")
        chain_S = np.argsort(by_length)[member_S]
        order_S = np.argsort(chain_S, kind="stable")
        lengths = np.array([len(session) for session in recent], dtype=np.int64)
        return cls(
            chains=[recent[ends[chain]] for chain in by_length],
            order_S=order_S,
            chain_S=chain_S[order_S],
            length_S=lengths[order_S],
        )


@torch.no_grad()
def chain_candidates(
    model: ConditionedSessionModel, sessions: SessionChains, preference_O: Tensor, n: int
) -> Iterator[tuple[Ints, Ints, NDArray[np.float32]]]:
    """The n best items for every session's next click under one preference, in parts.

    Yields:
        Sessions (their rows), P; their best items, best first, and the scores; P × N.
    """
    model.eval()
    folded = model.folded(preference_O)
    size = max(1, _SCORES_PER_PART // model.n_items)
    for first in range(0, len(sessions.chains), _CHAINS_PER_BATCH):
        some = sessions.chains[first : first + _CHAINS_PER_BATCH]
        hidden_BTD = folded(*padded(some), preference_O.expand(len(some), -1))
        begin, end = np.searchsorted(sessions.chain_S, [first, first + len(some)]).tolist()
        for start in range(begin, end, size):
            part = slice(start, min(start + size, end))
            at = torch.from_numpy(sessions.chain_S[part] - first)
            hidden_PD = hidden_BTD[at, torch.from_numpy(sessions.length_S[part] - 1)]
            scores_PN, items_PN = best_items(folded.score_all(hidden_PD), n)
            yield sessions.order_S[part], items_PN.numpy(), scores_PN.float().numpy()

"""Item vectors from co-occurrence in sessions: a start for the item table that knows which items go together.

The positive pointwise mutual information (PPMI) of items clicked near each other, factorised with as many dimensions as
the table has: ``PPMI ≈ U Σ Vᵀ``, the vectors are the rows of ``U Σ^½``, all of one length. Source: Levy & Goldberg, "Neural word
embedding as implicit matrix factorization", NeurIPS 2014, section 5.2; the factorisation is Halko et al.'s randomised one, 2011.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from models.network.model import forked_rng
from models.tokens import SessionTokens
from models.training.seeds import SeedPurpose, derived_seed

_DISTANCE = 3
"""Clicks of a session at most so far apart are near each other."""
_MOST_CLICKS = 10_000_000
"""The last clicks of the log that count: pairs of more do not fit in memory, and change little."""
_SHORTEST = 1e-4
"""Vectors shorter than this share of the longest are rounding errors."""
_ITERATIONS = 4
"""Power iterations of the factorisation."""


def start_from_co_occurrence(table: nn.Embedding, tokens: SessionTokens, *, seed: int) -> None:
    """Replace the rows of a new item table by vectors of their mean length, from co-occurrence.

    An item that is near no other, or is not in what the dimensions can hold, keeps its row. The same arguments give
    the same bits on processors of one kind.

    Args:
        table: Randomly initialised vectors.
        tokens: The training sessions.
        seed: The run's seed.
    """
    random_ID = table.weight.detach().cpu()
    item, neighbour, ppmi = _mutual_information(tokens, len(random_ID))
    if not len(ppmi):
        return
    with forked_rng(derived_seed(seed, SeedPurpose.CO_OCCURRENCE)):
        vectors_ID = _factorised(item, neighbour, ppmi, random_ID.shape)
    length_I = vectors_ID.norm(dim=1)
    found_I = length_I > _SHORTEST * length_I.max()
    vectors_ID = vectors_ID[found_I] / length_I[found_I, None]
    with torch.no_grad():
        table.weight[found_I] = (vectors_ID * random_ID.norm(dim=1).mean()).to(table.weight.device)


def adjacent_clicks(tokens: SessionTokens, distance: int = 1) -> tuple[Tensor, Tensor]:
    """Items, and those clicked ``distance`` clicks before or after them; pairs in both directions."""
    session = np.repeat(np.arange(tokens.n_sessions), tokens.lengths)
    same = torch.from_numpy(session[distance:] == session[:-distance])
    click = torch.from_numpy(tokens.items.astype(np.int64))
    first, second = click[:-distance][same], click[distance:][same]
    return torch.cat([first, second]), torch.cat([second, first])


def _mutual_information(tokens: SessionTokens, n_items: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of different items with positive mutual information, in nats."""
    recent = _last_sessions(tokens)
    pairs = [adjacent_clicks(recent, distance) for distance in range(1, _DISTANCE + 1)]
    item, neighbour = (torch.cat(part) for part in zip(*pairs, strict=True))
    different = item != neighbour
    codes, number = torch.unique(
        item[different] * n_items + neighbour[different], return_counts=True
    )
    item, neighbour, number = codes // n_items, codes % n_items, number.double()
    total_I = torch.zeros(n_items, dtype=torch.float64).index_add_(0, item, number)
    ppmi = (number * number.sum() / (total_I[item] * total_I[neighbour])).log()
    positive = ppmi > 0
    return item[positive], neighbour[positive], ppmi[positive]


def _factorised(item: Tensor, neighbour: Tensor, value: Tensor, shape: torch.Size) -> Tensor:
    """The rows of ``U Σ^½``, spread over all dimensions by a rotation; I × D."""
    n_items, size = shape
    place, rank = torch.stack([item, neighbour]), min(size, n_items)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR|invariant)")
        matrix_II = torch.sparse_coo_tensor(
            place, value.float(), (n_items, n_items)
        ).to_sparse_csr()
        left_IR, values_R, _ = torch.svd_lowrank(matrix_II, q=rank, niter=_ITERATIONS)
    rotation_DD, _ = torch.linalg.qr(torch.randn(size, size))
    return (left_IR * values_R.sqrt()) @ rotation_DD[:rank]


def _last_sessions(tokens: SessionTokens) -> SessionTokens:
    first = int(np.searchsorted(tokens.offsets, max(0, len(tokens.items) - _MOST_CLICKS)))
    start = int(tokens.offsets[first])
    return SessionTokens(
        items=tokens.items[start:],
        ordered=tokens.ordered[start:],
        carted=tokens.carted[start:],
        offsets=tokens.offsets[first:] - start,
    )
